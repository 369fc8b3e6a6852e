"""A worker's delivery as the project wires it, on a Redis of its own, and callbacks for it to deliver."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from worker.app import build_app
from worker.bootstrap import WorkerServices, build_worker
from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.domain.job_ids import new_job_id
from worker.ledger.keys import webhook_id_of
from worker.ledger.records import NewJob
from worker.ledger.timetable import Timetable
from worker.settings import Settings

_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
_PER_PIPELINE = 500
_PER_MESSAGE = 100
_DUE_PER_PARTITION = 500


def settings_for(redis_url: str, *, timeout_s: float, in_flight: int) -> Settings:
    """A worker's settings that let it call this machine."""
    return Settings(
        redis_url=redis_url,
        broker_url="memory://",
        AXN_ACCESS_KEY_ID="benchmark",  # nothing is sent to the provider
        AXN_ACCESS_KEY_SECRET="benchmark",  # noqa: S106
        callback_secret=_SECRET,
        callback_allow_http=True,
        callback_allow_nets="127.0.0.0/8",
        callback_ports=(),
        callback_timeout=timeout_s,
        callback_in_flight=in_flight,
    )


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[WorkerServices]:
    """All of a worker but Celery. What is under way at the end is cut off."""
    services = build_worker(settings, build_app(settings))
    try:
        yield services
    finally:
        await services.aclose(0)


async def file_jobs(services: WorkerServices, count: int, url_of: Callable[[int], str]) -> list[str]:
    """Jobs that end at their first attempt, because they are refused, and then owe a callback. Returns their ids."""
    jobs = [
        NewJob(
            job_id=new_job_id(services.producer.clock.unix_ms()),
            lane=Lane.BATCH,
            parameters={},
            digest="benchmark",
            seed="",
            callback_url=url_of(number),
            refusal="phone_no_a: is required",
        )
        for number in range(count)
    ]
    for start in range(0, count, _PER_PIPELINE):
        await services.producer.ledger.open_many(jobs[start : start + _PER_PIPELINE])
    return [job.job_id for job in jobs]


async def owe(settings: Settings, count: int, url_of: Callable[[int], str]) -> None:
    """Callbacks that are due, and that nobody has tried yet."""
    # A worker without places for callbacks leaves them all to the timetable.
    async with worker(settings.model_copy(update={"callback_in_flight": 0})) as services:
        job_ids = await file_jobs(services, count, url_of)
        for start in range(0, count, _PER_PIPELINE):
            await services.attempts.work_on(Lane.BATCH, job_ids[start : start + _PER_PIPELINE])


def webhook_id(job_id: str) -> str:
    """Of the callback that the job's first and only attempt owes."""
    return webhook_id_of(job_id, 1)


@dataclass
class Pump:
    """In place of ticker, Celery and consumer: what is due in the timetable is handed to the delivery."""

    services: WorkerServices
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)

    async def run(self) -> None:
        """Until it is cancelled."""
        settings = self.services.producer.settings
        timetable = Timetable(
            self.services.producer.redis,
            next_look_ms=duration_ms(settings.first_look),
            most_per_partition=_DUE_PER_PARTITION,
        )
        messages = asyncio.Semaphore(settings.threads)
        try:
            while True:
                due = await timetable.take_due()
                ids = [id_ for lane, id_ in due.entries if lane is Lane.CALLBACK]
                for start in range(0, len(ids), _PER_MESSAGE):
                    self._start(messages, ids[start : start + _PER_MESSAGE])
                await asyncio.sleep(duration_ms(settings.tick) / 1000)
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _start(self, messages: asyncio.Semaphore, ids: Sequence[str]) -> None:
        async def deliver() -> None:
            async with messages:
                await self.services.delivery.deliver(ids)

        task = asyncio.create_task(deliver())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)


@asynccontextmanager
async def pumping(services: WorkerServices) -> AsyncIterator[None]:
    """What becomes due is delivered while the block lasts."""
    task = asyncio.create_task(Pump(services).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
