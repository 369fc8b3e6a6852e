"""Judges what became of callbacks. Pure: what receivers saw and the ledger says in, broken promises out.

I4  each end's callback was taken by its receiver, or is listed as dead for a reason that is right; all its tries
    carry one webhook-id and one body, that of the job's end, each signed anew with the keys live at that moment
I7  nobody connected to a denied address, nobody was told a callback that it was not to hear
I9  the callbacks of healthy receivers are not late while another receiver is bad
"""

import base64
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from tests.chaos.checker import LOST, SLOW, WRONG, Violation, percentile

DELIVERED = "delivered"
JITTER = 0.2
#: The signed time is in whole seconds; two processes write down one moment a little apart.
CLOCK_SLACK_MS = 1_500
#: Workers believe the keys they know for so long.
KEYS_HEEDED_WITHIN_MS = 5_000
#: From signing until the receiver has read the request. One that was signed for an earlier try is older.
SIGNED_WITHIN_MS = 4_000
_TRY_SLACK_MS = 50
_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as a receiver read it.

    Attributes:
        host: the receiver's, as its URL names it.
        at_ms: when it was complete, Unix ms.
        signed_s: its webhook-timestamp.
        signatures: its webhook-signature, taken apart.
        status: what it was answered, as far as it may count for the sender; 0 for no answer.
        asks_ms: how long the answer asked to be left alone.
    """

    host: str
    webhook_id: str
    at_ms: int
    signed_s: int
    signatures: tuple[str, ...]
    body: bytes
    status: int
    asks_ms: int = 0

    @property
    def job_id(self) -> str:
        return self.webhook_id.partition("-")[0]

    @property
    def is_taken(self) -> bool:
        return self.status in _SUCCESS


@dataclass(frozen=True, slots=True)
class Receiver:
    """What is right for the callbacks of one host.

    Attributes:
        ends: "delivered", or the error that one was given up with.
        is_told: whether it may ever read one.
        is_bystander: healthy, and measured for I9.
    """

    host: str
    ends: frozenset[str] = frozenset({DELIVERED})
    is_told: bool = True
    is_bystander: bool = False


@dataclass(frozen=True, slots=True)
class Owed:
    """The callback of one job's end, as the ledger tells it.

    Attributes:
        webhook_id: of its end.
        finished_ms, state, phone_no_x: the end itself.
        callback_state: in the job's record.
        dead_error: as the list of dead callbacks shows it; empty where it is not listed.
        may_begin_anew: a person has replayed it, or its worker was killed: its tries are numbered anew or lost.
    """

    job_id: str
    host: str
    webhook_id: str
    finished_ms: int
    state: str
    phone_no_x: str = ""
    callback_state: str = DELIVERED
    dead_error: str = ""
    may_begin_anew: bool = False


@dataclass(frozen=True, slots=True)
class KeySpan:
    """A `whsec_` key and the time in which it was live, Unix ms; `decided_ms` is when its end was made known."""

    secret: str
    begins_ms: int = 0
    ends_ms: int = 0
    decided_ms: int = 0

    def ending(self, ends_ms: int, decided_ms: int) -> "KeySpan":
        """The same key, its end known."""
        return replace(self, ends_ms=ends_ms, decided_ms=decided_ms)

    def must_sign(self, at_ms: int) -> bool:
        """Whether every worker has heard of it, and none may have dropped it yet."""
        heeded = self.begins_ms + KEYS_HEEDED_WITHIN_MS if self.begins_ms else 0
        return heeded + CLOCK_SLACK_MS <= at_ms and (not self.ends_ms or at_ms < self.ends_ms - CLOCK_SLACK_MS)

    def may_sign(self, at_ms: int) -> bool:
        """Whether some worker may rightly sign with it."""
        latest = max(self.ends_ms, self.decided_ms + KEYS_HEEDED_WITHIN_MS) + CLOCK_SLACK_MS
        return self.begins_ms - CLOCK_SLACK_MS <= at_ms and (not self.ends_ms or at_ms < latest)


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which a receiver must not be called: it was disabled. Unix ms; 0 for no end."""

    host: str
    from_ms: int
    to_ms: int = 0


