"""The parts that observe a worker process, put together."""

import asyncio
import logging
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.ledger.keys import VERSION
from worker.observation.gauges import Backlogs, Gauges
from worker.observation.health import Pulse
from worker.observation.meters import Meters
from worker.observation.server import ObservationServer
from worker.pace.desk import PaceDesk

_log = logging.getLogger(__name__)
_LOOK_MS = 10_000
_PULSE_KEY = f"{VERSION}:{{pulse}}"
_KEPT_MS = 60_000


@dataclass
class Observation:
    """What observes one process.

    Attributes:
        redis: takes a write now and then, to see whether it does.
        backlogs: messages that wait in each lane's queue.
        host, port: to listen at; without a host nobody can ask, so nothing is watched either.
    """

    meters: Meters
    pulse: Pulse
    gauges: Gauges
    redis: Redis
    backlogs: Backlogs
    clock: Clock
    host: str = ""
    port: int = 0
    server: ObservationServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = ObservationServer(self.meters, self.pulse, self.gauges.refresh)

    async def run(self) -> None:
        """Watch and serve until cancelled."""
        if not self.host:
            return
        await self.server.start(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(self.pulse.watch_loop())
                watches.create_task(self._look_around())
        finally:
            await asyncio.shield(self.server.close())

    async def _look_around(self) -> None:
        while True:
            await self.look()
            await self.clock.sleep_ms(_LOOK_MS)

    async def look(self) -> None:
        """See whether Redis takes writes, and whether messages wait for this process."""
        try:
            await self.redis.set(_PULSE_KEY, "1", px=_KEPT_MS)
            self.pulse.wrote()
        except (RedisError, OSError) as failure:
            _log.warning("pulse: Redis takes no write (%s)", type(failure).__name__)
        self.pulse.looked_at_queues(await self.backlogs())


def build_observation(
    redis: Redis, pace: PaceDesk, backlogs: Backlogs, pulse: Pulse, *, address: tuple[str, int]
) -> Observation:
    """The observation of one process, whose parts count with the pulse's meters and clock."""
    meters, clock = pulse.meters, pulse.clock
    gauges = Gauges(redis, pace, backlogs, meters, clock)
    return Observation(meters, pulse, gauges, redis, backlogs, clock, *address)
