"""The operator's face of numbers at rest: under which keys they are, rotation, and who is to be forgotten.

As in `worker.producers`, one background loop and one set of connections per process; all functions block their thread.
"""

from collections.abc import Callable

from worker.batches.row_codec import RowCodec
from worker.bootstrap import ProducerServices
from worker.errors import SettingsError
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
        if not services.seal.is_on:
            raise SettingsError(
                "AXN_ENCRYPTION__KEYS: is empty, there is no key to seal with; `axn keys new` prints one"
            )
        await _resealing(services).rotate(report, tell)

    ask_to_its_end(rotate)


def _resealing(services: ProducerServices) -> Resealing:
    return Resealing(services.redis, services.seal, RowCodec.row_of)
