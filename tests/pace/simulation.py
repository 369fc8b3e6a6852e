"""A fleet of workers at one pace before a provider whose limit changes: discrete events, no waiting.

Every worker is saturated with batch work and has checkouts that come at random. Times are seconds from the start.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tests.pace.model import Call, Reply, Rules, World, acquire

_START_US = 1_000_000_000_000_000
_FLUSH_S = 0.05
_MOST = 128
_BATCH, _CHECKOUT = 2, 0


class Limit(Protocol):
    """A provider's way of counting."""

    def allow(self, now: float, per_second: float) -> bool:
        """Count this call if it is within the limit."""


@dataclass
class CalendarSecond:
    """So many in each second of the clock: twice as many may pass around its turn."""

    second: int = -1
    count: int = 0

    def allow(self, now: float, per_second: float) -> bool:
        if int(now) != self.second:
            self.second, self.count = int(now), 0
        if self.count >= per_second:
            return False
        self.count += 1
        return True


@dataclass
class SlidingSecond:
    """So many in any second."""

    accepted: deque[float] = field(default_factory=deque)

    def allow(self, now: float, per_second: float) -> bool:
        while self.accepted and self.accepted[0] <= now - 1:
            self.accepted.popleft()
        if len(self.accepted) >= per_second:
            return False
        self.accepted.append(now)
        return True


@dataclass
class Bucket:
    """A tenth of a second's calls at once, and so many in the long run."""

    tokens: float = math.inf
    filled_at: float = 0

    def allow(self, now: float, per_second: float) -> bool:
        most = max(1.0, per_second / 10)
        self.tokens = min(most, self.tokens + (now - self.filled_at) * per_second)
        self.filled_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class Worker:
    """What one process knows and has not reported yet."""

    born: float = 0
    tat: float = 0
    epoch: int = -1
    ok: int = 0
    throttled: int = 0
    throttled_epoch: int = -1
    unwell: int = 0
    circuit_probe: int = 0
    flush_due: bool = False


@dataclass
class Seen:
    """What happened, as instants in seconds (waits: instant of the wish, and seconds until it was sent)."""

    sent: list[float] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    unanswered: list[float] = field(default_factory=list)
    retried: list[float] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    rates: list[tuple[float, float]] = field(default_factory=list)
    cuts: int = 0
    calls: int = 0


