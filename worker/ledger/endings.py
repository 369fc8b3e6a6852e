"""Waiting for a job's end without asking again and again: one subscription per process, a channel per job."""

import asyncio
import contextlib
from collections import defaultdict
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.domain.job import Job
from worker.errors import WaitTimeoutError
from worker.ledger.keys import job_keys
from worker.ledger.ledger import Ledger
from worker.logs import get_log
from worker.redis_faults import asking

_log = get_log(__name__)
_RECONNECT_DELAY_S = 0.5
_CANCEL_AGAIN_S = 0.05
_LOOK_AGAIN_S = 5.0
"""A subscription that a network swallows silently is never reported broken: the record is then read so often."""
_HELD_CHANNEL = "axn1:held"
"""Subscribed for good: redis-py's reader returns at once, again and again, where nothing is subscribed."""


class Endings:
    """Tells waiters when their jobs have ended.

    The channel only wakes a waiter, the record is what it returns: it is read once after subscribing, and again when
    the channel speaks or the subscription had to be made anew.
    """

    def __init__(self, redis: Redis, ledger: Ledger) -> None:
        self._redis = redis
        self._pubsub = redis.pubsub(ignore_subscribe_messages=False)
        self._ledger = ledger
        self._waiters: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._subscribed: dict[str, asyncio.Event] = {}
        self._listener: asyncio.Task[None] | None = None
        self._subscribing = asyncio.Lock()  # redis-py's first two subscribers would each make a connection

    async def wait(self, job_id: str, timeout_s: float) -> Job:
        """The job, once it has ended.

        Raises:
            WaitTimeoutError: it has not ended within timeout_s.
            JobNotFoundError, LedgerUnavailableError: as `Ledger.read`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._wait(job_id)
        except TimeoutError:
            raise WaitTimeoutError(job_id, timeout_s) from None

    async def _wait(self, job_id: str) -> Job:
        job = await self._ledger.read(job_id)
        if job.state.is_end:
            return job
        channel, woken = job_keys(job_id).ended_channel, asyncio.Event()
        try:
            await self._subscribe(channel, woken)
            while not (job := await self._ledger.read(job_id)).state.is_end:
                await _for_a_while(woken)
                woken.clear()
            return job
        finally:
            await self._unsubscribe(channel, woken)

    async def _subscribe(self, channel: str, woken: asyncio.Event) -> None:
        self._waiters[channel].add(woken)
        subscribed = self._subscribed.setdefault(channel, asyncio.Event())
        if not subscribed.is_set():  # also where another waiter has asked and may have failed: twice does no harm
            await self._ask_for(channel)
        await _for_a_while(subscribed)

    async def _ask_for(self, channel: str) -> None:
        async with asking(self._redis), self._subscribing:
            await self._pubsub.subscribe(channel, *(() if self._listener else (_HELD_CHANNEL,)))
        self._listener = self._listener or asyncio.create_task(self._listen())

    async def _unsubscribe(self, channel: str, woken: asyncio.Event) -> None:
        self._waiters[channel].discard(woken)
        if not self._waiters[channel]:
            del self._waiters[channel]
            self._subscribed.pop(channel, None)
            if self._listener is None:
                return
            with contextlib.suppress(RedisError, OSError):  # the connection is gone: so is the subscription
                await self._pubsub.unsubscribe(channel)

    async def _listen(self) -> None:
        while True:
            try:
                message = await self._pubsub.get_message(timeout=None)
            except (RedisError, OSError) as failure:
                _log.warning("waiting for jobs: Redis is away, subscribing again", error=type(failure).__name__)
                await asyncio.sleep(_RECONNECT_DELAY_S)
                self._wake(list(self._waiters))
                continue
            if message is not None:
                self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            if heard := self._subscribed.get(message["channel"]):
                heard.set()
            self._wake([message["channel"]])
        elif message["type"] == "message":
            self._wake([message["channel"]])

    def _wake(self, channels: list[str]) -> None:
        for channel in channels:
            for woken in self._waiters.get(channel, ()):
                woken.set()

    async def aclose(self) -> None:
        """End the subscription."""
        if self._listener is not None:
            while not self._listener.done():  # redis-py can swallow a cancellation while it subscribes anew
                self._listener.cancel()
                await asyncio.wait([self._listener], timeout=_CANCEL_AGAIN_S)
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]


async def _for_a_while(event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), _LOOK_AGAIN_S)
