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
RETRIES_SAVED_S = 2
PAUSED_AGAIN_US = 1_000_000
PROBED_AGAIN_US = 1_000_000
CIRCUIT_SPAN_MS = 10_000
CIRCUIT_BUSY_SPAN_MS = 1_000
CIRCUIT_MANY = 50
CIRCUIT_RAMP_MS = 5_000
CIRCUIT_RAMP_FROM = 0.1
RATE, BY_ACCOUNT, BY_CIRCUIT, BY_OPERATOR, BY_BUDGET = range(5)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a worker passes with every call: rates per second, depths in us; and what the operator has ordered."""

    per_second: float
    checkout_depth: int = 50_000
    renewal_depth: int = 40_000
    batch_depth: int = 30_000
    assured_share: float = 0.05
    probe_ms: int = 30_000
    retries_per_second: float = 10
    retry_share: float = 0.2
    circuit_least: int = 10
    circuit_share: float = 0.5
    circuit_first_ms: int = 1_000
    circuit_longest_ms: int = 30_000
    paused: frozenset[int] = frozenset()

    @property
    def ceiling(self) -> float:
        return self.per_second / (1 + self.checkout_depth / 1e6)

    @property
    def floor(self) -> float:
        return min(1.0, self.ceiling / 2)

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
    last_cut: float = 0
    count: float = 0
    count_at: float = 0
    count_before: float = 0
    count_before_us: float = 0
    accepted_since: float = 0
    refused_since: float = 0
    assured_1: float = 0
    assured_2: float = 0
    turn_0: float = 0
    turn_1: float = 0
    turn_2: float = 0
    pause: float = 0
    retry_tokens: float = 0
    retry_at: float = 0
    rate: float = 0
    minute: float = 0
    sent: float = 0
    throttled: float = 0
    unwell: float = 0
    sent_before: float = 0
    throttled_before: float = 0
    unwell_before: float = 0


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is known of an endpoint; instants in ms. `next_probe_at` is 0 while it is closed."""

    ok: float = 0
    bad: float = 0
    ok_before: float = 0
    bad_before: float = 0
    at: float = 0
    opened_at: float = 0
    next_probe_at: float = 0
    fails: float = 0
    probing: float = 0
    closed_at: float = 0


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
    is_retry: bool = False
    unwell: int = 0
    circuit_probe: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of it: places granted, us until the first, us between two of them."""

    granted: int
    wait: int
    interval: float
    epoch: int
    born: float
    tat: float
    reason: int = RATE
    probes: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class World:
    """What the script keeps: the schedule and the endpoint's circuit."""

    state: State = State()
    circuit: Circuit = Circuit()


def begun(state: State, rules: Rules, now: float) -> State:
    """Without what is damaged or from another clock."""
    interval = 1e6 / rules.ceiling
    depth = max(rules.checkout_depth, interval)
    if not state.born:
        return State(
            born=now, seen=now, epoch=int(now), tat=now + depth - interval, count_at=now,
            retry_tokens=rules.retries_per_second, retry_at=now,
        )  # fmt: skip
    if now < state.seen:
        ahead = state.seen - now
        state = replace(
            state,
            seen=now,
            tat=state.tat - ahead,
            cut_at=state.cut_at - ahead if state.cut_at else 0,
            last_cut=state.last_cut - ahead if state.cut_at else 0,
            count_at=state.count_at - ahead,
            assured_1=state.assured_1 - ahead,
            assured_2=state.assured_2 - ahead,
            turn_0=state.turn_0 - ahead,
            turn_1=state.turn_1 - ahead,
            turn_2=state.turn_2 - ahead,
            pause=state.pause - ahead,
            retry_at=state.retry_at - ahead,
        )
    return state


def judged(circuit: Circuit, rules: Rules, call: Call, now_ms: float) -> Circuit:
    """The circuit after what the call tells of answers."""
    answered = call.ok + call.throttled
    if answered + call.unwell:
        circuit = answers_counted(circuit, rules, answered, call.unwell, now_ms)
    if circuit.next_probe_at and call.circuit_probe == 1:
        return Circuit(closed_at=now_ms, at=now_ms)
    if circuit.next_probe_at and call.circuit_probe == 2:
        fails = circuit.fails + 1
        interval = min(float(rules.circuit_longest_ms), rules.circuit_first_ms * 2.0 ** min(fails - 1, 30))
        return replace(circuit, fails=fails, probing=0, next_probe_at=now_ms + interval)
    return circuit


