"""A row's turn has come: it is judged again, by this moment's time and ledger, and becomes a job or is refused."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.batches.row_codec import RowCodec
from worker.batches.rows import Row
from worker.domain.any_request import AnyRequest
from worker.domain.batch import row_job_id
from worker.domain.job import Lane
from worker.errors import InvalidRequestError
from worker.intake.acceptance import Acceptance
from worker.intake.changes import FoundBindings
from worker.ledger.batch_feed import RefusedRow
from worker.ledger.batch_rows import RowPlace
from worker.ledger.records import NewJob
from worker.logs import get_log

_log = get_log(__name__)
_BROKEN = "row.broken"
_INVALID = "request.invalid"
_CODES = {"expiration": "expiration.too_near", "out_order_id": "order.unclear"}
"""Of rows that have no other fault than in this field: what only their turn could show."""


class NamedBindings(Protocol):
    """Who knows the bindings that requests name: `worker.intake.naming`."""

    async def by(self, requests: Iterable[AnyRequest]) -> FoundBindings:
        """What these requests name, in few round trips."""


class SecretNames(Protocol):
    """Who knows the callback secrets: `worker.ledger.callback_secrets`."""

    async def unknown_names(self, names: Iterable[str]) -> frozenset[str]:
        """Those that have no key."""


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row and where it stands."""

    place: RowPlace
    text: str
    row: Row

    @property
    def job_id(self) -> str:
        """Of its job."""
        return row_job_id(self.place.batch_id, self.row.key, self.place.round_)

    @property
    def digest(self) -> str:
        """Of what it asks for."""
        return RowCodec.digest_of(self.text)

    def refused(self, code: str, message: str) -> RefusedRow:
        """As one that cannot become a job."""
        return RefusedRow(self.place, self.job_id, self.digest, code, message)


class RowJobs:
    """Turns rows into jobs.

    Args:
        acceptance: judges every request, of rows as of others.
        bindings: that rows name.
        secrets: that rows name.
    """

    def __init__(
        self,
        acceptance: Acceptance,
        bindings: NamedBindings,
        secrets: SecretNames,
    ) -> None:
        self._acceptance = acceptance
        self._bindings = bindings
        self._secrets = secrets

    async def jobs_of(self, rows: Sequence[PlacedRow]) -> tuple[list[NewJob], list[RefusedRow]]:
        """Some rows' jobs; each question to the ledger is asked once for all of them."""
        requests, refused = self._requests(rows)
        found = await self._bindings.by([request for _, request in requests])
        names = {request.callback_secret_name for _, request in requests if request.callback_secret_name}
        unknown = await self._secrets.unknown_names(names) if names else frozenset()
        jobs = []
        for placed, request in requests:
            try:
                job = self._acceptance.job_of(request, found=found, unknown_secrets=unknown)
            except Exception as failure:  # noqa: BLE001 - one row must not hold up all that come after it
                refused.append(_refusal(placed, failure))
                continue
            jobs.append(
                dataclasses.replace(
                    job, job_id=placed.job_id, lane=Lane.BATCH, digest=placed.digest, batch=str(placed.place)
                )
            )
        return jobs, refused

    def _requests(self, rows: Sequence[PlacedRow]) -> tuple[list[tuple[PlacedRow, AnyRequest]], list[RefusedRow]]:
        requests, refused = [], []
        for placed in rows:
            try:
                requests.append((placed, placed.row.request()))
            except Exception as failure:  # noqa: BLE001 - as above
                refused.append(_refusal(placed, failure))
        return requests, refused


def _refusal(placed: PlacedRow, failure: Exception) -> RefusedRow:
    if not isinstance(failure, InvalidRequestError):
        _log.error("a row breaks us", batch_id=placed.place.batch_id, error=type(failure).__name__, exc_info=failure)
        return placed.refused(_BROKEN, f"an error of ours ({type(failure).__name__})")
    fields = {fault.field for fault in failure.faults}
    code = _CODES.get(fields.pop(), _INVALID) if len(fields) == 1 else _INVALID
    return placed.refused(code, str(failure))
