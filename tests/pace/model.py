"""The pace's script once more, in Python with time as a parameter: what `acquire.lua` must answer.

Instants are us of Redis's clock, rates are calls per second. `tests/pace/test_model.py` holds both to the same answers.
"""

import math
from dataclasses import dataclass, replace

SLOW_S = 10.0
FAST_S = 7.0
LARGEST_CUT = 0.5
DEPTH_CALLS = 0.8
SHALLOWEST = 0.02
DEEPEST = 0.05
LEVEL_OF_DEPTH = 0.33
AGAIN_US = 1_600_000
REFRACTORY_US = 500_000
SPAN_US = 1_000_000
LEAST_AGAIN = 0.95
FURTHEST_US = 2_000_000
IDLE_US = 2_000_000
LONGEST_PAUSE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Rules:
    """What a worker passes with every call: rates per second, depths in us."""

    ceiling: float
    floor: float
    checkout_depth: int
    renewal_depth: int
    batch_depth: int
    assured_share: float

    def depth(self, lane: int) -> int:
        return (self.checkout_depth, self.renewal_depth, self.batch_depth)[lane]


@dataclass(frozen=True, slots=True)
class State:
    """The schedule of one action of one account. All zero: nothing is known."""

    born: float = 0
    seen: float = 0
    tat: float = 0
    epoch: int = 0
    cut: float = 0
    wmax: float = 0
    cut_at: float = 0
    count: float = 0
    count_at: float = 0
    count_before: float = 0
    count_before_us: float = 0
    accepted_since: float = 0
    refused_since: float = 0
    assured_1: float = 0
    assured_2: float = 0
    pause: float = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the script: a report, a wish, what comes back unused, and what the worker knows."""

    lane: int = 0
    wanted: int = 0
    longest_wait: int = 0
    ok: int = 0
    throttled: int = 0
    epoch: int = 0
    pause_us: int = 0
    born: float = 0
    known_tat: float = 0
    back_end: float = 0
    back_us: float = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it: places granted, us until the first, us between two of them."""

    granted: int
    wait: int
    interval: float
    epoch: int
    born: float
    tat: float


def begun(state: State, rules: Rules, now: float) -> State:
    """Without what is damaged or from another clock."""
    interval = 1e6 / rules.ceiling
    depth = max(rules.checkout_depth, interval)
    if not state.born:
        return State(born=now, seen=now, epoch=int(now), tat=now + depth - interval, count_at=now)
    if now < state.seen:
        ahead = state.seen - now
        state = replace(
            state,
            seen=now,
            tat=state.tat - ahead,
            cut_at=state.cut_at - ahead if state.cut_at else 0,
            count_at=state.count_at - ahead,
            assured_1=state.assured_1 - ahead,
            assured_2=state.assured_2 - ahead,
            pause=state.pause - ahead,
        )
    return state


def curve(state: State, rules: Rules, since_cut_s: float) -> float:
    """The rate so long after the last cut: back to where it was cut, hesitating there, and on."""
    if not state.cut_at:
        return rules.ceiling
    beyond_s = since_cut_s - level_s(state)
    slowly, fast = beyond_s / SLOW_S, max(0.0, beyond_s) / FAST_S
    cube = fast * fast * fast
    grown = slowly * slowly * slowly + cube * cube * cube
    return min(rules.ceiling, max(state.cut, state.wmax * (1 + grown)))


def level_s(state: State) -> float:
    """How long after the cut the rate is back to where it was cut."""
    return math.floor(SLOW_S * (1 - state.cut / state.wmax) ** (1 / 3) * 1000 + 0.5) / 1000


def without_idle_time(state: State, rules: Rules, now: float) -> State:
    """A rate that nobody uses proves nothing: above the known level, only busy time lets it grow."""
    idle = now - max(state.tat, state.seen)
    if idle <= 0 or not state.cut_at:
        return state
    level = level_s(state) * 1e6
    since = now - state.cut_at
    if since <= level:
        return state
    return replace(state, cut_at=now - max(level, since - idle))


def counted(state: State, rate: float, call: Call, now: float) -> State:
    """Two spans of accepted calls, each long enough to hold twenty."""
    width = max(SPAN_US, 20e6 / rate)
    span = now - state.count_at
    if span >= 3 * width:
        state = replace(state, count=0, count_at=now, count_before=0, count_before_us=0)
    elif span >= width:
        state = replace(state, count=0, count_at=now, count_before=state.count, count_before_us=span)
    refused = call.throttled if call.epoch == state.epoch else 0
    return replace(
        state,
        count=state.count + call.ok,
        accepted_since=state.accepted_since + call.ok,
        refused_since=state.refused_since + refused,
    )


