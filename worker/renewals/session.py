"""Renewing sessions: one partition's due bindings, first to end first, so many at a time, under the partition's lease.

A message of a partition begins a session in the process that takes it, unless one is under way there; the lease makes
sure that no other process has one. The session ends when nothing is due any more, and the timetable brings the
partition back when its next binding is.
"""

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.formats import RENEWAL
from worker.domain.job import Lane
from worker.ledger.kept_binding import NEWER, NOT_YET, TO_BE_UNBOUND, KeptBinding
from worker.ledger.keys import ALL_PARTITIONS
from worker.ledger.newer import NewerWork
from worker.ledger.renewal_keys import partition_of_renewal_id
from worker.ledger.renewals import Place, Renewals
from worker.logs import get_log
from worker.progress import Progress
from worker.renewals.renewing import dropped
from worker.renewals.rules import RenewalRules

_log = get_log(__name__)
_MOST_COME = 500
_NOT_YET_MS = 60_000
_NEWER_MS = 60_000
_BROKE_OFF_MS = 60_000
_LOOKS_PER_LEASE = 3


class Renewing(Protocol):
    """Who renews one binding: `worker.renewals.renewing`."""

    async def renew(self, kept: KeptBinding) -> Place | None:
        """Returns where it belongs now; None where that is written already."""

    async def unbind(self, binding_id: str) -> Place:
        """End one whose order was closed. Returns where it belongs now."""


