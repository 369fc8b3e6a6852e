"""The whole system on this machine: Redis, the sandbox, a receiver and the workers, as supervised children."""

import asyncio
import base64
import json
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.local.part import Part
from worker.local.redis_server import (
    SOCKET_NAME,
    answers_ping,
    broker_url,
    find_server,
    new_folder,
    redis_command,
    redis_url,
)
from worker.local.supervisor import Supervisor

POOL_KEY = "FC123456"
_KEY_ID, _KEY_SECRET = "testid", "testsecret"
_READY_LINE = "axn worker ready"
_URL_LINE = '{"url":'


@dataclass(frozen=True, slots=True)
class SystemPlan:
    """Which parts to run.

    Attributes:
        with_redis, with_sandbox, with_receiver: leave out what the user has; its variables are then the user's own.
        numbers: how many numbers the sandbox's pool holds.
        latency_ms: the sandbox's wait before each answer.
        tuning: further AXN_ variables for the workers and whoever produces.
    """

    with_redis: bool = True
    with_sandbox: bool = True
    with_receiver: bool = True
    numbers: int = 1500
    latency_ms: int = 50
    tuning: Mapping[str, str] = field(default_factory=dict)


class LocalSystem:
    """Runs while its `async with` block lasts; nothing of it remains afterwards.

    Attributes:
        env: the AXN_ variables that lead to its parts.
        sandbox_url, receiver_url: empty where the part was left out.
    """

    def __init__(self, plan: SystemPlan, *, on_event: Callable[[str, str], None]) -> None:
        self._plan = plan
        self._folder = new_folder()
        self._supervisor = Supervisor(self._folder / "logs", on_event=on_event)
        self.env: dict[str, str] = {}
        self.sandbox_url = ""
        self.receiver_url = ""
        self.pids: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        try:
            self.env = await self._start()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def failure(self) -> str:
        """Wait until a part has ended for good; why."""
        return str(await self._supervisor.failed())

    @property
    def log_folder(self) -> Path:
        """One log file per part."""
        return self._folder / "logs"

    async def _start(self) -> dict[str, str]:
        plan = self._plan
        found = await asyncio.gather(
            *(start() for start, wanted in (
                (self._start_redis, plan.with_redis),
                (self._start_sandbox, plan.with_sandbox),
                (self._start_receiver, plan.with_receiver),
            ) if wanted)
        )  # fmt: skip
        env = {name: value for variables in found for name, value in variables.items()} | dict(plan.tuning)
        await asyncio.gather(
            self._start_worker("worker-checkout", "checkout", env),
            self._start_worker("worker-batch", "batch,renewal,callback", env),
        )
        return env

    async def _start_redis(self) -> dict[str, str]:
        data, socket_path = self._folder / "redis", self._folder / "redis" / SOCKET_NAME
        data.mkdir(mode=0o700)
        await self._start_part(
            Part(
                name="redis",
                command=redis_command(find_server(), data, log_file=""),
                ready=lambda: answers_ping(socket_path),
                restart=True,
            )
        )
        return {"AXN_REDIS_URL": redis_url(socket_path, 0), "AXN_BROKER_URL": broker_url(socket_path, 1)}

    async def _start_sandbox(self) -> dict[str, str]:
        options = [
            "--pool", f"{POOL_KEY}={self._plan.numbers}@上海",
            "--access-key", f"{_KEY_ID}:{_KEY_SECRET}",
            "--latency-ms", str(self._plan.latency_ms),
        ]  # fmt: skip
        self.sandbox_url = await self._start_server("sandbox", options)
        return {
            "AXN_ENDPOINT": self.sandbox_url,
            "AXN_ACCESS_KEY_ID": _KEY_ID,
            "AXN_ACCESS_KEY_SECRET": _KEY_SECRET,
            "AXN_POOL_KEY": POOL_KEY,
        }

    async def _start_receiver(self) -> dict[str, str]:
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.receiver_url = await self._start_server("receiver", ["--quiet", "--secret", secret])
        return {
            "AXN_CALLBACK_SECRET": secret,
            "AXN_CALLBACK_ALLOW_HTTP": "1",
            "AXN_CALLBACK_ALLOW_NETS": "127.0.0.0/8",
            "AXN_CALLBACK_PORTS": "",
        }

    async def _start_server(self, name: str, options: list[str]) -> str:
        command = [sys.executable, "-m", "worker.cli", name, "--json", *options]
        value = await self._start_part(Part(name=name, command=command, ready_line=_URL_LINE))
        return str(json.loads(_URL_LINE + value)["url"])

    async def _start_worker(self, name: str, lanes: str, env: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "worker.cli", "worker", "--lanes", lanes]
        await self._start_part(Part(name=name, command=command, env=env, ready_line=_READY_LINE, restart=True))

    async def _start_part(self, part: Part) -> str:
        running = await self._supervisor.start(part)
        self.pids[part.name] = running.pid
        return running.ready_value or ""

    async def _end(self) -> None:
        try:
            await self._supervisor.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
