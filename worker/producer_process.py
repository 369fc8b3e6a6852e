"""What a producer's process has once: a background loop with its connections, made at the first call.

`worker.producers` and `worker.batch_producers` are its faces. After a fork the child makes its own.
"""

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from worker.app import build_app
from worker.bootstrap import ProducerServices, build_producer
from worker.redis_faults import asking
from worker.runtime import OnePerProcess, Runtime
from worker.settings import load_settings

T = TypeVar("T")
_END_WITHIN_S = 15.0


class _Producer:
    def __init__(self) -> None:
        settings = load_settings()
        self.runtime = Runtime("axn-producer")
        self.services: ProducerServices = self.runtime.run(self._build(settings))

    async def _build(self, settings: Any) -> ProducerServices:
        return build_producer(settings, build_app(settings))


process = OnePerProcess(_Producer)


def services() -> ProducerServices:
    """This process's."""
    return process.get().services


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work on this process's loop; its thread waits."""
    return process.get().runtime.run(work)


async def run_async(work: Coroutine[Any, Any, T]) -> T:
    """`run`, for coroutines of another loop."""
    return await asyncio.wrap_future(process.get().runtime.submit(work))


def ask(work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Start work that talks to the ledger's Redis, without waiting; fails as `asked` does."""
    return process.get().runtime.submit(asked(services(), work))


def ask_to_its_end(work: Callable[[ProducerServices], Coroutine[Any, Any, T]]) -> T:
    """What it returns. Cut short by Ctrl-C, it has ended when this returns: nobody writes into a report any more."""
    ended = threading.Event()

    async def watched(services: ProducerServices) -> T:
        try:
            return await work(services)
        finally:
            ended.set()

    future = ask(watched(services()))
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            ended.wait(_END_WITHIN_S)
        raise


async def asked(of: ProducerServices, work: Coroutine[Any, Any, T]) -> T:
    """The work; whatever is wrong with Redis becomes a LedgerUnavailableError that says so."""
    async with asking(of.redis, is_one_call=False):
        return await work


def close() -> None:
    """End this process's connections. The next call makes new ones."""
    producer = process.take()
    if producer is not None:
        producer.runtime.run(producer.services.aclose())
        producer.runtime.stop()


atexit.register(close)
