"""What the pace of one account looks like to a person: typed, and read out of the hashes that its scripts keep.

The schedule's hash is gone an hour after its last call; what only it knew is then None, and never guessed. Instants are
Unix ms by Redis's clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from worker.domain.job import Lane

PACED_LANES = (Lane.CHECKOUT, Lane.RENEWAL, Lane.BATCH)
"""The lanes that send calls to the provider, in the order of their rank."""
_WAITING_STALE_MS = 5_000
_MINUTE_US = 60_000_000

Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most calls per second that are tried.

    Attributes:
        per_second: what holds now: the order's, or else the setting's.
        setting: the setting's, as this process reads it.
        is_ordered: whether an operator's order stands.
        at, by: when and by whom it was ordered, or put back to the setting; None and "" if never.
    """

    per_second: float
    setting: float
    is_ordered: bool
    at: int | None
    by: str


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane of one action.

    Attributes:
        lane: which.
        waiting: permits waited for, over all processes that told of it within 5 s.
        is_paused: nothing is granted to it.
        at, by: when and by whom it was paused or resumed; None and "" if never.
    """

    lane: Lane
    waiting: int
    is_paused: bool
    at: int | None
    by: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The last time the rate was cut, and to what, calls per second."""

    at: int
    per_second: float


@dataclass(frozen=True, slots=True)
class LastMinute:
    """Calls of this minute and the share of the minute before that lies within 60 s; None where it is not known.

    Attributes:
        sent: granted to be sent.
        throttled: refused by the provider for going too fast.
        unwell: answered with a 5xx, or not in time.
    """

    sent: int | None
    throttled: int | None
    unwell: int | None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the schedule knows, as of the last call.

    Attributes:
        asked_at: when a worker last asked it; None if that is not known.
        rate: calls per second that it grants. Up to ceiling / (1 + AXN_PACE__CHECKOUT_DEPTH in s), so that a burst
            of checkouts stays within the ceiling, too.
        in_use: calls per second that the provider accepted lately.
        last_minute: what became of them.
        last_cut: None if the rate was never cut while the schedule was in use.
        silent_until: the end of a silence that the provider asked for; None without one.
    """

    asked_at: int | None
    rate: float | None
    in_use: float | None
    last_minute: LastMinute
    last_cut: Cut | None
    silent_until: int | None


@dataclass(frozen=True, slots=True)
class ActionState:
    """One action; traffic is None where nothing is known, because nothing was sent for an hour."""

    action: str
    ceiling: Ceiling
    lanes: tuple[LaneState, ...]
    traffic: Traffic | None


@dataclass(frozen=True, slots=True)
class CircuitState:
    """The circuit of the endpoint: while it is open, only single probes are sent."""

    endpoint: str
    is_open: bool
    opened_at: int | None
    next_probe_at: int | None


@dataclass(frozen=True, slots=True)
class StopState:
    """The account is stopped: the provider refuses it with this code, and only single probes are sent."""

    code: str
    since: int | None
    next_probe_at: int | None


@dataclass(frozen=True, slots=True)
class AccountState:
    """The pace of one account at one moment; stop is None while the account is good."""

    account: str
    at: int
    stop: StopState | None
    circuit: CircuitState
    actions: tuple[ActionState, ...]


def stop_of(record: Record) -> StopState | None:
    """Of the account's `stop` hash."""
    if not record:
        return None
    return StopState(record.get("code", ""), _instant(record, "since"), _instant(record, "next_probe_at"))


def circuit_of(endpoint: str, record: Record) -> CircuitState:
    """Of the endpoint's `circuit` hash."""
    is_open = record.get("next_probe_at", "0") != "0"
    if not is_open:
        return CircuitState(endpoint, is_open, None, None)
    return CircuitState(endpoint, is_open, _instant(record, "opened_at"), _instant(record, "next_probe_at"))


def ceiling_of(orders: Record, setting: float) -> Ceiling:
    """Of an action's `orders` hash."""
    ordered = _number(orders, "per_second")
    at, by = _instant(orders, "per_second_at"), orders.get("per_second_by", "")
    return Ceiling(float(setting) if ordered is None else ordered, float(setting), ordered is not None, at, by)


def lanes_of(orders: Record, waiting: Record, now_us: int) -> tuple[LaneState, ...]:
    """Of an action's `orders` and `waiting` hashes."""
    counts = _waiting_counts(waiting, now_us // 1000)
    return tuple(
        LaneState(
            lane,
            counts.get(lane.value, 0),
            f"paused_{lane}" in orders,
            _instant(orders, f"paused_{lane}_at"),
            orders.get(f"paused_{lane}_by", ""),
        )
        for lane in PACED_LANES
    )


def _waiting_counts(waiting: Record, now_ms: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for field, told in waiting.items():
        count, _, told_at = told.partition(":")
        if count.isdecimal() and told_at.isdecimal() and now_ms - int(told_at) <= _WAITING_STALE_MS:
            lane = field.rpartition(":")[2]
            counts[lane] = counts.get(lane, 0) + int(count)
    return counts


def traffic_of(schedule: Record, now_us: int) -> Traffic | None:
    """Of an action's `schedule` hash, as `acquire.lua` keeps it."""
    if not schedule:
        return None
    last_cut_us, cut, pause_us = (_number(schedule, name) for name in ("last_cut", "cut", "pause"))
    return Traffic(
        asked_at=_ms(_number(schedule, "seen")),
        rate=_number(schedule, "rate"),
        in_use=_accepted_per_second(schedule, now_us),
        last_minute=LastMinute(*(_in_a_minute(schedule, name, now_us) for name in ("sent", "throttled", "unwell"))),
        last_cut=Cut(int(last_cut_us / 1000), cut) if last_cut_us and cut is not None else None,
        silent_until=_ms(pause_us) if pause_us is not None and pause_us > now_us else None,
    )


def _accepted_per_second(schedule: Record, now_us: int) -> float | None:
    count_at = _number(schedule, "count_at")
    names = ("count", "count_before", "count_before_us")
    count, count_before, before_us = (_number(schedule, name, absent=0) for name in names)
    if count is None or count_before is None or count_at is None or before_us is None:
        return None
    span_us = now_us - count_at + before_us
    return (count + count_before) * 1_000_000 / span_us if now_us > count_at else None


def _in_a_minute(schedule: Record, name: str, now_us: int) -> int | None:
    counted = _number(schedule, "minute")
    lately, before = (_number(schedule, field, absent=0) for field in (name, f"{name}_before"))
    if counted is None or lately is None or before is None:
        return None
    minute, into_us = divmod(now_us, _MINUTE_US)
    share_of_the_last = 1 - into_us / _MINUTE_US
    minutes_ago = minute - counted
    if minutes_ago < 0:  # Redis's clock jumped back
        return None
    if minutes_ago == 0:
        return round(lately + before * share_of_the_last)
    return round(lately * share_of_the_last) if minutes_ago == 1 else 0


def _number(record: Record, name: str, *, absent: float | None = None) -> float | None:
    """A figure; None where it is none. Scripts write a count once it is not 0: `absent` stands for a missing one."""
    if name not in record:
        return absent
    try:
        number = float(record[name])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _instant(record: Record, name: str) -> int | None:
    number = _number(record, name)
    return None if number is None else int(number)


def _ms(instant_us: float | None) -> int | None:
    return None if instant_us is None else int(instant_us / 1000)