def answers_counted(circuit: Circuit, rules: Rules, answered: int, unwell: int, now_ms: float) -> Circuit:
    span = now_ms - circuit.at
    if span < 0 or span >= 2 * CIRCUIT_SPAN_MS:
        circuit = replace(circuit, ok=0, bad=0, ok_before=0, bad_before=0, at=now_ms)
    elif span >= CIRCUIT_SPAN_MS or (span >= CIRCUIT_BUSY_SPAN_MS and circuit.ok + circuit.bad >= CIRCUIT_MANY):
        circuit = replace(circuit, ok=0, bad=0, ok_before=circuit.ok, bad_before=circuit.bad, at=now_ms)
    circuit = replace(circuit, ok=circuit.ok + answered, bad=circuit.bad + unwell)
    bad = circuit.bad + circuit.bad_before
    is_bad = bad >= rules.circuit_least and bad >= rules.circuit_share * (bad + circuit.ok + circuit.ok_before)
    if is_bad and unwell and not circuit.next_probe_at:
        return replace(circuit, opened_at=now_ms, fails=1, next_probe_at=now_ms + rules.circuit_first_ms, closed_at=0)
    return circuit


def ramped(rate: float, circuit: Circuit, rules: Rules, now_ms: float) -> float:
    """The rate soon after an endpoint has come back."""
    if not circuit.closed_at:
        return rate
    back = max(0.0, min(1.0, (now_ms - circuit.closed_at) / CIRCUIT_RAMP_MS))
    return max(min(rate, rules.floor), rate * (CIRCUIT_RAMP_FROM + (1 - CIRCUIT_RAMP_FROM) * back))


def with_retries_due(state: State, rules: Rules, rate: float, ok: int, now: float) -> State:
    saved = RETRIES_SAVED_S * (rules.retries_per_second + rules.retry_share * rate)
    due = rules.retries_per_second * max(0.0, now - state.retry_at) / 1e6
    return replace(state, retry_tokens=min(saved, state.retry_tokens + due + rules.retry_share * ok), retry_at=now)


def tallied(state: State, call: Call, granted: int, now: float) -> State:
    """What happened in this minute and the one before."""
    minute = now // 60e6
    if minute != state.minute:
        follows = minute == state.minute + 1
        state = replace(
            state,
            minute=minute,
            sent_before=state.sent if follows else 0,
            throttled_before=state.throttled if follows else 0,
            unwell_before=state.unwell if follows else 0,
            sent=0,
            throttled=0,
            unwell=0,
        )
    return replace(
        state,
        sent=state.sent + granted,
        throttled=state.throttled + call.throttled,
        unwell=state.unwell + call.unwell,
    )


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
    to_level_s: float = SLOW_S * (1 - state.cut / state.wmax) ** (1 / 3)
    return math.floor(to_level_s * 1000 + 0.5) / 1000


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
    if state.last_cut and now - state.last_cut < AGAIN_US:
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
        last_cut=now,
        epoch=state.epoch + 1,
        accepted_since=0,
        refused_since=0,
    )


def acquire(before: World, rules: Rules, call: Call, now: float) -> tuple[World, Reply]:
    """What the script does, but for the account's stop."""
    circuit = judged(before.circuit, rules, call, now / 1000)
    state = without_idle_time(begun(before.state, rules, now), rules, now)
    rate = curve(state, rules, (now - state.cut_at) / 1e6)
    state = counted(state, rate, call, now)
    fresh_cut = not state.last_cut or now - state.last_cut > REFRACTORY_US
    if call.throttled and call.epoch == state.epoch and fresh_cut:
        state = after_throttling(state, rules, rate, now)
        rate = state.cut
    if call.pause_us:
        state = replace(state, pause=max(state.pause, now + min(call.pause_us, LONGEST_PAUSE_US)))
    rate = ramped(rate, circuit, rules, now / 1000)
    state = with_retries_due(state, rules, rate, call.ok, now)
    interval = 1e6 / rate
    state = scheduled(state, rules, call, interval, now=now, is_new=not before.state.born)
    world, reply = World(state, circuit), Reply(0, 0, interval, state.epoch, state.born, state.tat)
    if call.wanted:
        world, reply = wished(world, rules, call, interval, now)
    state = tallied(replace(world.state, seen=now, rate=rate), call, reply.granted, now)
    return replace(world, state=state), reply