def after_throttling(state: State, rules: Rules, rate: float, now: float) -> State:
    """One cut, guided by what was accepted lately."""
    span = max(now - state.count_at + state.count_before_us, 250_000)
    goodput = (state.count + state.count_before) * 1e6 / span
    known = min(rate, goodput)
    if state.cut_at and now - state.cut_at < AGAIN_US:
        accepted, more_refused = state.accepted_since, state.refused_since - 1
        share = accepted / (accepted + more_refused) if more_refused > 0 else 1.0
        known = max(LEAST_AGAIN * known, min(known, rate * share))
    depth = min(DEEPEST, max(SHALLOWEST, DEPTH_CALLS / rate))
    cut = min(rules.ceiling, max((1 - depth) * known, LARGEST_CUT * rate, rules.floor))
    return replace(
        state,
        cut=cut,
        wmax=max(cut, (1 - depth * LEVEL_OF_DEPTH) * known),
        cut_at=now,
        epoch=state.epoch + 1,
        accepted_since=0,
        refused_since=0,
    )


def acquire(before: State, rules: Rules, call: Call, now: float) -> tuple[State, Reply]:
    """What the script does, but for the account's stop."""
    state = without_idle_time(begun(before, rules, now), rules, now)
    rate = curve(state, rules, (now - state.cut_at) / 1e6)
    state = counted(state, rate, call, now)
    fresh_cut = not state.cut_at or now - state.cut_at > REFRACTORY_US
    if call.throttled and call.epoch == state.epoch and fresh_cut:
        state = after_throttling(state, rules, rate, now)
        rate = state.cut
    if call.pause_us:
        state = replace(state, pause=max(state.pause, now + min(call.pause_us, LONGEST_PAUSE_US)))
    interval = 1e6 / rate
    state = scheduled(state, rules, call, interval, now=now, is_new=not before.born)
    state, granted, wait = placed(state, rules, call, interval, now) if call.wanted else (state, 0, 0.0)
    state = replace(state, seen=now)
    return state, Reply(granted, math.ceil(wait), interval, state.epoch, state.born, state.tat)


def scheduled(state: State, rules: Rules, call: Call, interval: float, *, now: float, is_new: bool) -> State:
    """The schedule as it stands before this call's wish."""
    depth = max(rules.checkout_depth, interval)
    tat = state.tat
    if call.back_us and tat == call.back_end:
        tat -= call.back_us
    without_burst = now + math.ceil(depth - interval)
    if not is_new and (tat > now + FURTHEST_US + 4 * depth or tat < now - IDLE_US):
        tat = without_burst
    if call.born and call.born != state.born:
        tat = max(tat, min(call.known_tat, now + FURTHEST_US))
    return replace(state, tat=max(tat, now))


def placed(state: State, rules: Rules, call: Call, interval: float, now: float) -> tuple[State, int, float]:
    """Places for one lane: the state with them, how many, us until the first (or until it is worth asking again)."""
    depth = max(rules.checkout_depth, interval)
    if state.pause > now:
        return state, 0, state.pause - now
    furthest = min(call.longest_wait, FURTHEST_US)
    booked_wait = max(0.0, state.tat - now + interval - depth)
    if call.lane == 0:
        if booked_wait > furthest:
            return state, 0, booked_wait if booked_wait > call.longest_wait else booked_wait - FURTHEST_US
        return replace(state, tat=math.ceil(state.tat + interval)), 1, booked_wait
    return placed_below(state, rules, call, interval, now)


def placed_below(state: State, rules: Rules, call: Call, interval: float, now: float) -> tuple[State, int, float]:
    """The same for renewal and batch."""
    booked_wait = max(0.0, state.tat - now + interval - max(rules.checkout_depth, interval))
    furthest = min(call.longest_wait, FURTHEST_US + 2 * interval)
    lane_depth: float = rules.depth(call.lane)
    lead = rules.batch_depth / 6 + lane_depth - rules.batch_depth
    lane_depth = max(lane_depth, interval + lead)
    threshold = lane_depth - max(rules.batch_depth / 2, interval)
    assured_interval = interval / rules.assured_share
    assured = state.assured_1 if call.lane == 1 else state.assured_2
    ahead = state.tat - now
    if ahead <= threshold and ahead <= call.longest_wait:
        granted = min(call.wanted, math.floor((lane_depth - ahead) / interval))
        assured = min(max(assured, now) + granted * assured_interval, now + max(1e6, assured_interval))
        state = replace(state, tat=math.ceil(state.tat + granted * interval))
        return with_assured(state, call.lane, assured), granted, ahead
    if assured <= now and booked_wait <= furthest:
        state = replace(state, tat=math.ceil(state.tat + interval))
        return with_assured(state, call.lane, max(assured + assured_interval, now)), 1, booked_wait
    until_lane = max(ahead - threshold, ahead - call.longest_wait)
    until_assured = max(assured - now, booked_wait - furthest)
    return state, 0, min(until_lane, until_assured)


def with_assured(state: State, lane: int, assured: float) -> State:
    if lane == 1:
        return replace(state, assured_1=math.ceil(assured))
    return replace(state, assured_2=math.ceil(assured))
