"""Plain Celery: a task with `rate_limit`, real workers, and a feeder that wants of them what is wanted of the others.

The option counts per worker. Checkout has a queue of its own, of which a worker takes in turn with batch, and the
prefetch multiplier is 1: both are kinder to checkout than Celery's defaults.

With more than one message at a time in a worker, `rate_limit` cannot hold its rate (Celery 5.7.0 and kombu 5.7.0 on
Redis, pools threads and prefork): each message that arrives while others wait adds a timer, each timer that comes too
early adds itself again, and when ten are due at once kombu's loop sleeps a second after them. With a backlog that is
one call per second and worker. A worker with one thread is free of it, but makes one call at a time.
"""

import base64
import json
import math
import os
import random
import threading
import time
import uuid
import warnings
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from celery import Celery, Task
from celery.exceptions import SecurityWarning
from celery.signals import worker_ready
from redis import Redis

from benchmarks.pacing.demand import BATCH_FACTOR, Demand, Timing, Told, back_again_s, cpu_s
from benchmarks.pacing.wire import Address, BlockingSender, Requests

_QUEUES = ("checkout", "batch")
_TASK = "bench.call"
_CALL_S = 0.05
_MOST_THREADS = 32
_NUMBERS_PER_THREAD = 100_000
_TICK_S = 0.005


@dataclass(frozen=True, slots=True)
class Job:
    """One worker's part; `rate_limit` is calls per second of this worker, `threads` how many it makes at a time."""

    index: int
    rate_limit: float
    threads: int
    broker_url: str
    address: Address
    demand: Demand


def enough_threads(rate_limit: float) -> int:
    """For so many calls per second."""
    return min(_MOST_THREADS, 2 + math.ceil(rate_limit * _CALL_S))


class _Worker:
    """What the worker's threads share."""

    def __init__(self, job: Job, pipe: Connection) -> None:
        self._job, self._pipe = job, pipe
        self._thread = threading.local()
        self._threads_made = 0
        self._lock = threading.Lock()
        self._sent: list[float] = []
        self._waits: list[tuple[float, float]] = []

    def call(self, task: "Task[Any, Any]", lane: str, due: float) -> None:
        sent_at = time.monotonic()
        self._sent.append(sent_at)
        is_done = self._sender().send()
        if lane == "checkout":
            if not is_done:
                raise task.retry(countdown=back_again_s(random.random()))  # noqa: S311 - no secret
            self._waits.append((due, sent_at - due))

    def watch(self) -> None:
        """In a thread of its own: measure, and tell."""
        self._pipe.send("ready")
        timing: Timing = self._pipe.recv()
        _sleep_until(timing.measure_from)
        before_s = cpu_s()
        _sleep_until(timing.measure_until)
        used_s = cpu_s() - before_s
        sent = sum(timing.measure_from <= at < timing.measure_until for at in self._sent)
        waits = [(due, waited_s) for due, waited_s in self._waits if timing.measure_from <= due < timing.measure_until]
        self._pipe.send(Told(sent, used_s, waits))

    def _sender(self) -> BlockingSender:
        if not hasattr(self._thread, "sender"):
            with self._lock:
                self._threads_made += 1
                place = self._job.index * _MOST_THREADS + self._threads_made
            requests = Requests(self._job.address, first_number=place * _NUMBERS_PER_THREAD)
            self._thread.sender = BlockingSender(self._job.address, requests)
        sender: BlockingSender = self._thread.sender
        return sender


def build_app(broker_url: str) -> Celery:
    """The application of workers and feeder."""
    app = Celery("bench", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
    )
    return app


def run_worker(pipe: Connection, job: Job) -> None:
    """`celery worker`, in this process. Tells as the other contestants do, and runs until it is killed."""
    # Its warning of a user who may do everything is not for a benchmark.
    warnings.simplefilter("ignore", SecurityWarning)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    app, worker = build_app(job.broker_url), _Worker(job, pipe)

    @app.task(name=_TASK, bind=True, max_retries=None, rate_limit=f"{job.rate_limit:g}/s")
    def call(task: "Task[Any, Any]", lane: str, due: float) -> None:
        worker.call(task, lane, due)

    def begin(**_: Any) -> None:
        threading.Thread(target=worker.watch, daemon=True).start()

    worker_ready.connect(begin)
    options = ["--loglevel=ERROR", "--pool=threads", f"--concurrency={job.threads}", f"--queues={','.join(_QUEUES)}"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat", f"--hostname=bench{job.index}@localhost"]
    app.worker_main(["--quiet", "worker", *options, *alone])


def run_feeder(pipe: Connection, broker_url: str, redis_url: str, demand: Demand) -> None:
    """Keeps as many batch messages in the queue as coroutines wait elsewhere, and brings the checkouts.

    Tells when the checkouts of the measured time were wanted.
    """
    feeder = _Feeder(broker_url, redis_url, demand)
    pipe.send("ready")
    timing: Timing = pipe.recv()
    pipe.send(feeder.feed(timing))


class _Feeder:
    def __init__(self, broker_url: str, redis_url: str, demand: Demand) -> None:
        self._app = build_app(broker_url)
        self._redis: Any = Redis.from_url(redis_url)
        self._demand = demand
        self._random = random.Random(demand.seed)  # noqa: S311 - arrivals, no secret
        # Rendered by Celery once: to render thousands a second would leave the workers less of the machine.
        self._send("batch", 0.0)
        rendered_bytes: Any = self._redis.lpop("batch")
        self._message: str = rendered_bytes.decode()
        rendered = json.loads(self._message)
        self._ids = (rendered["headers"]["id"], rendered["properties"]["delivery_tag"])
        if json.loads(base64.b64decode(rendered["body"]))[0] != ["batch", 0.0]:
            raise RuntimeError("Celery's message does not look as expected")

    def feed(self, timing: Timing) -> list[float]:
        due, fed = timing.begin, 0
        measured: list[float] = []
        _sleep_until(timing.begin)
        while (now := time.monotonic()) < timing.measure_until:
            while due <= now:
                self._send("checkout", due)
                if timing.measure_from <= due:
                    measured.append(due)
                due += self._random.expovariate(self._demand.checkouts_per_second)
            allowed = BATCH_FACTOR * self._demand.per_second * (now - timing.begin) + self._demand.line
            fed += self._top_up(int(allowed) - fed)
            time.sleep(max(0.0, min(_TICK_S, due - time.monotonic())))
        return measured

    def _send(self, lane: str, due: float) -> None:
        self._app.send_task(_TASK, args=[lane, due], queue=lane)

    def _top_up(self, most: int) -> int:
        lacking: int = min(most, self._demand.line - self._redis.llen("batch"))
        if lacking > 0:
            self._redis.lpush("batch", *(self._copy() for _ in range(lacking)))
        return max(lacking, 0)

    def _copy(self) -> str:
        message = self._message
        for known in self._ids:
            message = message.replace(known, str(uuid.uuid4()))
        return message


def _sleep_until(at: float) -> None:
    time.sleep(max(0.0, at - time.monotonic()))
