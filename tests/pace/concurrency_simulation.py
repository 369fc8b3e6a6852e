"""One process and its cap before a provider of so many servers, with a queue: discrete events, no waiting.

Batch takes what places its rate and the cap leave, checkouts come at random. Times are ms from the start.
"""

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from worker.clock import SystemClock
from worker.domain.job import Lane
from worker.pace.concurrency import InFlight

TIMEOUT_MS = 10_000


@dataclass
class PlayedClock(SystemClock):
    """Stands where the simulation is."""

    now_ms: float = 0

    def monotonic_ms(self) -> float:
        return self.now_ms


@dataclass
class Seen:
    """What happened: instant and figure. Queueing is at the provider, waits are a checkout's for its slot."""

    caps: list[tuple[float, int]] = field(default_factory=list)
    queueing: list[tuple[float, float]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def cap_at(self, at_ms: float) -> int:
        """The cap at an instant."""
        return [cap for when, cap in self.caps if when <= at_ms][-1]

    def percentile(self, series: list[tuple[float, float]], share: float, from_ms: float, to_ms: float) -> float:
        """Of the figures between two instants."""
        figures = sorted(figure for when, figure in series if from_ms <= when < to_ms)
        return figures[int(share * (len(figures) - 1))]

    def calls_per_second(self, from_ms: float, to_ms: float) -> float:
        """Calls that reached a server."""
        return sum(from_ms <= when < to_ms for when, _ in self.queueing) / (to_ms - from_ms) * 1000


class Provider:
    """One run.

    Args:
        most: the cap's own bound.
        servers: how many calls are served at once, at an instant; the others wait in a line.
        service_ms: the median time of service, at an instant; lognormal with `jitter` as sigma.
        batch_per_second: the rate that batch would like, at an instant.
        checkouts_per_second: how many come.
    """

    def __init__(
        self,
        *,
        most: int,
        servers: Callable[[float], float],
        service_ms: Callable[[float], float],
        batch_per_second: Callable[[float], float],
        jitter: float = 0.3,
        checkouts_per_second: float = 0,
        seed: int = 1,
    ) -> None:
        self._servers, self._service_ms, self._jitter = servers, service_ms, jitter
        self._batch_per_second, self._checkouts_per_second = batch_per_second, checkouts_per_second
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._line: deque[tuple[float, Lane]] = deque()
        self._serving = 0
        self._checkouts: deque[float] = deque()
        self._places = 0.0
        self._clock = PlayedClock()
        self.in_flight = InFlight(most, self._clock)
        self.seen = Seen(caps=[(0, most)])

    def run(self, for_ms: float) -> Seen:
        """Play so long."""
        self._after(0, self._next_place)
        if self._checkouts_per_second:
            self._after(0, self._next_checkout)
        while self._events and self._events[0][0] <= for_ms:
            self._clock.now_ms, _, happen, arguments = heapq.heappop(self._events)
            happen(*arguments)
        return self.seen

    def _after(self, ms: float, happen: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self._events, (self._clock.now_ms + ms, next(self._order), happen, arguments))

    def _next_place(self) -> None:
        """A batch lease of 15 ms; places that find no slot are lost, as the schedule's are."""
        wanted = self._batch_per_second(self._clock.now_ms) * 0.015 + self._places
        self._places = wanted % 1
        for place in range(self.in_flight.take(Lane.BATCH, int(wanted))):
            self._after(place * 15 / wanted, self._arrive, Lane.BATCH)
        self._after(15, self._next_place)

    def _next_checkout(self) -> None:
        self._checkouts.append(self._clock.now_ms)
        self._send_checkouts()
        self._after(self._random.expovariate(self._checkouts_per_second / 1000), self._next_checkout)

    def _send_checkouts(self) -> None:
        while self._checkouts and self.in_flight.take(Lane.CHECKOUT, 1):
            came_ms = self._checkouts.popleft()
            self.seen.waits.append((came_ms, self._clock.now_ms - came_ms))
            self._arrive(Lane.CHECKOUT)

    def _arrive(self, lane: Lane) -> None:
        self._line.append((self._clock.now_ms, lane))
        self._serve()

    def _serve(self) -> None:
        while self._line and self._serving < self._servers(self._clock.now_ms):
            came_ms, lane = self._line.popleft()
            queueing_ms = self._clock.now_ms - came_ms
            self.seen.queueing.append((came_ms, queueing_ms))
            service_ms = self._service_ms(self._clock.now_ms) * math.exp(self._random.gauss(0, self._jitter))
            self._serving += 1
            self._after(service_ms, self._served)
            latency_ms = queueing_ms + service_ms
            # A call that has timed out is known to have only when it would be answered: late, so the cap has it harder.
            self._after(service_ms, self._ended, lane, min(latency_ms, TIMEOUT_MS), latency_ms > TIMEOUT_MS)

    def _served(self) -> None:
        self._serving -= 1
        self._serve()

    def _ended(self, lane: Lane, latency_ms: float, is_timeout: bool) -> None:
        self.in_flight.done(lane, latency_ms, is_overload=is_timeout)
        if is_timeout:
            self.seen.timeouts.append(self._clock.now_ms)
        if self.seen.caps[-1][1] != self.in_flight.cap:
            self.seen.caps.append((self._clock.now_ms, self.in_flight.cap))
        self._send_checkouts()
