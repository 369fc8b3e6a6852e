"""The parts that observe a worker process, put together."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker import __version__
from worker.clock import Clock
from worker.logs import get_log
from worker.observation.gauges import Gauges
from worker.observation.health import Pulse
from worker.observation.meters import Meters
from worker.observation.presence import Presence, Presences
from worker.observation.server import ObservationServer
from worker.observation.slow_gauges import SlowGauges
from worker.observation.snapshot import Backlogs, take_snapshot
from worker.pace.desk import PaceDesk
from worker.registry.alarm import Risk

_log = get_log(__name__)
_LOOK_MS = 10_000
_LONGEST_GOODBYE_S = 1.0


def name_of_process() -> str:
    """Host, process id, and a random part: containers are often all number one of a host without a name."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


@dataclass
class Observation:
    """What observes one process.

    Attributes:
        presences: where it tells that it is there, which also shows whether Redis takes writes.
        backlogs: messages that wait in each lane's queue.
        host, port: to listen at; without a host nobody is served.
    """

    meters: Meters
    pulse: Pulse
    gauges: Gauges
    presences: Presences
    backlogs: Backlogs
    clock: Clock
    host: str = ""
    port: int = 0
    process: str = field(default_factory=name_of_process)
    server: ObservationServer = field(init=False)
    _started_at: int = 0

    def __post_init__(self) -> None:
        self.server = ObservationServer(self.meters, self.pulse, self.gauges.refresh)

    async def run(self) -> None:
        """Watch, tell and serve until cancelled."""
        if self.host:
            await self.server.start(self.host, self.port)
        try:
            async with asyncio.TaskGroup() as watches:
                watches.create_task(self.pulse.watch_loop())
                watches.create_task(self._look_around())
        finally:
            await asyncio.shield(self._end())

    async def _look_around(self) -> None:
        while True:
            await self._looking(self.look)
            await self.clock.sleep_ms(_LOOK_MS)

    async def _looking(self, look: Callable[[], Awaitable[None]]) -> None:
        try:
            await look()
        except (RedisError, OSError) as failure:
            _log.warning("observation: Redis takes no write", error=type(failure).__name__)
        except Exception as failure:  # noqa: BLE001 - a process that nobody observes any more must not go unnoticed
            _log.error("observation broke off", error=type(failure).__name__, exc_info=failure)

    async def look(self) -> None:
        """See whether messages wait for this process, and tell Redis that it is there."""
        self.pulse.looked_at_queues(await self.backlogs())
        now_ms = await self.presences.tell(self._presence())
        self._started_at = self._started_at or now_ms
        self.pulse.wrote()

    def _presence(self) -> Presence:
        pulse = self.pulse
        return Presence(
            process=self.process,
            release=__version__,
            lanes=[lane.value for lane in pulse.lanes],
            in_flight=pulse.in_flight(),
            lag_ms=round(pulse.lag_ms),
            faults=pulse.ready().faults if self._started_at else (),
            started_at=self._started_at,
        )

    async def _end(self) -> None:
        async def say_goodbye() -> None:
            async with asyncio.timeout(_LONGEST_GOODBYE_S):
                await self.presences.end(self.process)

        await self._looking(say_goodbye)
        await self.server.close()


def build_observation(
    redis: Redis,
    pace: PaceDesk,
    backlogs: Backlogs,
    pulse: Pulse,
    *,
    address: tuple[str, int],
    risk: Callable[[], Risk],
) -> Observation:
    """The observation of one process, whose parts count with the pulse's meters and clock.

    `risk` tells which bindings end unrenewed, as this process's alarm saw it last.
    """
    meters, clock = pulse.meters, pulse.clock
    slow = SlowGauges(redis, meters, clock, risk)
    gauges = Gauges(redis, lambda: take_snapshot(redis, pace, backlogs), meters, clock, slow)
    return Observation(meters, pulse, gauges, Presences(redis), backlogs, clock, *address)