def wished(world: World, rules: Rules, call: Call, interval: float, now: float) -> tuple[World, Reply]:
    """The wish for places, as far as anything but the rate may refuse it."""
    state, circuit = world.state, world.circuit

    def reply(state: State, granted: int, wait: float, **more: int) -> Reply:
        return Reply(granted, math.ceil(wait), interval, state.epoch, state.born, state.tat, **more)

    if call.lane in rules.paused:
        return world, reply(state, 0, PAUSED_AGAIN_US, reason=BY_OPERATOR)
    if circuit.next_probe_at:
        until_probe = max(circuit.next_probe_at * 1000, state.pause) - now
        if until_probe > 0:
            wait = min(until_probe, PROBED_AGAIN_US) if circuit.probing else until_probe
            return world, reply(state, 0, wait, reason=BY_CIRCUIT)
        wait = max(0.0, state.tat - now + interval - max(rules.checkout_depth, interval))
        state = replace(state, tat=math.ceil(state.tat + interval))
        return World(state, replace(circuit, next_probe_at=now / 1000 + rules.probe_ms, probing=1)), reply(
            state, 1, wait, probes=2
        )
    if state.pause > now:
        return world, reply(state, 0, state.pause - now)
    if call.is_retry:
        most = min(call.wanted, math.floor(state.retry_tokens))
        if most < 1:
            return world, reply(state, 0, (1 - state.retry_tokens) * 1e6 / rules.retries_per_second, reason=BY_BUDGET)
    else:
        most = call.wanted
    state, granted, wait, again = placed(state, rules, call, interval, most=most, now=now)
    if call.is_retry:
        state = replace(state, retry_tokens=state.retry_tokens - granted)
    return World(state, circuit), reply(state, granted, wait, again=math.ceil(again))


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


def placed(
    state: State, rules: Rules, call: Call, interval: float, *, most: int, now: float
) -> tuple[State, int, float, float]:
    """Places for one lane: the state with them, how many, us until the first (or until it is worth asking again).

    The last: us until those below checkout who wanted more should ask again.
    """
    if call.lane:
        return placed_below(state, rules, call, interval, most=most, now=now)
    depth = max(rules.checkout_depth, interval)
    furthest = min(call.longest_wait, FURTHEST_US)
    booked_wait = max(0.0, state.tat - now + interval - depth)
    if booked_wait > call.longest_wait:
        return state, 0, booked_wait, 0
    if booked_wait > furthest:
        turn = max(now + (booked_wait - FURTHEST_US), state.turn_0)
        has_time = turn - now <= call.longest_wait
        return replace(state, turn_0=math.ceil(turn + interval)) if has_time else state, 0, turn - now, 0
    return replace(state, tat=math.ceil(state.tat + interval)), 1, booked_wait, 0


def placed_below(
    state: State, rules: Rules, call: Call, interval: float, *, most: int, now: float
) -> tuple[State, int, float, float]:
    """The same for renewal and batch."""
    depth = max(rules.checkout_depth, interval)
    booked_wait = max(0.0, state.tat - now + interval - depth)
    furthest = min(call.longest_wait, FURTHEST_US + 2 * interval)
    lead = rules.batch_depth / 6 + rules.depth(call.lane) - rules.batch_depth
    room = max(rules.depth(call.lane), interval + lead)
    quantum = max(rules.batch_depth / 2, interval)
    threshold = room - max(rules.batch_depth / 4, interval)
    assured_interval = interval / rules.assured_share
    assured = state.assured_1 if call.lane == 1 else state.assured_2
    ahead = state.tat - now
    granted, wait = 0, 0.0
    if ahead <= threshold and ahead <= call.longest_wait:
        granted, wait = min(most, math.floor((room - ahead) / interval)), ahead
        assured = min(max(assured, now) + granted * assured_interval, now + max(1e6, assured_interval))
    elif assured <= now and booked_wait <= furthest:
        granted, wait = 1, booked_wait
        assured = max(assured + assured_interval, now)
    if granted:
        state = with_assured(replace(state, tat=math.ceil(state.tat + granted * interval)), call.lane, assured)
    if granted == call.wanted:
        return state, granted, wait, 0
    soonest = until_worth_asking(state, call, now=now, threshold=threshold, furthest=furthest - interval + depth)
    state, again = in_turn(state, call.lane, now, soonest, min((call.wanted - granted) * interval, quantum))
    return state, granted, wait if granted else again, again


def until_worth_asking(state: State, call: Call, *, now: float, threshold: float, furthest: float) -> float:
    left = state.tat - now
    assured = state.assured_1 if call.lane == 1 else state.assured_2
    until_room = max(left - threshold, left - call.longest_wait)
    return max(0.0, min(until_room, max(assured - now, left - furthest)))


def in_turn(state: State, lane: int, now: float, soonest: float, length: float) -> tuple[State, float]:
    """When this one is to come back, and the state in which the next one's turn is after that."""
    known = state.turn_1 if lane == 1 else state.turn_2
    turn = max(now + soonest, min(known, now + soonest + FURTHEST_US))
    following = math.ceil(turn + length)
    return replace(state, turn_1=following) if lane == 1 else replace(state, turn_2=following), turn - now


def with_assured(state: State, lane: int, assured: float) -> State:
    if lane == 1:
        return replace(state, assured_1=math.ceil(assured))
    return replace(state, assured_2=math.ceil(assured))
