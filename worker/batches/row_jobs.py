"""A row's turn has come: it is judged again, by this moment's time and ledger, and becomes a job or is refused."""

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.batches.row_codec import RowCodec
from worker.batches.rows import BindRow, RebindRow, Row
from worker.domain.any_request import AnyRequest
from worker.domain.batch import row_job_id
from worker.domain.binding import Binding
from worker.domain.change_request import ChangeRequest
from worker.domain.job import Lane
from worker.errors import InvalidRequestError
from worker.intake.acceptance import Acceptance
from worker.intake.changes import FoundBindings
from worker.ledger.batch_feed import RefusedRow
from worker.ledger.batch_rows import RowPlace
from worker.ledger.records import NewJob

_log = logging.getLogger(__name__)
_BROKEN = "row.broken"
_INVALID = "request.invalid"
_TOO_NEAR = "expiration.too_near"
_UNKNOWN_ORDER = "order.unknown"
_UNCLEAR_ORDER = "order.unclear"
_NO_REBINDS = "rebind.unsupported"


class BindingsOfJobs(Protocol):
    """What bind jobs have bound: `worker.ledger.ledger`."""

    async def bindings_of(self, job_ids: Sequence[str]) -> list[Binding | str]:
        """A job's binding, or the state of one that has none; empty for a job without a record."""


class BindingsOfOrders(Protocol):
    """Which bindings were made for an order."""

    async def jobs_of_orders(self, out_order_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """By OutOrderId, the ids of the jobs whose active bindings carry it. Those without may be left out."""


class SecretNames(Protocol):
    """Who knows the callback secrets: `worker.ledger.callback_secrets`."""

    async def unknown_names(self, names: Iterable[str]) -> frozenset[str]:
        """Those that have no key."""


class RebindRequests(Protocol):
    """Makes the request of a rebind's row."""

    def __call__(self, row: RebindRow, bind_job_id: str) -> AnyRequest:
        """The request.

        Args:
            row: whose.
            bind_job_id: as for `NamedBinding.fields`.

        Raises:
            InvalidRequestError: it breaks a rule.
        """


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
        bindings: of the bind jobs that rows name.
        secrets: that rows name.
        orders: of rows that name the binding by its order; None: they are refused.
        rebinds: of rows that rebind; None: they are refused.
    """

    def __init__(
        self,
        acceptance: Acceptance,
        bindings: BindingsOfJobs,
        secrets: SecretNames,
        orders: BindingsOfOrders | None = None,
        rebinds: RebindRequests | None = None,
    ) -> None:
        self._acceptance = acceptance
        self._bindings = bindings
        self._secrets = secrets
        self._orders = orders
        self._rebinds = rebinds

    async def jobs_of(self, rows: Sequence[PlacedRow]) -> tuple[list[NewJob], list[RefusedRow]]:
        """Some rows' jobs; each question to the ledger is asked once for all of them."""
        requests, refused = self._requests(rows, await self._jobs_of_orders(rows))
        found = await self._found([request for _, request in requests])
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

    def _requests(
        self, rows: Sequence[PlacedRow], of_orders: Mapping[str, Sequence[str]]
    ) -> tuple[list[tuple[PlacedRow, AnyRequest]], list[RefusedRow]]:
        requests, refused = [], []
        for placed in rows:
            row, bind_job_id = placed.row, ""
            if not isinstance(row, BindRow) and row.binding.out_order_id:
                named = of_orders.get(row.binding.out_order_id, ())
                if len(named) != 1:
                    refused.append(placed.refused(*_unclear(len(named))))
                    continue
                bind_job_id = named[0]
            if isinstance(row, RebindRow) and self._rebinds is None:
                refused.append(placed.refused(_NO_REBINDS, "no worker of this release rebinds"))
                continue
            try:
                requests.append((placed, self._request(row, bind_job_id)))
            except Exception as failure:  # noqa: BLE001 - as above
                refused.append(_refusal(placed, failure))
        return requests, refused

    def _request(self, row: Row, bind_job_id: str) -> AnyRequest:
        if isinstance(row, BindRow):
            return row.request()
        if isinstance(row, RebindRow):
            assert self._rebinds is not None  # noqa: S101 - the caller has looked
            return self._rebinds(row, bind_job_id)
        return row.request(bind_job_id)

    async def _jobs_of_orders(self, rows: Sequence[PlacedRow]) -> Mapping[str, Sequence[str]]:
        orders = {
            placed.row.binding.out_order_id
            for placed in rows
            if not isinstance(placed.row, BindRow) and placed.row.binding.out_order_id
        }
        return await self._orders.jobs_of_orders(sorted(orders)) if orders and self._orders else {}

    async def _found(self, requests: Sequence[AnyRequest]) -> FoundBindings:
        named = {request.bind_job_id for request in requests if isinstance(request, ChangeRequest)}
        job_ids = sorted(job_id for job_id in named if job_id is not None)
        return dict(zip(job_ids, await self._bindings.bindings_of(job_ids), strict=True)) if job_ids else {}


def _unclear(bindings: int) -> tuple[str, str]:
    if bindings:
        return _UNCLEAR_ORDER, f"out_order_id: {bindings} bindings of this order are active; name one by subs_id"
    return _UNKNOWN_ORDER, "out_order_id: no active binding of this order is on record; name it by subs_id"


def _refusal(placed: PlacedRow, failure: Exception) -> RefusedRow:
    if not isinstance(failure, InvalidRequestError):
        _log.error("batch %s: a row breaks us (%s)", placed.place.batch_id, type(failure).__name__)
        return placed.refused(_BROKEN, f"an error of ours ({type(failure).__name__})")
    is_time = [fault.field for fault in failure.faults] == ["expiration"]
    return placed.refused(_TOO_NEAR if is_time else _INVALID, str(failure))
