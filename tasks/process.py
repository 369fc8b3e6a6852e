"""This worker process's services: made when Celery starts the process, ended when it stops."""

import asyncio
from collections.abc import Sequence
from typing import Any

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)

from tasks.stop_signals import StopSignals
from worker import __version__
from worker.app import app
from worker.bootstrap import WorkerServices, build_worker, check_worker_settings, join_ledger
from worker.domain.durations import duration_ms
from worker.domain.formats import NewerFormatError
from worker.error_reports import report_asyncio_errors, set_up_sentry
from worker.errors import SettingsError
from worker.ledger.newer import NewerWork
from worker.ledger.server_check import log_redis_warnings
from worker.messages import BATCH_MARK, RENEWAL_MARK, IdsMessage
from worker.observation.consumer_beat import consumer_beat
from worker.reporting import set_up_logging
from worker.runtime import OnePerProcess, Runtime
from worker.scrubbing import secrets_of
from worker.settings import Settings, load_settings


class WorkerProcess:
    """The loop and everything that runs on it."""

    def __init__(self) -> None:
        settings = load_settings()
        set_up_sentry(settings, __version__)
        self.grace_s = duration_ms(settings.grace) / 1000
        self.newer = NewerWork()
        self.runtime = Runtime("axn-worker")
        self.services = self.runtime.run(self._build(settings))

    @staticmethod
    async def _build(settings: Settings) -> WorkerServices:
        report_asyncio_errors()
        services = build_worker(settings, app)
        await log_redis_warnings(services.producer.redis)
        services.start()
        return services

    async def work_on(self, told: IdsMessage) -> None:
        """Work on jobs until all are dealt with. What is handed back because the process stops is published again."""
        at_ms = told.published_at_ms
        batches = [id_ for id_ in told.ids if id_.startswith(BATCH_MARK)]
        if batches:  # in the background: they are fed for as long as they have rows
            self.services.feeder.feed(batches)
        renewals = [id_ for id_ in told.ids if id_.startswith(RENEWAL_MARK)]
        if renewals:  # likewise, for as long as bindings of their partitions are due
            self.services.renewals.begin(renewals, at_ms)
        job_ids = [id_ for id_ in told.ids if not id_.startswith((BATCH_MARK, RENEWAL_MARK))]
        handed_back = await self.services.attempts.work_on(told.lane, job_ids, published_at_ms=at_ms)
        if handed_back:
            await self.services.producer.announcer.publish(told.lane, handed_back, at_ms)

    async def deliver(self, told: IdsMessage) -> None:
        """Try callbacks that are due."""
        await self.services.delivery.deliver(told.ids, published_at_ms=told.published_at_ms)

    def stop_claiming(self) -> None:
        """Begin nothing more, hand back what was not sent, and after the grace time what is still under way."""
        self.runtime.call_soon(self.services.stop_claiming, self.grace_s)

    def cut_short(self) -> None:
        """Hand back what is under way, now."""
        self.runtime.call_soon(self.services.attempts.stop.cut_short)

    def end(self) -> None:
        """Let callbacks under way end, then close."""
        self.runtime.run(self.services.aclose(self.grace_s))
        self.runtime.stop()


_process = OnePerProcess(WorkerProcess)


def this_process() -> WorkerProcess:
    """Made at the first call in each process: a forked pool's children get their own."""
    return _process.get()


def _check(**_: Any) -> None:
    try:
        settings = load_settings()
        check_worker_settings(settings)
        asyncio.run(join_ledger(settings))
    except (SettingsError, NewerFormatError) as wrong:
        raise SystemExit(f"axn: {wrong}") from None


def _start(**_: Any) -> None:
    this_process()


def _tell_of_consumer(queues: Sequence[str]) -> None:
    process = _process.peek()
    if process is not None:
        process.services.observation.pulse.consumer_turned(queues)


def _start_and_tell(**_: Any) -> None:
    process = this_process()
    StopSignals(process.stop_claiming, process.cut_short, force_after_s=process.grace_s).install()
    print("axn worker ready", flush=True)  # noqa: T201 - whoever supervises the process waits for this line


def _stop(**_: Any) -> None:
    process = _process.take()
    if process is not None:
        process.end()


def _set_up_logging(loglevel: int, logfile: str | None, **_: Any) -> None:
    """Instead of Celery's own setting up, whichever command started the worker."""
    settings = load_settings()
    set_up_logging(loglevel, settings.log_format, secrets=secrets_of(settings), log_file=logfile or "")


app.steps["consumer"].add(consumer_beat(_tell_of_consumer))
setup_logging.connect(_set_up_logging, weak=False)
worker_init.connect(_check, weak=False)
worker_ready.connect(_start_and_tell, weak=False)
worker_process_init.connect(_start, weak=False)
worker_shutdown.connect(_stop, weak=False)
worker_process_shutdown.connect(_stop, weak=False)
