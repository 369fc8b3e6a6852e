"""How well a fleet of workers uses a limit that nobody has told it, and how long a checkout waits meanwhile."""

from collections.abc import Callable

import pytest

from tests.pace.model import Rules
from tests.pace.simulation import Bucket, CalendarSecond, Limit, Seen, Simulation, SlidingSecond

KINDS = [CalendarSecond, SlidingSecond, Bucket]
SETTLING_S = 10


def p99(waits: list[float]) -> float:
    return sorted(waits)[int(0.99 * len(waits))]


def counted(seen: Seen, phase_s: float) -> tuple[list[float], list[float]]:
    """Accepted and throttled calls from 10 s after the start and after each change on."""

    def counts(now: float) -> bool:
        return now % phase_s >= SETTLING_S

    return [now for now in seen.accepted if counts(now)], [now for now in seen.throttled if counts(now)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit", "phase_s", "seeds"), [(40, 30, (1, 2, 3)), (200, 20, (1,)), (2_000, 14, (1,))], ids=["40", "200", "2000"]
)
def test_a_limit_that_halves_and_doubles_is_found_and_used(
    kind: Callable[[], Limit], limit: int, phase_s: float, seeds: tuple[int, ...]
) -> None:
    def per_second(now: float) -> float:
        return limit / 2 if phase_s <= now < 2 * phase_s else limit

    accepted = throttled = 0
    for seed in seeds:
        run = Simulation(Rules(5_000), kind(), per_second, lambda now: per_second(now) / 10, seed=seed)
        used, refused = counted(run.run(3 * phase_s), phase_s)
        accepted, throttled = accepted + len(used), throttled + len(refused)
    possible = 2.5 * limit * (phase_s - SETTLING_S) * len(seeds)
    assert accepted / possible >= 0.94
    assert throttled / (accepted + throttled) <= 0.015


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [20, 200, 2_000])
def test_a_limit_that_is_configured_is_used_and_never_exceeded(kind: Callable[[], Limit], limit: int) -> None:
    seconds = {20: 60, 200: 20, 2_000: 5}[limit]
    seen = Simulation(Rules(limit), kind(), lambda _: limit, lambda _: limit / 10).run(seconds)
    assert seen.throttled == []
    used = [now for now in seen.accepted if now >= 1]
    assert len(used) / (limit * (seconds - 1)) >= 0.95


@pytest.mark.parametrize(("limit", "longest_s"), [(200, 0.050), (2_000, 0.015)])
@pytest.mark.parametrize("share_of_checkout", [0.05, 0.5])
def test_a_checkout_hardly_waits_while_batch_wants_more_than_all(
    limit: int, longest_s: float, share_of_checkout: float
) -> None:
    seconds = 4_000 / limit
    seen = Simulation(Rules(limit), SlidingSecond(), lambda _: limit, lambda _: limit * share_of_checkout).run(seconds)
    waits = [wait for wished_at, wait in seen.waits if wished_at >= 1]
    assert len(waits) >= 50
    assert p99(waits) < longest_s


@pytest.mark.parametrize("workers", [4, 16])
def test_permits_cost_hardly_more_than_a_call_each_however_many_workers_want_them(workers: int) -> None:
    seen = Simulation(Rules(200), SlidingSecond(), lambda _: 200, lambda _: 50, workers=workers).run(10)
    assert seen.calls / len(seen.sent) < 1.2


def test_permits_for_batch_cost_less_than_a_call_each() -> None:
    seen = Simulation(Rules(2_000), SlidingSecond(), lambda _: 2_000, lambda _: 1).run(4)
    assert seen.calls / len(seen.sent) < 0.2


def test_an_outage_is_met_with_a_trickle_and_its_end_with_no_storm() -> None:
    begins_s, ends_s, limit = 5.0, 65.0, 200
    seen = Simulation(
        Rules(limit), SlidingSecond(), lambda _: limit, lambda _: 50, is_away=lambda now: begins_s <= now < ends_s
    ).run(90)
    probes = [now for now in seen.unanswered if now > begins_s + 2]
    assert len(seen.unanswered) - len(probes) < 2 * limit, "sent until it was clear that nothing is answered"
    assert 1 <= len(probes) <= 6, "after 1, 2, 4, 8, 16 and 30 s"
    after = [now - ends_s for now in seen.accepted if now > ends_s]
    assert min(after) < 35
    back = min(after)
    assert sum(now < back + 1 for now in after) < 0.4 * limit, "the first second"
    assert sum(back + 6 <= now < back + 7 for now in after) > 0.9 * limit
    retried = [now - ends_s for now in seen.retried if now > ends_s + back]
    assert len(retried) > 50
    for second in range(20):
        sent = sum(second <= now - back < second + 1 for now in after)
        again = sum(second <= now - back < second + 1 for now in retried)
        assert again <= 10 + 0.2 * sent + 2 * (10 + 0.2 * limit), "the budget and what is saved of it"
    assert len(seen.throttled) <= 2, "the network may push two calls together"
