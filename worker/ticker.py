"""Publishes again what the timetable says is due: backoffs, lost messages, dead workers' jobs, callbacks."""

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import JobState, Lane
from worker.ledger.ledger import Ledger
from worker.ledger.timetable import Timetable
from worker.publisher import Announcer
from worker.steps import reached

_log = logging.getLogger(__name__)


class Ticker:
    """Any number of them may run, in any number of processes: taking what is due is atomic."""

    def __init__(
        self,
        timetable: Timetable,
        ledger: Ledger,
        announcer: Announcer,
        *,
        tick_ms: int,
        clock: Clock,
        heartbeat_file: str = "",
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._timetable = timetable
        self._ledger = ledger
        self._announcer = announcer
        self._tick_ms = tick_ms
        self._clock = clock
        self._heartbeat_file = heartbeat_file
        self._random_share = random_share

    async def run(self) -> None:
        """Tick until cancelled. A Redis that is away is waited for."""
        while True:
            await self._clock.sleep_ms(self._tick_ms * (0.5 + self._random_share()))
            try:
                await self.tick()
                self._beat()
            except (RedisError, OSError) as failure:
                _log.warning("tick: Redis is away (%s)", type(failure).__name__)
            except Exception as failure:  # noqa: BLE001 - nobody else looks at the timetable if this one ends
                _log.error("tick broke off (%s)", type(failure).__name__)

    def _beat(self) -> None:
        """Tell a health check that the loop runs and Redis answers."""
        if self._heartbeat_file:
            Path(self._heartbeat_file).touch()

    async def tick(self) -> int:
        """Look once. Returns how many ids were published."""
        due: dict[Lane, list[str]] = defaultdict(list)
        for lane, id_ in await self._timetable.take_due():
            due[lane].append(id_)
        reached("tick.taken")
        published = 0
        for lane, ids in due.items():
            wanted = ids if lane is Lane.CALLBACK else await self._not_queued_already(lane, ids)
            if wanted and await self._announcer.publish(lane, wanted):
                published += len(wanted)
        reached("tick.published")
        return published

    async def _not_queued_already(self, lane: Lane, job_ids: Sequence[str]) -> list[str]:
        """Without the accepted jobs of a lane with a backlog: their messages are most likely still in it."""
        states = await self._ledger.states_of(list(job_ids))
        if JobState.ACCEPTED not in states or not await self._announcer.backlog(lane):
            return list(job_ids)
        return [id_ for id_, state in zip(job_ids, states, strict=True) if state is not JobState.ACCEPTED]
