"""The system under test, all of it as real processes on loopback: Redis, the sandbox, workers, producers."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from redis.asyncio import Redis

from tests.chaos.histories import Record, SandboxBinding
from tests.chaos.orders import CHOSEN_POOL_KEY, POOL_KEY, Plan
from tests.chaos.processes import HarnessError, Kept
from tests.chaos.proxy import Proxy
from worker.ledger.keys import job_keys
from worker.local.redis_server import SOCKET_NAME, answers_ping, find_server, new_folder, redis_command
from worker.sandbox.config import parse_pool
from worker.sandbox.pools import make_pools

REPOSITORY = Path(__file__).parent.parent.parent
LEASE_S = 3.0
TIMINGS: Mapping[str, str] = {
    "AXN_ATTEMPT_TIMEOUT": "1s",
    "AXN_CONNECT_TIMEOUT": "1s",
    "AXN_READ_TIMEOUT": "1s",
    "AXN_PACE__PATIENCE": "1s",
    "AXN_PACE__BIND_AXN_PER_SECOND": "2000",
    "AXN_PACE__PROBE_FIRST": "500ms",
    "AXN_PACE__PROBE_LONGEST": "2s",
    "AXN_LEASE": f"{LEASE_S:g}s",
    "AXN_FIRST_LOOK": "1500ms",
    "AXN_TICK": "200ms",
    "AXN_REDIS_TIMEOUT": "1s",
    "AXN_RETRY__BASE": "100ms",
    "AXN_RETRY__CAP": "2s",
    "AXN_RETRY__SLOW_BASE": "500ms",
    "AXN_RETRY__SLOW_CAP": "2s",
    "AXN_DOUBT__PROBE_AFTER": "500ms",
    "AXN_DOUBT__READ_LAG": "2s",
}
KEY_ID, KEY_SECRET = "testid", "testsecret"
READY_LINE = "axn worker ready"
_LATENCY_MS = 20
_GRACE_S = 0.2
_AT_A_TIME = 200


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    """Without whatever AXN_ variables the shell or another test has set; children inherit the rest."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AXN_", "ALIBABA_CLOUD_")) and name != "AXN_REDIS_SERVER":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@dataclass
class SystemOptions:
    """What a cell wants to be different.

    Attributes:
        numbers: in the pool; as many again can be chosen by name.
        sandbox: further options of `axn sandbox`.
        tuning: further variables of workers and producers.
        redis: further options of the Redis server.
        log_level: of the workers; their logs are looked through for leaks.
    """

    numbers: int = 2000
    sandbox: Sequence[str] = ()
    tuning: Mapping[str, str] = field(default_factory=dict)
    redis: Sequence[str] = ()
    log_level: str = "info"


