"""How a job stands in its hash, and the values that claims and settlements carry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from worker.domain.formats import JOB
from worker.domain.job import Job, JobKind, JobState, Lane, OnDoubt, Orphan
from worker.errors import AxnError
from worker.ledger.callback_records import NO_WISHES, CallbackWishes, OwedCallback, flatten
from worker.ledger.rebind_record import Rebinding

_REPLY_HEAD = 9
_IS_POISON = 7
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
EnumT = TypeVar("EnumT", bound=StrEnum)
ORPHAN_PREFIX = "orphan:"
"""Of the record's fields that hold an orphan each, as report_orphan.lua writes them."""


class BrokenRecordError(AxnError):
    """A job's record cannot be read by this release; the message holds nothing of its content."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job about to be filed.

    Attributes:
        parameters: the action's business parameters by their wire names; empty for a refused request.
        digest: of the request as given, so that a key's second use can be compared.
        seed: random text from which the nonces of all attempts are derived.
        callback_secret_name: of the secret that signs its callback; empty: the receiver's.
        deadline_in_ms, deadline_at_ms: at most one of them; counted by Redis's clock.
        kind: what its parameters ask of the provider.
        binding_id: of an update or unbind: the job that made the binding, where its request named it so.
        is_confirmed: of an update or unbind: SubsId, X and pool come from a confirmed bind, so that "no such binding"
            can only mean that it has ended.
        refusal: why the request can never be submitted, for requests that arrived as messages; else empty.
        renew: how its binding is kept, a `RenewalPolicy` as JSON; empty: it ends with its Expiration.
        batch: the place of the row that it is, a `RowPlace` as text; empty for a job of no batch.
        rebind: of a rebind job that is not refused: its parameters are then what the request says of the new binding.
    """

    job_id: str
    lane: Lane
    parameters: Mapping[str, str]
    digest: str
    seed: str
    on_doubt: OnDoubt = OnDoubt.HOLD
    callback_url: str = ""
    deadline_in_ms: int | None = None
    deadline_at_ms: int | None = None
    callback_secret_name: str = ""
    refusal: str = ""
    kind: JobKind = JobKind.BIND
    is_confirmed: bool = False
    callback: CallbackWishes = NO_WISHES
    renew: str = ""
    batch: str = ""
    rebind: Rebinding | None = None
    binding_id: str = ""

    def pairs(self) -> list[str]:
        """Field, value, field, value …, without empty ones and the seed, which the script writes itself."""
        fields = {
            "v": str(JOB.writes),
            "job_id": self.job_id,
            "kind": self.kind.value,
            "is_confirmed": "1" if self.is_confirmed else "",
            "lane": self.lane.value,
            "request": _compact(dict(self.parameters)),
            "on_doubt": "" if self.on_doubt is OnDoubt.HOLD else self.on_doubt.value,
            "callback_url": self.callback_url,
            "callback_secret_name": self.callback_secret_name,
            "refusal": self.refusal,
            "renew": self.renew,
            "batch": self.batch,
            "binding_id": self.binding_id,
            **self.callback.fields(),
            **self._named_binding(),
        }
        return flatten((name, value) for name, value in fields.items() if value)

    def _named_binding(self) -> dict[str, str]:
        """What a bind finds out, an update or unbind knows from the start."""
        if self.kind is JobKind.BIND:
            return {}
        if self.kind is JobKind.REBIND:
            return self.rebind.fields() if self.rebind else {}
        phone_no_x = self.parameters.get("PhoneNoX") or self.parameters.get("SecretNo", "")
        return {"subs_id": self.parameters.get("SubsId", ""), "phone_no_x": phone_no_x}