@dataclass(frozen=True, slots=True)
class CallbackEvidence:
    """All that is known of a cell's callbacks.

    Attributes:
        keys: by host; those not named have `default_keys`.
        schedule_ms: delays between the tries.
        denied: connections counted by each listener at a denied address.
        bystanders_within_ms: bound of the 99th percentile, from the end of a job to its callback's first arrival.
        most_at_a_time, allowed_at_a_time: requests that a receiver held together, and how many it may.
        skews_ms: how wrong a sender's clock may be; 0 is a true one.
    """

    owed: Sequence[Owed]
    receivers: Mapping[str, Receiver]
    arrivals: Sequence[Arrival]
    default_keys: Sequence[KeySpan] = ()
    keys: Mapping[str, Sequence[KeySpan]] = field(default_factory=dict)
    schedule_ms: Sequence[int] = ()
    silences: Sequence[Silence] = ()
    denied: Mapping[str, int] = field(default_factory=dict)
    bystanders_within_ms: int = 1_500
    most_at_a_time: Mapping[str, int] = field(default_factory=dict)
    allowed_at_a_time: int = 16
    skews_ms: Sequence[int] = (0,)


def check_callbacks(evidence: CallbackEvidence) -> list[Violation]:
    """Judge a cell's callbacks."""
    of_job: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in sorted(evidence.arrivals, key=lambda one: one.at_ms):
        of_job[arrival.job_id].append(arrival)
    violations: list[Violation] = []
    for owed in evidence.owed:
        arrivals = of_job.pop(owed.job_id, [])
        violations += _check_end(owed, evidence.receivers[owed.host], arrivals)
        violations += _check_copies(owed, arrivals)
        violations += _check_tries(owed, arrivals, evidence.schedule_ms)
    for strange in of_job:
        violations.append(Violation("I4", WRONG, strange, "a callback of a job that nobody was told is accepted"))
    for arrival in evidence.arrivals:
        violations += _check_signatures(
            arrival, evidence.keys.get(arrival.host, evidence.default_keys), evidence.skews_ms
        )
        violations += _check_may_hear(arrival, evidence)
    violations += _check_denied(evidence)
    violations += _check_bystanders(evidence)
    violations += _check_places(evidence)
    return violations


def delays_ms(evidence: CallbackEvidence) -> list[int]:
    """Of the bystanders: from the end of each job to the first arrival of its callback."""
    first: dict[str, int] = {}
    for arrival in evidence.arrivals:
        first[arrival.webhook_id] = min(arrival.at_ms, first.get(arrival.webhook_id, arrival.at_ms))
    return [
        max(0, first[owed.webhook_id] - owed.finished_ms)
        for owed in evidence.owed
        if evidence.receivers[owed.host].is_bystander and owed.webhook_id in first
    ]


def _check_end(owed: Owed, receiver: Receiver, arrivals: Sequence[Arrival]) -> Iterable[Violation]:
    is_taken = any(one.is_taken and one.webhook_id == owed.webhook_id and one.host == owed.host for one in arrivals)
    wanted = " or ".join(sorted(receiver.ends))
    if owed.callback_state == DELIVERED:
        if not is_taken:
            yield Violation("I4", LOST, owed.job_id, f"said to be delivered, and {owed.host} has answered no 2xx")
        elif DELIVERED not in receiver.ends:
            yield Violation("I4", WRONG, owed.job_id, f"delivered to {owed.host}, must be {wanted}")
    elif not owed.dead_error:
        text = f"{owed.callback_state or 'owed'} to {owed.host}, neither taken nor listed as dead"
        yield Violation("I4", LOST, owed.job_id, text)
    elif owed.callback_state != "dead":
        text = f"listed as dead ({owed.dead_error}), and its job says {owed.callback_state!r}"
        yield Violation("I4", WRONG, owed.job_id, text)
    elif owed.dead_error not in receiver.ends:
        text = f"given up ({owed.dead_error}) at {owed.host}, must be {wanted}"
        yield Violation("I4", WRONG, owed.job_id, text)


def _check_copies(owed: Owed, arrivals: Sequence[Arrival]) -> Iterable[Violation]:
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for arrival in arrivals:
        bodies[arrival.webhook_id].add(arrival.body)
        if arrival.host != owed.host:
            text = f"its callback to {owed.host} came to {arrival.host}"
            yield Violation("I7", WRONG, owed.job_id, text)
    for webhook_id, of_id in bodies.items():
        if len(of_id) > 1:
            yield Violation("I4", WRONG, owed.job_id, f"{len(of_id)} bodies came with the webhook-id {webhook_id}")
        if webhook_id != owed.webhook_id and not webhook_id.startswith(f"{owed.job_id}-orphan-"):
            text = f"its end is the event {owed.webhook_id}, and {webhook_id} came"
            yield Violation("I4", WRONG, owed.job_id, text)
    for body in bodies.get(owed.webhook_id, ()):
        told = _data_of(body)
        if (told.get("job_id"), told.get("state"), told.get("phone_no_x")) != (
            owed.job_id,
            owed.state,
            owed.phone_no_x,
        ):
            yield Violation("I4", WRONG, owed.job_id, "the callback tells another end than the record")


