"""The operator's face of numbers at rest: under which keys they are, rotation, and who is to be forgotten.

As in `worker.producers`, one background loop and one set of connections per process; all functions block their thread.
"""

from collections.abc import Callable, Sequence

from worker.batches.row_codec import RowCodec
from worker.bootstrap import ProducerServices
from worker.errors import SettingsError
from worker.ledger.assembly import build_retention
from worker.ledger.audit import Audit
from worker.ledger.erasing import EraseReport, Erasing, Found, SearchReport
from worker.ledger.resealing import Resealing, SealReport
from worker.producer_process import ask_to_its_end


def _nobody(_looked_at: int) -> None:
    """Is told nothing."""


def count_by_key(report: SealReport, tell: Callable[[int], None] = _nobody) -> None:
    """Count the records under each key: see `worker.ledger.resealing`. The report is true also when this is cut short.

    Raises:
        LedgerUnavailableError: Redis did not answer.
    """
    ask_to_its_end(lambda services: _resealing(services).count(report, tell))


def rotate_keys(report: SealReport, tell: Callable[[int], None] = _nobody) -> None:
    """Write anew what is not under the first key; as `count_by_key`.

    Raises:
        SettingsError: there are no keys.
        LedgerUnavailableError: Redis did not answer; begun again, it goes on.
    """

    async def rotate(services: ProducerServices) -> None:
        if not services.seal.keys:
            raise SettingsError(
                "AXN_ENCRYPTION__KEYS: is empty, there is no key to seal with; `axn keys new` prints one"
            )
        await _resealing(services).rotate(report, tell)

    ask_to_its_end(rotate)


def find_person(number: str, report: SearchReport, tell: Callable[[int], None] = _nobody) -> None:
    """Find the records of whoever has a number: see `worker.ledger.erasing`. The report is true also when cut short.

    Args:
        number: digits, as requests give it.
        report: notes what is found.
        tell: called with the number of records looked at so far.

    Raises:
        LedgerUnavailableError: Redis did not answer.
    """
    ask_to_its_end(lambda services: _erasing(services).search(number, report, tell))


def erase(found: Sequence[Found], report: EraseReport, *, by: str) -> None:
    """Erase what was found, one after the other, and note each job in the audit. Begun again, it goes on.

    Args:
        found: as `find_person` found it.
        report: notes what became of each, all along.
        by: who does it.

    Raises:
        LedgerUnavailableError: Redis did not answer.
    """

    async def erase_all(services: ProducerServices) -> None:
        erasing, audit = _erasing(services), Audit(services.redis)
        for one in found:
            hold = await erasing.erase(one)
            if not hold:
                subject = "" if one.kind == "job" else one.id
                job_id = one.id if one.kind == "job" else ""
                await audit.add(job_id, by=by, what=f"{one.kind} erased", was=one.state, now="erased", subject=subject)
            report.note(one, hold)

    ask_to_its_end(erase_all)


def _erasing(services: ProducerServices) -> Erasing:
    return Erasing(services.redis, services.seal, build_retention(services.settings))


def _resealing(services: ProducerServices) -> Resealing:
    return Resealing(services.redis, services.seal, RowCodec.row_of)
