"""Is this process alive, and is it ready?

Alive means that restarting it would not help: its loop turns, its consumer turns, and it does not sit idle while
messages wait in its own lanes. Ready means that it can take work now: alive, consuming, and Redis takes writes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.domain.job import Lane
from worker.observation.meters import Meters

_LAG_LOOK_MS = 500
_LAG_KEPT_LOOKS = 20
_STUCK_MS = 30_000
_IDLE_MS = 60_000
_MOST_LAG_MS = 1_000
_MS_PER_S = 1_000


@dataclass(frozen=True, slots=True)
class Health:
    """An answer: good where there is no fault."""

    faults: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether it is."""
        return not self.faults


@dataclass
class Pulse:
    """What this process's parts tell of themselves. Times are its monotonic clock's, in ms.

    Attributes:
        lanes: that it consumes.
        in_flight: how many jobs and callbacks it works on.
        in_flight_by_lane: how many jobs' leases it holds, of every lane.
        consumer_ms: when the consumer's loop last turned; None before its first time.
        taken_ms: when work was last taken up.
        loop_ms: when the event loop last turned.
        wrote_ms: when Redis last took a write of ours, seen by the ticker.
        is_stopping: the process was told to stop.
    """

    clock: Clock
    meters: Meters
    in_flight: Callable[[], int]
    in_flight_by_lane: Callable[[], Mapping[Lane, int]] = dict
    lanes: Collection[Lane] = ()
    consumer_ms: float | None = None
    taken_ms: float = 0
    loop_ms: float = 0
    idle_since_ms: float | None = None
    wrote_ms: float | None = None
    is_stopping: bool = False
    _lags_ms: list[float] = field(default_factory=list)

    def consumer_turned(self, queues: Sequence[str]) -> None:
        """The consumer is connected to these queues and its loop turns. Any thread may tell."""
        self.lanes = [lane for lane in Lane if lane.queue in queues]
        self.consumer_ms = self.clock.monotonic_ms()

    def took(self) -> None:
        """A message was taken up."""
        self.taken_ms = self.clock.monotonic_ms()
        self.idle_since_ms = None

    def wrote(self) -> None:
        """Redis took a write."""
        self.wrote_ms = self.clock.monotonic_ms()

    def looked_at_queues(self, backlogs: Mapping[Lane, int]) -> None:
        """How many messages wait, as the ticker sees it twice a second."""
        if self.in_flight() or not any(backlogs.get(lane) for lane in self.lanes):
            self.idle_since_ms = None
        elif self.idle_since_ms is None:
            self.idle_since_ms = self.clock.monotonic_ms()

    async def watch_loop(self) -> None:
        """Measure how late the loop is, until cancelled."""
        while True:
            self.loop_ms = self.clock.monotonic_ms()
            await self.clock.sleep_ms(_LAG_LOOK_MS)
            lag_ms = max(self.clock.monotonic_ms() - self.loop_ms - _LAG_LOOK_MS, 0)
            self._lags_ms = [*self._lags_ms[1 - _LAG_KEPT_LOOKS :], lag_ms]
            self.meters.loop_lag.set(self.lag_ms / _MS_PER_S)
            for lane, jobs in self.in_flight_by_lane().items():
                self.meters.jobs_in_flight.labels(lane.value).set(jobs)

    @property
    def lag_ms(self) -> float:
        """The longest of the last ten seconds."""
        return max(self._lags_ms, default=0)

    def live(self) -> Health:
        """Whether a restart would not help. A process that is stopping is left to end by itself."""
        now_ms, faults = self.clock.monotonic_ms(), []
        if self.is_stopping:
            return Health(())
        if self.consumer_ms is not None and now_ms - self.consumer_ms > _STUCK_MS:
            faults.append(f"the consumer has not turned for {(now_ms - self.consumer_ms) / _MS_PER_S:.0f} s")
        if self.idle_since_ms is not None and now_ms - self.idle_since_ms > _IDLE_MS:
            idle_s = (now_ms - self.idle_since_ms) / _MS_PER_S
            faults.append(f"messages wait in its lanes, and it has taken none for {idle_s:.0f} s")
        return Health(tuple(faults))

    def ready(self) -> Health:
        """Whether it can take work now."""
        now_ms, faults = self.clock.monotonic_ms(), list(self.live().faults)
        if self.is_stopping:
            faults.append("it is stopping")
        if self.consumer_ms is None:
            faults.append("it does not consume yet")
        if self.wrote_ms is None or now_ms - self.wrote_ms > _STUCK_MS:
            faults.append("Redis has taken no write lately")
        if self.lag_ms > _MOST_LAG_MS:
            faults.append(f"its loop is {self.lag_ms / _MS_PER_S:.1f} s late")
        return Health(tuple(faults))
