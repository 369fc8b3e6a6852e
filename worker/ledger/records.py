"""How a job stands in its hash, and the values that claims and settlements carry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from pydantic_core import to_json

from worker.domain.formats import JOB
from worker.domain.job import JobKind, JobState, Lane, OnDoubt
from worker.errors import AxnError
from worker.ledger.callback_records import NO_WISHES, CallbackWishes, OwedCallback
from worker.ledger.rebind_record import Rebinding
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import is_sealed_field, opened_record

_REPLY_HEAD = 9
_IS_POISON = 7
EnumT = TypeVar("EnumT", bound=StrEnum)


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
        asked_at: of a row that makes a binding: when its batch was begun, Unix ms by Redis's clock; 0: as it is filed.
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
    asked_at: int = 0

    def pairs(self) -> list[str]:
        """Field, value, field, value …, without empty ones and the seed, which the script writes itself."""
        fields = {
            "v": str(JOB.writes),
            "job_id": self.job_id,
            "kind": self.kind.value,
            "is_confirmed": "1" if self.is_confirmed else "",
            "lane": self.lane.value,
            "request": to_json(dict(self.parameters)).decode(),
            "on_doubt": "" if self.on_doubt is OnDoubt.HOLD else self.on_doubt.value,
            "callback_url": self.callback_url,
            "callback_secret_name": self.callback_secret_name,
            "refusal": self.refusal,
            "renew": self.renew,
            "batch": self.batch,
            "binding_id": self.binding_id,
            "asked_at": str(self.asked_at or ""),
        }
        if self.callback is not NO_WISHES:
            fields |= self.callback.fields()
        if self.kind is not JobKind.BIND:
            fields |= self._named_binding()
        return [part for pair in fields.items() if pair[1] for part in pair]

    def _named_binding(self) -> dict[str, str]:
        """What a bind finds out, an update or unbind knows from the start."""
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
        trace: the traceparent of who filed it; empty where it is not traced.
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
    trace: str = ""

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


def claim_from_record(reply: list[str], job_id: str, token: str, seal: Seal = NO_SEAL) -> Claim:
    """Read claim.lua's reply of status `claimed`.

    A poisonous job can be claimed with a record that is broken: its claim then holds no more than it takes to end it.

    Raises:
        BrokenRecordError: the record is of another version, or does not read as one.
        SealError: its numbers cannot be read; nothing may be concluded from that.
    """
    record = opened_record(seal, job_id, record_in(reply))
    try:
        _check_version(record)
        return _claim(record, parameters_of(record), job_id, token, reply)
    except BrokenRecordError:
        if not is_poison(reply):
            raise
        told = {name: record.get(name, "") for name in ("callback_url", "callback_secret_name")}
        return _claim(told, {}, job_id, token, reply)


def record_in(reply: Sequence[str]) -> dict[str, str]:
    """The record in claim.lua's reply, as it stands in Redis."""
    flat = reply[_REPLY_HEAD:]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def claim_without_numbers(reply: list[str], job_id: str, token: str) -> Claim:
    """The claim of a record whose numbers cannot be read: enough to put it off."""
    readable = {name: value for name, value in record_in(reply).items() if not is_sealed_field(name)}
    return _claim(readable, {}, job_id, token, reply)


def is_poison(reply: Sequence[str]) -> bool:
    """Whether claim.lua says that too many leases of this job ran out."""
    return reply[_IS_POISON] == "1"


def _check_version(record: Mapping[str, str]) -> None:
    version = record.get("v", "")
    if not version.isdecimal() or not 1 <= int(version) <= JOB.reads:
        raise BrokenRecordError(f"its version is {version!r:.20}, this release reads 1 to {JOB.reads}")


def parameters_of(record: Mapping[str, str]) -> dict[str, str]:
    """The business parameters in a record; raises BrokenRecordError."""
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
            trace=record.get("trace", ""),
        )
    except ValueError as unreadable:
        raise BrokenRecordError(f"unreadable ({type(unreadable).__name__})") from None