def _data_of(body: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError):
        return {}
    return data if isinstance(data, dict) else {}


def _check_tries(owed: Owed, arrivals: Sequence[Arrival], schedule_ms: Sequence[int]) -> Iterable[Violation]:
    tries = [one for one in arrivals if one.webhook_id == owed.webhook_id]
    if owed.may_begin_anew:
        return
    if len(tries) > len(schedule_ms) + 1:
        yield Violation("I4", WRONG, owed.job_id, f"{len(tries)} tries, at most {len(schedule_ms) + 1} are planned")
    for number, (one, following) in enumerate(pairwise(tries), start=1):
        if one.is_taken and following.at_ms - one.at_ms > CLOCK_SLACK_MS:
            continue  # its answer was lost: the cell knows
        planned_ms = schedule_ms[number - 1] * (1 - JITTER) if number <= len(schedule_ms) else 0
        least_ms = max(planned_ms, one.asks_ms) - _TRY_SLACK_MS
        if following.at_ms - one.at_ms < least_ms:
            text = f"try {number + 1} came {following.at_ms - one.at_ms} ms after try {number}, {least_ms:.0f} at least"
            yield Violation("I4", WRONG, owed.job_id, text)


def _check_signatures(arrival: Arrival, keys: Sequence[KeySpan], skews_ms: Sequence[int]) -> Iterable[Violation]:
    signed_ms = arrival.signed_s * 1000
    late_ms = arrival.at_ms - signed_ms
    if not any(-CLOCK_SLACK_MS <= late_ms + skew_ms <= SIGNED_WITHIN_MS for skew_ms in skews_ms):
        text = f"a try was signed for a moment {late_ms} ms before it came"
        yield Violation("I4", WRONG, arrival.job_id, text)
    left = set(arrival.signatures)
    for place, key in enumerate(keys, start=1):
        signature = signature_of(key.secret, arrival)
        has_signed = signature in left
        left.discard(signature)
        if has_signed and not key.may_sign(signed_ms):
            yield Violation("I4", WRONG, arrival.job_id, f"signed with key {place} of {arrival.host}, not live then")
        elif not has_signed and key.must_sign(signed_ms):
            yield Violation("I4", WRONG, arrival.job_id, f"not signed with key {place} of {arrival.host}, live then")
    if left:
        text = f"{len(left)} signatures by no key that {arrival.host} ever had, or of another body or time"
        yield Violation("I4", WRONG, arrival.job_id, text)


def signature_of(secret: str, arrival: Arrival) -> str:
    """The `v1` signature by the specification's words; the engine's own code has no part in it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{arrival.webhook_id}.{arrival.signed_s}.".encode() + arrival.body
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _check_may_hear(arrival: Arrival, evidence: CallbackEvidence) -> Iterable[Violation]:
    receiver = evidence.receivers.get(arrival.host)
    if receiver is None or not receiver.is_told:
        yield Violation("I7", WRONG, arrival.job_id, f"{arrival.host} was told a callback")
    for silence in evidence.silences:
        if silence.host == arrival.host and silence.from_ms <= arrival.at_ms < (silence.to_ms or arrival.at_ms + 1):
            text = f"{arrival.host} was called {arrival.at_ms - silence.from_ms} ms after its calls had to end"
            yield Violation("I7", WRONG, arrival.job_id, text)


def _check_denied(evidence: CallbackEvidence) -> Iterable[Violation]:
    for address, connections in evidence.denied.items():
        if connections:
            yield Violation("I7", WRONG, "-", f"{connections} connections to {address}, which is denied")


def _check_bystanders(evidence: CallbackEvidence) -> Iterable[Violation]:
    p99_ms = percentile(delays_ms(evidence), 0.99)
    if p99_ms > evidence.bystanders_within_ms:
        text = f"callbacks of healthy receivers came {p99_ms} ms late (p99), at most {evidence.bystanders_within_ms}"
        yield Violation("I9", SLOW, "-", text)


def _check_places(evidence: CallbackEvidence) -> Iterable[Violation]:
    for host, most in evidence.most_at_a_time.items():
        if most > evidence.allowed_at_a_time:
            yield Violation("I9", WRONG, "-", f"{most} tries at {host} at a time, at most {evidence.allowed_at_a_time}")
