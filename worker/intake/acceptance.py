"""What can only be checked when a request is accepted: against the time and the settings."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.callbacks.guard import ReceiverRules
from worker.clock import Clock
from worker.domain.bind_request import BindRequest
from worker.domain.callback_url import check_callback_url
from worker.domain.durations import duration_ms, parse_duration
from worker.domain.expiration import PROVIDER_MINIMUM, parse_expiration, unix_ms, wire_expiration
from worker.domain.job_ids import job_id_for_key, new_job_id
from worker.domain.masking import mask_value
from worker.errors import FieldFault, InvalidRequestError
from worker.ledger.records import NewJob

_SEED_BYTES = 16


@dataclass(frozen=True, slots=True)
class AcceptanceRules:
    """What the settings say of requests.

    Attributes:
        pool_key: for requests that name none.
        expiration_margin: how much more than the provider's 60 s an Expiration must be ahead.
    """

    pool_key: str
    expiration_margin: timedelta
    receivers: ReceiverRules


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Turns requests into jobs."""

    rules: AcceptanceRules
    clock: Clock

    def parse(self, given: object) -> BindRequest:
        """A request that arrived as data, checked in full.

        Raises:
            InvalidRequestError: names every fault, also those that only time and settings show.
        """
        try:
            request = BindRequest.from_mapping(given)
        except InvalidRequestError as invalid:
            named = {fault.field for fault in invalid.faults}
            more = [fault for fault in self._faults_of_raw(given) if fault.field not in named]
            raise InvalidRequestError([*invalid.faults, *more]) from None
        self.check(request)
        return request

    def check(self, request: BindRequest) -> None:
        """Raises InvalidRequestError where time or settings forbid the request."""
        faults = self._faults(
            expiration=self._expiration(request), pool_key=request.pool_key, url=request.callback_url,
            no_type=request.no_type,
        )  # fmt: skip
        if faults:
            raise InvalidRequestError(faults)

    def job_of(self, request: BindRequest, *, key: str | None = None) -> NewJob:
        """The job to file.

        Args:
            request: whose form is already checked.
            key: an idempotency key for requests that bring none.

        Raises:
            InvalidRequestError: as `check`.
        """
        self.check(request)
        key = request.idempotency_key or key
        deadline = request.deadline
        return NewJob(
            job_id=job_id_for_key(key) if key else new_job_id(self.clock.unix_ms()),
            lane=request.lane,
            parameters=request.wire_parameters(
                pool_key=request.pool_key or self.rules.pool_key, expiration=self._expiration(request)
            ),
            digest=request.digest(),
            seed=secrets.token_urlsafe(_SEED_BYTES),
            on_doubt=request.on_doubt,
            callback_url=request.callback_url or "",
            deadline_in_ms=duration_ms(deadline) if isinstance(deadline, timedelta) else None,
            deadline_at_ms=unix_ms(deadline) if isinstance(deadline, datetime) else None,
        )

    def _expiration(self, request: BindRequest) -> datetime:
        if request.expiration is not None:
            return request.expiration
        assert request.expires_in is not None  # noqa: S101 - one of the two is given: the model checks it
        return self._now() + request.expires_in

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.unix_ms() / 1000, UTC)

    def _faults(
        self, *, expiration: datetime | None, pool_key: object, url: str | None, no_type: object
    ) -> list[FieldFault]:
        faults = []
        least = PROVIDER_MINIMUM + self.rules.expiration_margin
        if expiration is not None and expiration - self._now() <= least:
            rule = f"must be more than {least.total_seconds():g} s ahead"
            faults.append(FieldFault("expiration", wire_expiration(expiration), rule))
        if not (pool_key or self.rules.pool_key or no_type):
            faults.append(FieldFault("pool_key", "", "is required (or set AXN_POOL_KEY for all requests)"))
        if url and (rule := self.rules.receivers.fault_of(url)):
            faults.append(FieldFault("callback_url", mask_value(url), rule))
        return faults

    def _faults_of_raw(self, given: object) -> list[FieldFault]:
        if not isinstance(given, Mapping):
            return []
        return self._faults(
            expiration=self._raw_expiration(given),
            pool_key=given.get("pool_key") or given.get("PoolKey"),
            url=_raw_url(given.get("callback_url")),
            no_type=given.get("no_type") or given.get("NoType"),
        )

    def _raw_expiration(self, given: Mapping[str, object]) -> datetime | None:
        try:
            if given.get("expires_in") is not None:
                return self._now() + parse_duration(given["expires_in"])
            return parse_expiration(given.get("expiration") or given.get("Expiration"))
        except ValueError:
            return None  # its form is a fault already named


def _raw_url(given: object) -> str | None:
    try:
        return check_callback_url(given) if isinstance(given, str) else None
    except ValueError:
        return None  # its form is a fault already named
