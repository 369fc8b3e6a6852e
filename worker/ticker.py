"""Publishes again what the timetable says is due: backoffs, lost messages, dead workers' jobs, callbacks."""

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.ledger.timetable import EVERYTHING, NOTHING, Timetable
from worker.logs import get_log
from worker.progress import Progress
from worker.publisher import Announcer
from worker.steps import reached

_log = get_log(__name__)
_SAME_TIME_MS = 2_000
"""Messages published this close to each other may be taken up in another order: several workers share a queue."""


@dataclass(slots=True)
class Chore:
    """Something small that is to be done now and then, by whichever process comes to it.

    Attributes:
        work: one bounded piece of it, harmless where several processes do it at once; whether more waits to be done.
        every_ms: about how often. While more waits, at each tick.
        due_ms: when it is done next, by the monotonic clock.
    """

    name: str
    work: Callable[[], Awaitable[bool]]
    every_ms: int
    due_ms: float = 0.0


class Ticker:
    """Any number of them may run, in any number of processes: taking what is due is atomic."""

    def __init__(
        self,
        timetable: Timetable,
        announcer: Announcer,
        *,
        progress: Progress,
        tick_ms: int,
        clock: Clock,
        heartbeat_file: str = "",
        random_share: Callable[[], float] = random.random,
        chores: Sequence[Chore] = (),
    ) -> None:
        self._timetable = timetable
        self._announcer = announcer
        self._progress = progress
        self._tick_ms = tick_ms
        self._clock = clock
        self._heartbeat_file = heartbeat_file
        self._random_share = random_share
        self._chores = chores

    async def run(self) -> None:
        """Tick until cancelled. A Redis that is away is waited for."""
        while True:
            await self._clock.sleep_ms(self._tick_ms * (0.5 + self._random_share()))
            try:
                await self.tick()
                self._beat()
                for chore in self._chores:
                    await self._do(chore)
            except (RedisError, OSError) as failure:
                _log.warning("tick: Redis is away", error=type(failure).__name__)
            except Exception as failure:  # noqa: BLE001 - nobody else looks at the timetable if this one ends
                _log.error("tick broke off", error=type(failure).__name__, exc_info=failure)

    async def _do(self, chore: Chore) -> None:
        now_ms = self._clock.monotonic_ms()
        if now_ms < chore.due_ms:
            return
        chore.due_ms = now_ms + chore.every_ms * (0.5 + self._random_share())  # also where it breaks off
        try:
            if await chore.work():
                chore.due_ms = now_ms
        except Exception as failure:  # noqa: BLE001 - it must hold up neither the timetable nor the other chores
            _log.warning("chore broke off; it is done again later", chore=chore.name, error=type(failure).__name__)

    def _beat(self) -> None:
        """Tell a health check that the loop runs and Redis answers."""
        if self._heartbeat_file:
            Path(self._heartbeat_file).touch()

    async def tick(self) -> int:
        """Look once. Returns how many ids were published."""
        come_so_far = await self._timetable.note_progress(self._progress.news())
        due = NOTHING
        if await self._timetable.is_anything_due():  # the broker is asked for nothing while nothing is
            due = await self._timetable.take_due(await self._taken_up(come_so_far))
        ids_of: dict[Lane, list[str]] = defaultdict(list)
        for lane, id_ in due.entries:
            ids_of[lane].append(id_)
        reached("tick.taken")
        published = 0
        for lane, ids in ids_of.items():
            if await self._announcer.publish(lane, ids, due.now_ms):
                published += len(ids)
        reached("tick.published")
        return published

    async def _taken_up(self, come_so_far: Mapping[Lane, int]) -> dict[Lane, float]:
        """Per lane, up to which time of publication its messages have been taken up: EVERYTHING where none waits."""
        backlogs = await self._announcer.backlogs()
        return {lane: come_so_far.get(lane, 0) - _SAME_TIME_MS if backlogs.get(lane) else EVERYTHING for lane in Lane}
