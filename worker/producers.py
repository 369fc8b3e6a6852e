"""The order system's face: submit a request, submit many, wait for a job's end, read a job.

The plain functions block their thread; the `_async` twins are for coroutines. Both use one background loop and one
set of connections per process, made at the first call from the AXN_ settings, and made anew after a fork.
"""

import asyncio
import atexit
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from worker.app import build_app
from worker.bootstrap import ProducerServices, build_producer
from worker.domain.any_request import AnyRequest
from worker.domain.job import Job, JobKind
from worker.intake.intake import Submitted
from worker.runtime import OnePerProcess, Runtime
from worker.settings import load_settings

T = TypeVar("T")


class _Producer:
    def __init__(self) -> None:
        settings = load_settings()
        self.runtime = Runtime("axn-producer")
        self.services: ProducerServices = self.runtime.run(self._build(settings))

    async def _build(self, settings: Any) -> ProducerServices:
        return build_producer(settings, build_app(settings))


_producer = OnePerProcess(_Producer)


def _run(work: Coroutine[Any, Any, T]) -> T:
    return _producer.get().runtime.run(work)


async def _run_async(work: Coroutine[Any, Any, T]) -> T:
    return await asyncio.wrap_future(_producer.get().runtime.submit(work))


def submit(request: AnyRequest) -> str:
    """File one request: a bind, an update or an unbind. Its job is stored when this returns.

    Returns:
        The job's id.

    Raises:
        InvalidRequestError: it breaks a rule; nothing was stored.
        IdempotencyConflictError: its key stands for another request.
        LedgerUnavailableError: Redis did not answer; submit again with the same idempotency key.
    """
    return _run(_producer.get().services.intake.submit(request))


async def submit_async(request: AnyRequest) -> str:
    """`submit`, for coroutines."""
    return await _run_async(_producer.get().services.intake.submit(request))


def submit_many(requests: Iterable[AnyRequest]) -> list[Submitted]:
    """File many requests, of any kinds, in one go, in the order given.

    Raises:
        InvalidRequestError: one breaks a rule; nothing was stored.
        LedgerUnavailableError: Redis did not answer; submit all again with the same idempotency keys.
    """
    return _run(_producer.get().services.intake.submit_many(list(requests)))


async def submit_many_async(requests: Iterable[AnyRequest]) -> list[Submitted]:
    """`submit_many`, for coroutines."""
    return await _run_async(_producer.get().services.intake.submit_many(list(requests)))


def wait(job_id: str, timeout: float) -> Job:
    """The job, once it has ended: bound, updated, unbound, failed, expired, cancelled or in doubt.

    Args:
        job_id: as `submit` returned it.
        timeout: seconds.

    Raises:
        WaitTimeoutError: it has not ended yet; it goes on.
        JobNotFoundError: there is none of this id.
    """
    return _run(_producer.get().services.endings.wait(job_id, timeout))


async def wait_async(job_id: str, timeout: float) -> Job:  # noqa: ASYNC109 - the twin of wait
    """`wait`, for coroutines."""
    return await _run_async(_producer.get().services.endings.wait(job_id, timeout))


def read(job_id: str) -> Job:
    """The job as it stands.

    Raises:
        JobNotFoundError: there is none of this id.
    """
    return _run(_producer.get().services.ledger.read(job_id))


async def read_async(job_id: str) -> Job:
    """`read`, for coroutines."""
    return await _run_async(_producer.get().services.ledger.read(job_id))


def check_mapping(given: object, kind: JobKind = JobKind.BIND) -> AnyRequest:
    """A request of this kind that arrived as data, checked in full.

    Raises:
        InvalidRequestError: names every fault at once.
    """
    return _producer.get().services.intake.acceptance.parse(given, kind)


def close() -> None:
    """End this process's connections. The next call makes new ones."""
    producer = _producer.take()
    if producer is not None:
        producer.runtime.run(producer.services.aclose())
        producer.runtime.stop()


atexit.register(close)