@dataclass(frozen=True, slots=True)
class Claim:
    """A job under lease: what one attempt needs to know.

    Attributes:
        now_ms: Redis's clock at the claim, Unix ms.
        fence: grows with each claim of the job.
        attempt: the number of this attempt, from 1; its nonce follows from it. 0 where none was ever numbered.
        is_probe: the same number was used before and what it did is unknown.
        is_late: the deadline has passed; nothing may be sent.
        began_at: when this attempt's number was first claimed, Unix ms.
        is_poison: leases ran out one after the other; nothing may be sent.
        rescues: how many did: whoever held them died, or was cut off.
        look_up_since: when it was first asked what became of the last attempt, Unix ms; 0 where that is no question.
        code, message: as the last settlement wrote them.
        binding_id: the job that made the binding which this one changes, where that is known; else empty.
        had_doubt: some attempt of this job was unclear once, so that a conflict may be with its own binding.
        renew: as the new job's.
        had_doubt: some attempt of this job (of a rebind: at this step) was unclear once, so that a conflict may be with
            its own binding.
        batch: as the new job's.
        rebind: of a rebind job that was not refused at once.
        finished_at: of an ended job, Unix ms.
    """

    job_id: str
    token: str
    lane: Lane
    now_ms: int
    fence: int
    attempt: int
    is_probe: bool
    is_late: bool
    is_poison: bool
    rescues: int
    began_at: int
    kind: JobKind
    is_confirmed: bool
    look_up_since: int
    had_doubt: bool
    parameters: Mapping[str, str]
    seed: str
    on_doubt: OnDoubt
    callback_url: str
    refusal: str
    retries: int
    throttles: int
    possible_orphans: int
    accepted_at: int
    callback_secret_name: str = ""
    code: str = ""
    message: str = ""
    callback: CallbackWishes = NO_WISHES
    renew: str = ""
    batch: str = ""
    rebind: Rebinding | None = None
    finished_at: int = 0
    binding_id: str = ""

    @property
    def was_sent_in_vain(self) -> bool:
        """Whether it was tried before and failed, or nobody knows; being throttled is no failure."""
        return self.retries > 0 or self.is_probe or self.had_doubt


class AttemptKnowledge(StrEnum):
    """What is known of the attempt when its claim is settled."""

    CLOSED = "closed"
    """Its effect is known: done, or certainly not done."""
    OPEN = "open"
    """It may have been done: its number stays, to be used again."""
    UNSENT = "unsent"
    """Nothing left this process: its number is given back."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a claim came to.

    Attributes:
        fields: written into the record, by the record's names; `retries` and `throttles` among them.
        delay_ms: until it may be claimed again, for `waiting`.
        grace_ms: how much later the timetable brings it back, where this process means to claim it itself.
    """

    state: JobState
    knowledge: AttemptKnowledge
    fields: Mapping[str, str | int] = field(default_factory=dict)
    delay_ms: int = 0
    grace_ms: int = 0
    callback: OwedCallback | None = None


def claim_from_record(reply: list[str], job_id: str, token: str) -> Claim:
    """Read claim.lua's reply of status `claimed`.

    A poisonous job can be claimed with a record that is broken: its claim then holds no more than it takes to end it.

    Raises:
        BrokenRecordError: the record is of another version, or does not read as one.
    """
    flat = reply[_REPLY_HEAD:]
    record = dict(zip(flat[::2], flat[1::2], strict=True))
    try:
        _check_version(record)
        return _claim(record, _parameters_of(record), job_id, token, reply)
    except BrokenRecordError:
        if not is_poison(reply):
            raise
        told = {name: record.get(name, "") for name in ("callback_url", "callback_secret_name")}
        return _claim(told, {}, job_id, token, reply)


def is_poison(reply: Sequence[str]) -> bool:
    """Whether claim.lua says that too many leases of this job ran out."""
    return reply[_IS_POISON] == "1"


def _check_version(record: Mapping[str, str]) -> None:
    version = record.get("v", "")
    if not version.isdecimal() or not 1 <= int(version) <= JOB.reads:
        raise BrokenRecordError(f"its version is {version!r:.20}, this release reads 1 to {JOB.reads}")


def _parameters_of(record: Mapping[str, str]) -> dict[str, str]:
    try:
        parameters = json.loads(record.get("request", "{}"))
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise BrokenRecordError("its request is no mapping of names to texts")
    return parameters