class Simulation:
    """One run.

    Args:
        rules: the pace's settings.
        limit: the provider's way of counting; `per_second(t)` its true limit.
        checkouts_per_second: how many checkouts come in a second, over all workers.
        is_away: when the provider answers nothing but its own failure. Failed calls are tried again.
    """

    def __init__(
        self,
        rules: Rules,
        limit: Limit,
        per_second: Callable[[float], float],
        checkouts_per_second: Callable[[float], float],
        *,
        workers: int = 4,
        seed: int = 1,
        is_away: Callable[[float], bool] = lambda _: False,
    ) -> None:
        self._rules, self._limit, self._per_second = rules, limit, per_second
        self._checkouts_per_second = checkouts_per_second
        self._is_away = is_away
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._workers = [Worker() for _ in range(workers)]
        self.world = World()
        self.seen = Seen()

    def run(self, seconds: float) -> Seen:
        """Play so many seconds."""
        for place, worker in enumerate(self._workers):
            self._at(0.001 * place, self._pump, worker)
        self._at(0.01, self._next_checkout)
        while self._events:
            now, _, happen, arguments = heapq.heappop(self._events)
            if now > seconds:
                break
            happen(now, *arguments)
        self.seen.cuts = self.world.state.epoch - int(self.world.state.born)
        return self.seen

    def _at(self, when: float, happen: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen, arguments))

    def _hop_s(self) -> float:
        """To Redis or back."""
        return 0.0002 + self._random.expovariate(1 / 0.00015)

    def _ask(self, now: float, worker: Worker, lane: int, wanted: int, *, is_retry: bool = False) -> Reply:
        call = Call(
            lane, wanted, 10_000_000, worker.ok, worker.throttled, worker.throttled_epoch,
            born=worker.born, known_tat=worker.tat, is_retry=is_retry, unwell=worker.unwell,
            circuit_probe=worker.circuit_probe,
        )  # fmt: skip
        worker.ok = worker.throttled = worker.unwell = worker.circuit_probe = 0
        self.world, reply = acquire(self.world, self._rules, call, _START_US + now * 1e6)
        worker.born, worker.tat = reply.born, reply.tat
        self.seen.rates.append((now, 1e6 / reply.interval))
        self.seen.calls += 1
        return reply

    def _pump(self, now: float, worker: Worker) -> None:
        self._at(now + self._hop_s(), self._pumped, worker)

    def _pumped(self, now: float, worker: Worker) -> None:
        reply = self._ask(now, worker, _BATCH, _MOST)
        back = now + self._hop_s()
        wait_s = reply.wait / 1e6
        if not reply.granted:
            self._at(back + wait_s, self._pump, worker)
            return
        for place in range(reply.granted):
            self._at(back + wait_s + place * reply.interval / 1e6, self._send, worker, _BATCH, reply)
        self._at(back + reply.again / 1e6, self._pump, worker)

    def _next_checkout(self, now: float) -> None:
        self._checkout(now, self._random.choice(self._workers), now)
        self._at(now + self._random.expovariate(self._checkouts_per_second(now)), self._next_checkout)

    def _checkout(self, now: float, worker: Worker, wished_at: float | None) -> None:
        self._at(now + self._hop_s(), self._booked, worker, wished_at)

    def _booked(self, now: float, worker: Worker, wished_at: float | None) -> None:
        reply = self._ask(now, worker, _CHECKOUT, 1)
        when = now + self._hop_s() + reply.wait / 1e6
        if not reply.granted:
            self._at(when, self._checkout, worker, wished_at)
            return
        if wished_at is not None:
            self.seen.waits.append((wished_at, when - wished_at))
        self._at(when, self._send, worker, _CHECKOUT, reply)

    def _send(self, now: float, worker: Worker, lane: int, permit: Reply, tries: int = 1) -> None:
        self._at(now + 0.012 + self._random.expovariate(1 / 0.004), self._arrive, worker, lane, permit, tries)

    def _arrive(self, now: float, worker: Worker, lane: int, permit: Reply, tries: int) -> None:
        self.seen.sent.append(now)
        if tries > 1:
            self.seen.retried.append(now)
        if self._is_away(now):
            self.seen.unanswered.append(now)
            self._at(now + 0.1, self._failed, worker, lane, permit, tries)
            return
        allowed = self._limit.allow(now, self._per_second(now))
        (self.seen.accepted if allowed else self.seen.throttled).append(now)
        works_s = 0.04 * self._random.lognormvariate(0, 0.5) if allowed else 0.004
        self._at(now + works_s + 0.012, self._answered, worker, lane, permit, allowed)

    def _answered(self, now: float, worker: Worker, lane: int, permit: Reply, allowed: bool) -> None:
        if permit.probes:
            worker.circuit_probe = 1
            self._at(now + self._hop_s(), self._flush, worker)
        if allowed:
            worker.ok += 1
            self._flush_soon(now, worker)
            return
        worker.throttled += 1
        is_news = permit.epoch > worker.throttled_epoch
        worker.throttled_epoch = max(permit.epoch, worker.throttled_epoch)
        if is_news:
            self._at(now + self._hop_s(), self._flush, worker)
        if lane == _CHECKOUT:
            self._at(now + self._random.random() / 10, self._checkout, worker, None)

    def _failed(self, now: float, worker: Worker, lane: int, permit: Reply, tries: int) -> None:
        worker.unwell += 1
        worker.circuit_probe = 2 if permit.probes else worker.circuit_probe
        self._flush_soon(now, worker)
        self._at(now + self._random.random() * min(20, 0.2 * 2**tries), self._retry, worker, lane, tries + 1)

    def _retry(self, now: float, worker: Worker, lane: int, tries: int) -> None:
        reply = self._ask(now, worker, lane, 1, is_retry=True)
        if reply.granted:
            self._at(now + reply.wait / 1e6, self._send, worker, lane, reply, tries)
        else:
            self._at(now + reply.wait / 1e6 + self._random.random(), self._retry, worker, lane, tries)

    def _flush_soon(self, now: float, worker: Worker) -> None:
        if not worker.flush_due:
            worker.flush_due = True
            self._at(now + _FLUSH_S, self._flush, worker)

    def _flush(self, now: float, worker: Worker) -> None:
        worker.flush_due = False
        if worker.ok or worker.throttled or worker.unwell or worker.circuit_probe:
            self._ask(now, worker, _BATCH, 0)