class ChaosSystem:
    """Runs while its `async with` block lasts; then nothing of it remains but, if kept, its folder.

    Attributes:
        redis_way, provider_way: the proxies that workers and producers go through.
        ledger, broker: the harness's own clients, straight to the server.
    """

    def __init__(self, options: SystemOptions, *, keeps_folder: bool = False) -> None:
        self.options = options
        self.folder = new_folder()
        self._keeps_folder = keeps_folder
        self.workers: dict[str, Kept] = {}
        self.others: list[Kept] = []
        self._ends = contextlib.AsyncExitStack()
        self.env: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def steps_folder(self) -> Path:
        """Where the processes write their steps."""
        return self.folder / "steps"

    def chosen_numbers(self) -> list[str]:
        """The numbers that orders may choose by name; the sandbox makes the same ones for the same seed."""
        return list(make_pools(map(parse_pool, self._pools()), seed=0)[CHOSEN_POOL_KEY])

    async def _start(self) -> None:
        for name in ("redis", "logs", "steps", "producers"):
            (self.folder / name).mkdir(mode=0o700)
        socket_path = self.folder / "redis" / SOCKET_NAME
        self.redis = Kept(
            "redis",
            [*redis_command(find_server(), self.folder / "redis", log_file=""), *self.options.redis],
            self.folder / "logs",
            {},
            ready=lambda: answers_ping(socket_path),
        )
        self.sandbox = Kept("sandbox", self._sandbox_command(), self.folder / "logs", {}, ready_line='{"url":')
        await asyncio.gather(self.redis.start(), self.sandbox.start())
        self.sandbox_url = str(json.loads('{"url":' + self.sandbox.ready_value)["url"])
        self.redis_way = await self._ends.enter_async_context(Proxy(str(socket_path)))
        self.provider_way = await self._ends.enter_async_context(Proxy(int(self.sandbox_url.rpartition(":")[2])))
        self.ledger = Redis(unix_socket_path=str(socket_path), db=0, decode_responses=True)
        self.broker = Redis(unix_socket_path=str(socket_path), db=1)
        self._ends.push_async_callback(self.ledger.aclose)
        self._ends.push_async_callback(self.broker.aclose)
        self.http = await self._ends.enter_async_context(aiohttp.ClientSession())
        self.env = self._environment()

    def _pools(self) -> list[str]:
        numbers = self.options.numbers
        return [f"{POOL_KEY}={numbers}@上海", f"{CHOSEN_POOL_KEY}={numbers}@北京"]

    def _sandbox_command(self) -> list[str]:
        pools = [word for pool in self._pools() for word in ("--pool", pool)]
        options = ["--json", *pools, "--access-key", f"{KEY_ID}:{KEY_SECRET}", "--latency-ms", str(_LATENCY_MS)]
        return [sys.executable, "-m", "worker.cli", "sandbox", *options, *self.options.sandbox]

    def _environment(self) -> dict[str, str]:
        return {
            **TIMINGS,
            "AXN_REDIS_URL": f"redis://127.0.0.1:{self.redis_way.port}/0",
            "AXN_ENDPOINT": f"http://127.0.0.1:{self.provider_way.port}",
            "AXN_ACCESS_KEY_ID": KEY_ID,
            "AXN_ACCESS_KEY_SECRET": KEY_SECRET,
            "AXN_POOL_KEY": POOL_KEY,
            "AXN_ENVIRONMENT": "chaos",
            "AXN_LOG_FORMAT": "json",
            "AXN_STEPS_HISTORY": str(self.steps_folder),
            **self.options.tuning,
        }

    async def start_workers(self) -> None:
        """One for checkout, one for the other lanes."""
        await asyncio.gather(
            self.start_worker("checkout", "checkout"), self.start_worker("batch", "batch,renewal,callback")
        )

    async def start_worker(self, name: str, lanes: str, *, command: Sequence[str] = (), **env: str) -> Kept:
        """A worker that starts again whenever it ends; `env` holds in all of its lives."""
        axn = [sys.executable, "-m", "worker.cli", "worker", "--lanes", lanes]
        axn += ["--log-level", self.options.log_level]
        worker = Kept(
            f"worker-{name}", list(command) or axn, self.folder / "logs", self.env | env, ready_line=READY_LINE
        )
        self.workers[name] = worker
        await worker.start()
        return worker

    async def retire_worker(self, name: str) -> None:
        """End a worker for good; what it wrote down still counts."""
        worker = self.workers.pop(name)
        await worker.end()
        self.others.append(worker)

    async def delete_record(self, job_id: str) -> None:
        """Take a job out of the ledger behind the engine's back."""
        await self.ledger.delete(job_keys(job_id).job)

    async def start_producer(self, plan: Plan, name: str, **first_env: str) -> Kept:
        """A producer of this plan; it starts again until every order is accepted or refused."""
        plan_path = self.folder / "producers" / f"{name}.plan"
        plan.write(plan_path)
        command = [sys.executable, "-m", "tests.chaos.producer", str(plan_path), str(self.history_of(name))]
        producer = Kept(f"producer-{name}", command, self.folder / "logs", self.env, until_done=True)
        producer.next_env = dict(first_env)
        self.others.append(producer)
        await producer.start()
        return producer

    def history_of(self, producer: str) -> Path:
        """The producer's history file."""
        return self.folder / "producers" / f"{producer}.jsonl"

    async def records(self, job_ids: Sequence[str]) -> dict[str, Record | None]:
        """The jobs' records."""
        found: dict[str, Record | None] = {}
        for start in range(0, len(job_ids), _AT_A_TIME):
            part = job_ids[start : start + _AT_A_TIME]
            async with self.ledger.pipeline(transaction=False) as pipeline:
                for job_id in part:
                    pipeline.hgetall(job_keys(job_id).job)
                hashes = await pipeline.execute()
            found |= {id_: Record.from_hash(each) for id_, each in zip(part, hashes, strict=True)}
        return found

    async def bindings(self) -> list[SandboxBinding]:
        """Everything the sandbox ever bound."""
        found = (await self.ask_sandbox("GET", "bindings"))["bindings"]
        return [
            SandboxBinding(
                one["OutOrderId"], one["PhoneNoX"], one["SubsId"], one["live"], one["PhoneNoA"], one["ExpireDate"]
            )
            for one in found
        ]

    async def ask_sandbox(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """A request to the sandbox's own face, straight to it."""
        async with self.http.request(method, f"{self.sandbox_url}/_sandbox/{what}", json=body) as answer:
            if answer.status >= 400:
                raise HarnessError(f"the sandbox refuses {what}: {await answer.text()}")
            return await answer.json()

    @contextlib.asynccontextmanager
    async def provider_fault(self, **fault: Any) -> AsyncIterator[list[int]]:
        """Let the sandbox spoil answers to BindAxn for the length of the block.

        Yields:
            A list that holds, after the block, how many requests met the fault.
        """
        met: list[int] = []
        await self.ask_sandbox("POST", "faults", {"action": "BindAxn", **fault})
        try:
            yield met
        finally:
            faults = (await self.ask_sandbox("GET", "faults"))["faults"]
            met.append(sum(each["applied"] for each in faults))
            await self.ask_sandbox("DELETE", "faults")

    @property
    def processes(self) -> list[Kept]:
        """Workers and producers."""
        return [*self.workers.values(), *self.others]

    async def _end_processes(self) -> None:
        ends = [part.end(_GRACE_S) for part in (*self.processes, *self._infrastructure())]
        await asyncio.gather(*ends, return_exceptions=True)

    def _infrastructure(self) -> list[Kept]:
        return [part for name in ("redis", "sandbox") if isinstance(part := getattr(self, name, None), Kept)]

    async def _end(self) -> None:
        try:
            await self._end_processes()
            await self._ends.aclose()
        finally:
            if not self._keeps_folder:
                shutil.rmtree(self.folder, ignore_errors=True)
