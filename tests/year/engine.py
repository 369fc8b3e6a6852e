"""The engine's processes on one loop: real services, a queue in memory for the broker, our provider and receiver."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from celery import Celery

from tests.chaos.system import clean_environment
from tests.year.moving_time import MovedClock
from tests.year.provider import KEY_ID, POOL_KEY, SECRET, YearsProvider
from worker.bootstrap import ProducerServices, WorkerServices, build_producer, build_worker
from worker.domain.job import Lane
from worker.http import HttpAnswer
from worker.messages import RENEWAL_MARK, in_messages
from worker.runtime import end_tasks
from worker.settings import Settings

RECEIVER = "https://shop.example/axn"
_NO_BROKER = cast(Celery, None)
"""Nobody asks it: the announcers are ours."""


def settings(redis_url: str, **tuning: Any) -> Settings:
    """Of all processes. A tick is rarer than in earnest: each leap of the time wakes the tickers anyway."""
    given: dict[str, Any] = {
        "redis_url": redis_url,
        "AXN_ACCESS_KEY_ID": KEY_ID,
        "AXN_ACCESS_KEY_SECRET": SECRET,
        "endpoint": "https://dyplsapi.example",
        "pool_key": POOL_KEY,
        "callback_secret": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "callback_ports": (),
        "tick": "5s",
        **tuning,
    }
    with clean_environment():  # another test's system may have left its own
        return Settings(**given)


class Receiver:
    """Takes every callback, and counts what it was told: by webhook-id, how often."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.types: dict[str, str] = {}
        self.bodies: dict[str, Mapping[str, Any]] = {}

    async def post(
        self, url: str, *, headers: Mapping[str, str], content: bytes = b"", total_timeout_ms: int
    ) -> HttpAnswer:
        """Takes the place of `HttpClient.post`."""
        event = json.loads(content)
        webhook_id = headers["webhook-id"]
        self.told[webhook_id] += 1
        self.types[webhook_id] = event["type"]
        self.bodies[webhook_id] = event["data"]
        return HttpAnswer(200, {}, b"")


@dataclass
class Worker:
    """One worker process."""

    services: WorkerServices
    clock: MovedClock
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def take(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> None:
        """A message, as `tasks` takes it."""
        renewals = [id_ for id_ in ids if id_.startswith(RENEWAL_MARK)]
        self.services.renewals.begin(renewals, published_at_ms)
        ids = [id_ for id_ in ids if not id_.startswith(RENEWAL_MARK)]
        if not ids:
            return
        task = asyncio.get_running_loop().create_task(self._work(lane, list(ids), published_at_ms))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _work(self, lane: Lane, ids: list[str], published_at_ms: int) -> None:
        if lane is Lane.CALLBACK:
            await self.services.delivery.deliver(ids, published_at_ms=published_at_ms)
        else:
            await self.services.attempts.work_on(lane, ids, published_at_ms=published_at_ms)


class Queue:
    """The broker: what is published while no worker is there is lost."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_
        self.workers: list[Worker] = []
        self.lost = 0

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """Takes the place of `Announcer.publish`."""
        for message in in_messages(ids):
            if self.workers:
                self._random.choice(self.workers).take(lane, message, published_at_ms)
            else:
                self.lost += 1
        return True

    async def backlogs(self) -> dict[Lane, int]:
        """Takes the place of `Announcer.backlogs`: nothing waits."""
        return {}


class Engine:
    """A producer, and workers that come and go."""

    def __init__(self, settings_: Settings, provider: YearsProvider, clock: MovedClock, random_: random.Random) -> None:
        self._settings = settings_
        self._provider = provider
        self._clock = clock
        self.receiver = Receiver()
        self.queue = Queue(random_)
        self.producer: ProducerServices = build_producer(settings_, _NO_BROKER, clock)
        self._announce(self.producer)

    @property
    def redis_clients(self) -> list[Any]:
        """Whose calls are really under way."""
        return [self.producer.redis, *(worker.services.producer.redis for worker in self.queue.workers)]

    def start_worker(self) -> Worker:
        """A new process, on a machine whose clock is right."""
        clock = MovedClock(self._clock.time)
        services = build_worker(self._settings, _NO_BROKER, clock)
        self._announce(services.producer)
        provider_http, callback_http = services.clients
        # What goes out and what comes in meet at these two calls.
        vars(provider_http)["post"] = self._provider.post
        vars(callback_http)["post"] = self.receiver.post
        vars(services.observation)["run"] = asyncio.Event().wait  # looked at twice a second, a year would take weeks
        services.start()
        worker = Worker(services, clock)
        self.queue.workers.append(worker)
        return worker

    async def stop_workers(self) -> None:
        """They end in the midst of what they do."""
        workers, self.queue.workers = self.queue.workers[:], []
        for worker in workers:
            under_way = {*worker.tasks, *worker.services.background}
            await end_tasks(under_way)
            await worker.services.aclose(0)

    async def close_order(self, out_order_id: str) -> None:
        """The customer is done with this order."""
        await self.producer.closing.close_order(out_order_id)

    async def aclose(self) -> None:
        """All of them."""
        await self.stop_workers()
        await self.producer.aclose()

    def _announce(self, services: ProducerServices) -> None:
        vars(services.announcer)["publish"] = self.queue.publish
        vars(services.announcer)["backlogs"] = self.queue.backlogs
