"""What can only be checked when a request is accepted: against the time and the settings."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from worker.callbacks.guard import ReceiverRules
from worker.clock import Clock
from worker.domain.any_request import REQUEST_TYPES, AnyRequest
from worker.domain.bind_request import BindRequest
from worker.domain.binding_wishes import BindingWishes
from worker.domain.callback_url import check_callback_url
from worker.domain.change_request import ChangeRequest
from worker.domain.durations import duration_ms, parse_duration
from worker.domain.expiration import PROVIDER_MINIMUM, parse_expiration, unix_ms, wire_expiration
from worker.domain.job import JobKind, OnDoubt
from worker.domain.job_ids import job_id_for_key, new_job_id
from worker.domain.masking import mask_value
from worker.domain.rebind_request import RebindRequest
from worker.domain.renewed_request import RenewedRequest, faults_of_wish
from worker.domain.unbind_request import UnbindRequest
from worker.errors import FieldFault, InvalidRequestError
from worker.intake.changes import FoundBindings, change_parameters, named_binding, rebinding_of
from worker.ledger.callback_records import NO_WISHES, CallbackWishes
from worker.ledger.rebind_record import Rebinding
from worker.ledger.records import NewJob
from worker.provider.nonce import new_seed

_INSTEAD_OF_POOL_KEY = {
    JobKind.BIND: ("no_type",),
    JobKind.UPDATE: ("product_type", "bind_job_id", "out_order_id"),
    JobKind.UNBIND: ("product_type", "bind_job_id", "out_order_id"),
    JobKind.REBIND: ("product_type", "bind_job_id", "out_order_id"),
}

_CALLBACK_WISHES = ("callback_deadline", "callback_order_key", "callback_secret_name")


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

    def parse(self, given: object, kind: JobKind = JobKind.BIND) -> AnyRequest:
        """A request that arrived as data, checked in full, but for what only the ledger can tell.

        Raises:
            InvalidRequestError: names every fault, also those that only time and settings show.
        """
        try:
            request = REQUEST_TYPES[kind].from_mapping(given)
        except InvalidRequestError as invalid:
            named = {fault.field for fault in invalid.faults}
            more = [fault for fault in self._faults_of_raw(given, kind) if fault.field not in named]
            raise InvalidRequestError([*invalid.faults, *more]) from None
        self.check(request)
        return request

    def check(self, request: AnyRequest) -> None:
        """Raises InvalidRequestError where time or settings forbid the request."""
        if faults := self._faults_of(request, self._expiration(request)):
            raise InvalidRequestError(faults)

    def job_of(
        self,
        request: AnyRequest,
        *,
        key: str | None = None,
        found: FoundBindings | None = None,
        unknown_secrets: AbstractSet[str] = frozenset(),
    ) -> NewJob:
        """The job to file: `check_for_job`, and what it returns called at once."""
        return self.check_for_job(request, key=key, found=found, unknown_secrets=unknown_secrets)()

    def check_for_job(
        self,
        request: AnyRequest,
        *,
        key: str | None = None,
        found: FoundBindings | None = None,
        unknown_secrets: AbstractSet[str] = frozenset(),
    ) -> Callable[[], NewJob]:
        """Make sure that a request can be filed.

        Args:
            request: whose form is already checked.
            key: an idempotency key for requests that bring none.
            found: what the ledger knows of the bind jobs and orders that updates and unbinds name.
            unknown_secrets: names of callback secrets that there are none of.

        Returns:
            What makes the job to file. Of many binds, most of the time goes into that: Redis can work meanwhile.

        Raises:
            InvalidRequestError: as `check`, or the named bind job has no binding, or the secret named does not exist.
        """
        expiration = self._expiration(request)
        faults = self._faults_of(request, expiration)
        if request.callback_secret_name in unknown_secrets:
            rule = "no such secret; `axn callbacks rotate --name` makes one, `axn callbacks secrets` lists them"
            faults.append(FieldFault("callback_secret_name", str(request.callback_secret_name), rule))
        key = request.idempotency_key or key
        if isinstance(request, BindRequest):
            if faults:
                raise InvalidRequestError(faults)
            assert expiration is not None  # noqa: S101 - the model wants one
            return partial(self._bind_job, request, expiration, key)
        parameters: dict[str, str] = {}
        binding_id = ""
        rebind: Rebinding | FieldFault | None = None
        binding = named_binding(request, found or {}, self.rules.pool_key)
        if isinstance(binding, FieldFault):
            faults.append(binding)
        elif isinstance(request, RebindRequest):
            rebind, binding_id = rebinding_of(request, binding), binding.binding_id
            parameters = request.wire_wishes(expiration)
            faults += [rebind] if isinstance(rebind, FieldFault) else []
        elif not faults:
            binding_id = binding.binding_id
            parameters = change_parameters(request, binding, expiration)
        if faults:
            raise InvalidRequestError(faults)
        job = self._job(request, parameters, key, binding_id)
        made = dataclasses.replace(job, rebind=rebind) if isinstance(rebind, Rebinding) else job
        return lambda: made

    def _bind_job(self, request: BindRequest, expiration: datetime, key: str | None) -> NewJob:
        pool_key = request.pool_key or self.rules.pool_key
        return self._job(request, request.wire_parameters(pool_key=pool_key, expiration=expiration), key, "")

    def _job(self, request: AnyRequest, parameters: Mapping[str, str], key: str | None, binding_id: str) -> NewJob:
        deadline = request.deadline
        return NewJob(
            job_id=job_id_for_key(key) if key else new_job_id(self.clock.unix_ms()),
            lane=request.lane,
            parameters=parameters,
            digest=request.digest(),
            seed=new_seed(),
            on_doubt=request.on_doubt if isinstance(request, BindingWishes) else OnDoubt.HOLD,
            callback_url=request.callback_url or "",
            callback_secret_name=request.callback_secret_name or "",
            deadline_in_ms=duration_ms(deadline) if isinstance(deadline, timedelta) else None,
            deadline_at_ms=unix_ms(deadline) if isinstance(deadline, datetime) else None,
            kind=request.kind,
            is_confirmed=isinstance(request, ChangeRequest) and request.names_confirmed_binding,
            callback=_wishes_of(request),
            renew=self._renew(request, parameters),
            binding_id=binding_id,
        )

    def _renew(self, request: AnyRequest, parameters: Mapping[str, str]) -> str:
        if not isinstance(request, BindingWishes) or request.renew is None:
            return ""
        expires_at = unix_ms(parse_expiration(parameters["Expiration"])) if "Expiration" in parameters else 0
        length_ms = duration_ms(request.expires_in) if request.expires_in is not None else 0
        return request.renew.policy.counted(self.clock.unix_ms(), expires_at, length_ms).as_json()

    def is_far_enough(self, expiration: datetime) -> bool:
        """Whether an Expiration is so far ahead that the provider will take it."""
        return expiration - self._now() > self._least

    @property
    def _least(self) -> timedelta:
        return PROVIDER_MINIMUM + self.rules.expiration_margin

    def _expiration(self, request: AnyRequest) -> datetime | None:
        if isinstance(request, UnbindRequest):
            return None
        return self._now() + request.expires_in if request.expires_in is not None else request.expiration

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.unix_ms() / 1000, UTC)

    def _faults_of(self, request: AnyRequest, expiration: datetime | None) -> list[FieldFault]:
        instead = [getattr(request, name) for name in _INSTEAD_OF_POOL_KEY[request.kind]]
        faults = self._faults(expiration=expiration, pools=[request.pool_key, *instead], url=request.callback_url)
        if isinstance(request, RenewedRequest):
            faults += faults_of_wish(request.renew, expiration, self._now())
            if request.renew and isinstance(request, BindRequest) and not (request.pool_key or self.rules.pool_key):
                rule = "needs a pool_key: UpdateSubscription, which renews, takes no no_type"
                faults.append(FieldFault("renew", "", rule))
        return faults + self._faults_of_wishes(request)

    def _faults_of_wishes(self, request: AnyRequest) -> list[FieldFault]:
        if not request.callback_url:
            given = [name for name in _CALLBACK_WISHES if getattr(request, name) not in (None, "")]
            return [FieldFault(name, "", "is of no use without callback_url") for name in given]
        deadline = request.callback_deadline
        if (deadline <= self._now()) if isinstance(deadline, datetime) else (deadline == timedelta(0)):
            return [FieldFault("callback_deadline", mask_value(deadline), "must be ahead")]
        return []

    def _faults(self, *, expiration: datetime | None, pools: Sequence[object], url: str | None) -> list[FieldFault]:
        faults = []
        if expiration is not None and not self.is_far_enough(expiration):
            rule = f"must be more than {self._least.total_seconds():g} s ahead"
            faults.append(FieldFault("expiration", wire_expiration(expiration), rule))
        if not any(pools) and not self.rules.pool_key:
            faults.append(FieldFault("pool_key", "", "is required (or set AXN_POOL_KEY for all requests)"))
        if url and (rule := self.rules.receivers.fault_of(url)):
            faults.append(FieldFault("callback_url", mask_value(url), rule))
        return faults

    def _faults_of_raw(self, given: object, kind: JobKind) -> list[FieldFault]:
        if not isinstance(given, Mapping):
            return []
        request_type = REQUEST_TYPES[kind]
        by_wire_name = request_type.field_by_wire_name
        raw = {by_wire_name.get(name, name): value for name, value in given.items() if value is not None}
        return self._faults(
            expiration=self._raw_expiration(raw) if "expiration" in request_type.model_fields else None,
            pools=[raw.get(name) for name in ("pool_key", *_INSTEAD_OF_POOL_KEY[kind])],
            url=_raw_url(raw.get("callback_url")),
        )

    def _raw_expiration(self, raw: Mapping[str, object]) -> datetime | None:
        try:
            if raw.get("expires_in") is not None:
                return self._now() + parse_duration(raw["expires_in"])
            return parse_expiration(raw.get("expiration"))
        except ValueError:
            return None  # its form is a fault already named


def _wishes_of(request: AnyRequest) -> CallbackWishes:
    if request.callback_deadline is None and not request.callback_order_key:
        return NO_WISHES
    deadline = request.callback_deadline
    return CallbackWishes(
        deadline_in_ms=duration_ms(deadline) if isinstance(deadline, timedelta) else None,
        deadline_at_ms=unix_ms(deadline) if isinstance(deadline, datetime) else None,
        order_key=request.callback_order_key or "",
    )


def _raw_url(given: object) -> str | None:
    try:
        return check_callback_url(given) if isinstance(given, str) else None
    except ValueError:
        return None  # its form is a fault already named