class RenewalSessions:
    """Those of one process. Lives on the process's loop."""

    def __init__(
        self, renewals: Renewals, renewer: Renewing, rules: RenewalRules, *, clock: Clock, progress: Progress
    ) -> None:
        self._renewals = renewals
        self._renewer = renewer
        self._rules = rules
        self._clock = clock
        self._progress = progress
        self._newer = NewerWork(clock)
        self._sessions: dict[int, asyncio.Task[None]] = {}
        self._is_stopping = False

    def begin(self, ids: Sequence[str], published_at_ms: int = 0) -> None:
        """Begin sessions for these partitions in the background, where none is under way here.

        Args:
            ids: as `renewal_id` makes them.
            published_at_ms: of their message, Unix ms by Redis's clock.
        """
        self._progress.note(Lane.RENEWAL, published_at_ms)
        for id_ in ids:
            try:
                partition = partition_of_renewal_id(id_)
            except ValueError:
                continue
            if partition in ALL_PARTITIONS and partition not in self._sessions and not self._is_stopping:
                session = asyncio.get_running_loop().create_task(self._run(partition))
                self._sessions[partition] = session
                session.add_done_callback(partial(self._forget, partition))

    def _forget(self, partition: int, _: "asyncio.Task[None]") -> None:
        self._sessions.pop(partition, None)

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on."""
        self._is_stopping = True

    async def aclose(self, grace_s: float) -> None:
        """Let what is under way end within the grace time, then cut it off: whoever comes next makes it again."""
        self.stop()
        if self._sessions:
            sessions = list(self._sessions.values())
            _, left = await asyncio.wait(sessions, timeout=grace_s)
            for session in left:
                session.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until no session is under way."""
        while self._sessions:
            await asyncio.wait(list(self._sessions.values()))

    async def _run(self, partition: int) -> None:
        token = secrets.token_hex(8)
        running: dict[str, asyncio.Task[None]] = {}
        try:
            await self._work(partition, token, running)
        except (RedisError, OSError) as failure:
            _log.warning("renewals: Redis is away", partition=partition, error=type(failure).__name__)
        except Exception as failure:  # noqa: BLE001 - the timetable begins it again
            _log.error("renewals broke off", partition=partition, error=type(failure).__name__)
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)
        try:
            await self._renewals.rest(partition, token=token)
        except (RedisError, OSError) as failure:  # the lease ends by itself
            _log.warning("renewals: Redis is away", partition=partition, error=type(failure).__name__)

    async def _work(self, partition: int, token: str, running: dict[str, "asyncio.Task[None]"]) -> None:
        while True:
            wanted, most_come = (0, 0) if self._is_stopping else (self._rules.width, _MOST_COME)
            taken = await self._renewals.take(
                partition, token=token, lease_ms=self._rules.lease_ms, most_come=most_come, most_due=wanted
            )
            if taken.leased_ms:
                return
            await self._sort(partition, taken.strays, taken.now_ms)
            if taken.is_more and most_come:
                continue  # only when all have been moved it shows which ends first
            fresh = [binding_id for binding_id in taken.due if binding_id not in running]
            await self._start(partition, fresh[: wanted - len(running)], taken.now_ms, running)
            if not running and not fresh:
                return
            await self._until_there_is_room(running)

    async def _until_there_is_room(self, running: dict[str, "asyncio.Task[None]"]) -> None:
        """For a quarter of the width, or until the lease must be lengthened."""
        until_ms = self._clock.monotonic_ms() + self._rules.lease_ms / _LOOKS_PER_LEASE
        while running:
            left_ms = until_ms - self._clock.monotonic_ms()
            await asyncio.wait(running.values(), timeout=max(0, left_ms) / 1000, return_when=asyncio.FIRST_COMPLETED)
            for binding_id in [binding_id for binding_id, task in running.items() if task.done()]:
                del running[binding_id]
            if left_ms <= 0 or 4 * len(running) <= 3 * self._rules.width or self._is_stopping:
                return

    async def _start(
        self, partition: int, ids: Sequence[str], now_ms: int, running: dict[str, "asyncio.Task[None]"]
    ) -> None:
        places = []
        for binding_id, kept in zip(ids, await self._renewals.read(ids), strict=True):
            if isinstance(kept, str) and kept != TO_BE_UNBOUND:
                places.append(self._place_of(binding_id, kept, now_ms))
            else:
                running[binding_id] = asyncio.get_running_loop().create_task(
                    self._renew(partition, binding_id, kept, now_ms)
                )
        await self._renewals.sort(partition, places)

    async def _renew(self, partition: int, binding_id: str, kept: KeptBinding | str, now_ms: int) -> None:
        try:
            if isinstance(kept, str):
                place: Place | None = await self._renewer.unbind(binding_id)
            else:
                place = await self._renewer.renew(kept)
        except (RedisError, OSError) as failure:
            _log.warning(
                "renewal: Redis is away, it is made again", binding_id=binding_id, error=type(failure).__name__
            )
            return
        except Exception as failure:  # noqa: BLE001 - one binding's trouble is its own
            _log.error("renewal broke off", binding_id=binding_id, error=type(failure).__name__)
            place = Place(binding_id, is_due=False, at_ms=now_ms + _BROKE_OFF_MS)
        if place is not None:
            await self._renewals.sort(partition, [place])

    async def _sort(self, partition: int, ids: Sequence[str], now_ms: int) -> None:
        if ids:
            kept = zip(ids, await self._renewals.read(ids), strict=True)
            await self._renewals.sort(partition, [self._place_of(id_, one, now_ms) for id_, one in kept])

    def _place_of(self, binding_id: str, kept: KeptBinding | str, now_ms: int) -> Place:
        """Where a binding belongs whose time has come."""
        if kept == NEWER:
            self._newer.left(RENEWAL, binding_id)
            return Place(binding_id, is_due=False, at_ms=now_ms + _NEWER_MS)
        return _place_of(binding_id, kept, now_ms)


def _place_of(binding_id: str, kept: KeptBinding | str, now_ms: int) -> Place:
    if isinstance(kept, str):
        if kept in (NOT_YET, TO_BE_UNBOUND):
            return Place(binding_id, is_due=False, at_ms=now_ms + _NOT_YET_MS)
        _log.warning("binding has no record that can be renewed; it is kept no more", binding_id=binding_id)
        return dropped(binding_id)
    if kept.step or (kept.is_active and not kept.is_closed):
        return Place(binding_id, is_due=True, at_ms=kept.expires_at)
    return dropped(binding_id)
