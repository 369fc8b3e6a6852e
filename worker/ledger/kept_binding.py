"""A binding that is kept, as its renewals see it: read from the record of the job that made it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.domain.expiration import parse_expiration, unix_ms
from worker.domain.formats import JOB, NewerFormatError
from worker.domain.job import JobState, OnDoubt
from worker.domain.renewal import RenewalPolicy
from worker.errors import SealError
from worker.ledger.callback_records import NO_WISHES, CallbackWishes
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import opened_record
from worker.logs import get_log

_log = get_log(__name__)

FIELDS = (
    "v", "state", "binding", "subs_id", "phone_no_x", "request", "finished_at", "on_doubt", "renew", "renew_seed",
    "renewals", "renew_failures", "renew_throttles", "renew_code", "renew_due", "renew_step", "renew_job",
    "renew_told", "renew_closed", "history", "callback_url", "callback_secret_name", "callback_order_key",
    "callback_deadline_in", "callback_deadline_at",
)  # fmt: skip
_BOUND = (JobState.BOUND.value, "old_left_bound")
_ENDED = (JobState.FAILED.value, JobState.EXPIRED.value, JobState.CANCELLED.value)
ACTIVE, LAPSED = "active", "lapsed"
CLOSED, UNBIND = "closed", "unbind"
"""What `renew_closed` says."""


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One thing that became of a binding.

    Attributes:
        at_ms: Unix ms.
        what: renewed, failed, corrected, gone, rebound, lost.
        expiration: after it, as on the wire.
    """

    at_ms: int
    what: str
    code: str
    expiration: str


@dataclass(frozen=True, slots=True)
class KeptBinding:
    """What a renewal needs to know. Times are Unix ms by Redis's clock, 0 where there is none.

    Attributes:
        binding_id: the job that made it.
        status: active, unbound, lapsed or replaced, as the record has it: an active one may have passed its end.
        policy: begun.
        number: of renewals so far; the next one's target and nonce follow from it.
        failures: tries of the next renewal that failed, or nobody knows; being throttled is no failure.
        throttles: tries that were only sent away.
        code: why the last of them did.
        due_at: when it is looked at next.
        step, step_job: how far it is on the way to being bound anew, and the job that binds it; else empty.
        told: the number of renewals at which its receiver was last told of trouble, plus one; 0: never.
        is_closed: its order was closed: no further renewal.
        is_to_be_unbound: and it, or what comes in its place, is to be unbound.
        read_at: when this was read.
    """

    binding_id: str
    status: str
    subs_id: str
    phone_no_x: str
    parameters: Mapping[str, str] = field(repr=False)
    expires_at: int
    bound_at: int
    policy: RenewalPolicy
    seed: str = field(repr=False)
    number: int
    failures: int
    throttles: int
    code: str
    due_at: int
    step: str
    step_job: str
    told: int
    is_closed: bool
    is_to_be_unbound: bool
    on_doubt: OnDoubt
    history: tuple[HistoryLine, ...]
    read_at: int
    callback_url: str = ""
    callback_secret_name: str = ""
    callback: CallbackWishes = NO_WISHES

    @property
    def tries(self) -> int:
        """Of the next renewal so far: each has a nonce of its own."""
        return self.failures + self.throttles

    @property
    def is_active(self) -> bool:
        """Whether it should be there at the provider, unless its end has passed."""
        return self.status == ACTIVE

    @property
    def expiration(self) -> str:
        """Its present end, as on the wire."""
        return self.parameters.get("Expiration", "")

    @property
    def pool_key(self) -> str:
        """The pool of X."""
        return self.parameters.get("PoolKey", "")


NOT_KEPT = "not_kept"
"""There is nothing to renew: no record, no policy, or it was never bound."""
NOT_YET = "not_yet"
"""Its job has not ended."""
TO_BE_UNBOUND = "to_be_unbound"
"""Its order was closed, kept or not, and it is to be ended."""
NEWER = "newer"
"""A newer release made it, or its policy."""


def kept_binding(
    binding_id: str, record: Mapping[str, str | None], now_ms: int, seal: Seal = NO_SEAL
) -> KeptBinding | str:
    """Read a record's `FIELDS`; else why it is nothing to renew. A record that does not read is not kept.

    One whose numbers cannot be read without a key that this process lacks is `NOT_YET`: it is looked at again.
    """
    state = record["state"] or ""
    if state not in _BOUND:
        return NOT_KEPT if state in ("", *_ENDED) else NOT_YET
    if record["renew_closed"] == UNBIND and not record["renew_step"] and record["binding"] in (None, ACTIVE):
        return TO_BE_UNBOUND
    known = {name: value for name, value in record.items() if value is not None}
    try:
        JOB.check(int(record["v"] or 1))
        return _kept(binding_id, opened_record(seal, binding_id, known), now_ms)
    except NewerFormatError:
        return NEWER
    except SealError as sealed:
        _log.error("binding cannot be renewed by this process", binding_id=binding_id, message=str(sealed))
        return NOT_YET
    except (ValueError, TypeError, KeyError):
        return NOT_KEPT


def _kept(binding_id: str, record: Mapping[str, str], now_ms: int) -> KeptBinding:
    parameters: dict[str, str] = json.loads(record["request"])
    return KeptBinding(
        binding_id=binding_id,
        status=record.get("binding", ACTIVE),
        subs_id=record["subs_id"],
        phone_no_x=record["phone_no_x"],
        parameters=parameters,
        expires_at=unix_ms(parse_expiration(parameters["Expiration"])),
        bound_at=int(record.get("finished_at", 0)),
        policy=RenewalPolicy.from_json(record["renew"]),
        seed=record["renew_seed"],
        number=int(record.get("renewals", 0)),
        failures=int(record.get("renew_failures", 0)),
        throttles=int(record.get("renew_throttles", 0)),
        code=record.get("renew_code", ""),
        due_at=int(record.get("renew_due", 0)),
        step=record.get("renew_step", ""),
        step_job=record.get("renew_job", ""),
        told=int(record.get("renew_told", 0)),
        is_closed="renew_closed" in record,
        is_to_be_unbound=record.get("renew_closed") == UNBIND,
        on_doubt=OnDoubt(record.get("on_doubt", OnDoubt.HOLD)),
        history=history_in(record.get("history", "[]")),
        read_at=now_ms,
        callback_url=record.get("callback_url", ""),
        callback_secret_name=record.get("callback_secret_name", ""),
        callback=CallbackWishes.from_record(record),
    )


def history_in(text: str) -> tuple[HistoryLine, ...]:
    """A record's history, oldest first; what does not read is left out."""
    try:
        return tuple(HistoryLine(int(at), str(what), str(code), str(end)) for at, what, code, end in json.loads(text))
    except (ValueError, TypeError):
        return ()