def _claim(
    record: Mapping[str, str], parameters: Mapping[str, str], job_id: str, token: str, reply: Sequence[str]
) -> Claim:
    _, now_ms, fence, attempt, is_probe, is_late, began_at, _, rescues, *_ = reply
    try:
        return Claim(
            job_id=job_id,
            token=token,
            lane=Lane(record.get("lane", Lane.CHECKOUT)),
            now_ms=int(now_ms),
            fence=int(fence),
            attempt=int(attempt),
            is_probe=is_probe == "1",
            is_late=is_late == "1",
            is_poison=is_poison(reply),
            rescues=int(rescues),
            began_at=int(began_at),
            kind=JobKind(record.get("kind", JobKind.BIND)),
            is_confirmed=record.get("is_confirmed") == "1",
            look_up_since=int(record.get("look_up_since", 0)),
            had_doubt=record.get("had_doubt") == "1",
            parameters=parameters,
            seed=record.get("seed", ""),
            on_doubt=OnDoubt(record.get("on_doubt", OnDoubt.HOLD)),
            callback_url=record.get("callback_url", ""),
            callback_secret_name=record.get("callback_secret_name", ""),
            refusal=record.get("refusal", ""),
            retries=int(record.get("retries", 0)),
            throttles=int(record.get("throttles", 0)),
            possible_orphans=int(record.get("possible_orphans", 0)),
            accepted_at=int(record.get("accepted_at", 0)),
            code=record.get("code", ""),
            message=record.get("message", ""),
            callback=CallbackWishes.from_record(record),
            renew=record.get("renew", ""),
            batch=record.get("batch", ""),
            rebind=Rebinding.from_record(record) if "mode" in record else None,
            finished_at=int(record.get("finished_at", 0)),
            binding_id=record.get("binding_id", ""),
        )
    except ValueError as unreadable:
        raise BrokenRecordError(f"unreadable ({type(unreadable).__name__})") from None


def job_from_record(job_id: str, record: Mapping[str, str]) -> Job:
    """Read a job's hash as its producer may see it.

    Raises:
        BrokenRecordError: it tells no state that this release knows.
    """
    state = _known_or_none(JobState, record.get("state")) or _newer_state(record)
    if state is None:
        raise BrokenRecordError(f"job {job_id}: its record tells no state that this release knows")
    try:
        parameters = _parameters_of(record)
    except BrokenRecordError:  # what is known of its end can be read all the same
        parameters = {}
    return Job(
        job_id=job_id,
        state=state,
        lane=_known(Lane, record.get("lane"), Lane.CHECKOUT),
        kind=_known(JobKind, record.get("kind"), JobKind.BIND),
        phone_no_x=record.get("phone_no_x", ""),
        subs_id=record.get("subs_id", ""),
        request_id=record.get("request_id", ""),
        code=record.get("code", ""),
        message=record.get("message", ""),
        attempts=int(record.get("attempts", 0)),
        accepted_at=int(record.get("accepted_at", 0)),
        finished_at=int(record.get("finished_at", 0)),
        next_at=int(record.get("next_at", 0)) if state is JobState.WAITING else 0,
        deadline_at=int(record.get("deadline_at", 0)),
        expiration=parameters.get("Expiration", ""),
        out_id=parameters.get("OutId", ""),
        out_order_id=parameters.get("OutOrderId", ""),
        possible_orphans=int(record.get("possible_orphans", 0)),
        callback_state=record.get("callback_state", ""),
        callback_attempts=int(record.get("callback_attempts", 0)),
        orphans=tuple(
            Orphan(**json.loads(text)) for name, text in sorted(record.items()) if name.startswith(ORPHAN_PREFIX)
        ),
        resolved_by=record.get("resolved_by", ""),
        step=record.get("step", ""),
        old_phone_no_x=record.get("old_phone_no_x", ""),
        old_subs_id=record.get("old_subs_id", ""),
    )


def _newer_state(record: Mapping[str, str]) -> JobState | None:
    """What a state of a newer release's is to whoever waits for the job's end: as long as it has none, it waits."""
    version = record.get("v", "")
    is_newer = version.isdecimal() and int(version) > JOB.reads
    return JobState.WAITING if is_newer and record.get("state") and "finished_at" not in record else None


def has_ended(state: str | None, finished_at: str | None) -> bool:
    """Whether a record that tells this will not be moved by a worker any more; without a record, too.

    A state that this release does not know may be one of a newer release, which still works on the job.
    """
    if state is None:
        return True
    known = _known_or_none(JobState, state)
    return known.is_end if known else finished_at is not None


def is_bound_state(state: str) -> bool:
    """Whether a record that tells this state is a binding's record, too."""
    return any(known.is_bound for known in JobState if known == state)


def _known(kind: type[EnumT], value: str | None, default: EnumT) -> EnumT:
    """The member of this value; the default for one that this release does not know."""
    return _known_or_none(kind, value) or default


def _known_or_none(kind: type[EnumT], value: str | None) -> EnumT | None:
    return next((member for member in kind if member == value), None)
