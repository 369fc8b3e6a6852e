"""Two installed releases on one ledger: their own workers and producers, and what became of every job."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvloop
from aiohttp import web

from tests.chaos.histories import Record
from tests.chaos.processes import HarnessError
from tests.chaos.system import ChaosSystem, SystemOptions, clean_environment
from tests.upgrade.releases import Release

LANES = "checkout,batch,renewal,callback"
QUICK = {
    "AXN_ATTEMPT_TIMEOUT": "1s",
    "AXN_FIRST_LOOK": "1s",
    "AXN_RETRY__BASE": "50ms",
    "AXN_CALLBACK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "AXN_CALLBACK_ALLOW_HTTP": "1",
    "AXN_CALLBACK_ALLOW_NETS": "127.0.0.0/8",
    "AXN_CALLBACK_PORTS": "",
    "AXN_CALLBACK_TIMEOUT": "2s",
    "AXN_CALLBACK_SCHEDULE": "200ms,500ms,1s,1s,2s,2s,5s,5s,10s",
}
_LOOK_S = 0.05
_LONGEST_LINE = 2**20
_PRODUCING = Path(__file__).with_name("producing.py")
NO_ENDS = ("accepted", "submitting", "waiting", "resting")


class SideBySide(ChaosSystem):
    """Redis, the provider's sandbox, a receiver of callbacks, and workers of several releases.

    Attributes:
        told: webhook-id -> how often it arrived.
        bodies: of what arrived, by job id, each webhook-id once.
    """

    def __init__(self) -> None:
        super().__init__(SystemOptions(numbers=4000, tuning=QUICK))
        self.told: Counter[str] = Counter()
        self.bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._receiver = web.AppRunner(self._receiving())
        self.callback_url = ""
        self._producers: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self._receiver.setup()
        site = web.TCPSite(self._receiver, "127.0.0.1", 0)
        await site.start()
        self.callback_url = f"http://127.0.0.1:{self._receiver.addresses[0][1]}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end_producers()
        await super().__aexit__(kind, error, trace)
        await self._receiver.cleanup()

    def _receiving(self) -> web.Application:
        async def take(request: web.Request) -> web.Response:
            webhook_id = request.headers["webhook-id"]
            self.told[webhook_id] += 1
            if self.told[webhook_id] == 1:
                data = (await request.json())["data"]
                self.bodies[str(data["job_id"])].append(data)
            return web.Response(status=204)

        receiving = web.Application()
        receiving.router.add_post("/", take)
        return receiving

    async def begin(self, release: Release, name: str = "", **env: str) -> None:
        """Start a worker of a release, for all lanes; it starts again whenever it ends."""
        command = release.axn("worker", "--lanes", LANES, "--log-level", "info")
        await self.start_worker(name or release.name, LANES, command=command, **release.env, **env)

    def log_of(self, name: str) -> str:
        """What a worker has written so far, in all its lives."""
        return (self.folder / "logs" / f"worker-{name}.log").read_text(encoding="utf-8", errors="replace")

    def kill(self, name: str) -> None:
        """SIGKILL, in whatever it is doing; the next life begins at once."""
        self.workers[name].send(signal.SIGKILL)

    def orders(self, prefix: str, count: int, *, out_id: str = "") -> list[dict[str, Any]]:
        """Requests, each with its own key, order and number A, and a callback."""
        more = {"out_id": out_id} if out_id else {}
        return [
            {
                "phone_no_a": f"139{hash_of(prefix) % 10_000:04d}{number:04d}",
                "idempotency_key": f"{prefix}-{number}",
                "out_order_id": f"{prefix}-{number}",
                "expires_in": "2h",
                "callback_url": self.callback_url,
                **more,
            }
            for number in range(count)
        ]

    async def submit(
        self, release: Release, requests: Sequence[Mapping[str, Any]], *, rebinds: Sequence[Mapping[str, Any]] = ()
    ) -> list[str]:
        """Let a producer of a release file binds and rebinds. Returns the ids of their jobs."""
        return list((await self._asked(release, requests=list(requests), rebinds=list(rebinds)))["ids"])

    async def start_batch(self, release: Release, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Let a producer of a release start a batch of binds. Returns the batch's id."""
        return str((await self._asked(release, batch=name, rows=list(rows)))["batch_id"])

    async def knows(self, release: Release) -> set[str]:
        """What a release can do of `rebind`, `batch` and `renew`."""
        return set((await self._asked(release))["knows"])

    async def _asked(self, release: Release, **given: Any) -> dict[str, Any]:
        producer = await self._producer_of(release)
        assert producer.stdin is not None
        assert producer.stdout is not None
        nothing: dict[str, Any] = {"requests": [], "rebinds": [], "batch": "", "rows": []}
        producer.stdin.write(json.dumps(nothing | given).encode() + b"\n")
        answer = await producer.stdout.readline()
        if not answer:
            raise HarnessError(f"the producer of {release.name} ended, see its complaints above")
        told: dict[str, Any] = json.loads(answer)
        return told

    async def _producer_of(self, release: Release) -> asyncio.subprocess.Process:
        if release.name not in self._producers:
            self._producers[release.name] = await asyncio.create_subprocess_exec(
                sys.executable, str(_PRODUCING), env={**os.environ, **self.env, **release.env}, limit=_LONGEST_LINE,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        return self._producers[release.name]

    async def _end_producers(self) -> None:
        for producer in self._producers.values():
            producer.kill()
            await producer.wait()

    async def until(self, holds: Callable[[], Awaitable[Any]], what: str, within_s: float = 60.0) -> None:
        """Wait for it."""
        deadline = time.monotonic() + within_s
        while not await holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"not in {within_s:g} s: {what}")
            await asyncio.sleep(_LOOK_S)

    async def states(self, job_ids: Sequence[str]) -> Counter[str]:
        """How many of these jobs are in each state."""
        records = await self.records(job_ids)
        return Counter(record.state if record else "missing" for record in records.values())

    async def known(self, job_ids: Sequence[str]) -> dict[str, Record]:
        """Their records, all of which must be there."""
        found = await self.records(job_ids)
        missing = [job_id for job_id, record in found.items() if record is None]
        assert not missing, f"{len(missing)} jobs have no record"
        return {job_id: record for job_id, record in found.items() if record}

    async def all_ended(self, job_ids: Sequence[str], within_s: float = 60.0, *, are_told: bool = True) -> None:
        """Wait until all of these jobs have ended, and, where they have any, their callbacks are delivered."""

        async def have_ended() -> bool:
            return not set(await self.states(job_ids)) & {*NO_ENDS, "missing"}

        async def have_told() -> bool:
            return not are_told or all(self.bodies.get(job_id) for job_id in job_ids)

        try:
            await self.until(have_ended, "all jobs ended", within_s)
            await self.until(have_told, "all callbacks delivered", within_s)
        except AssertionError as late:
            raise AssertionError(f"{late}: {dict(await self.states(job_ids))}") from None

    async def bound_exactly_once(self, job_ids: Sequence[str], *, or_in_doubt: Sequence[str]) -> None:
        """Each has its one binding; of those in doubt, whose worker was killed while it asked for it, at most one."""
        records = await self.known([*job_ids, *or_in_doubt])
        assert {records[job_id].state for job_id in job_ids} <= {"bound"}
        assert {records[job_id].state for job_id in or_in_doubt} <= {"bound", "in_doubt"}
        made = Counter(binding.subs_id for binding in await self.bindings())
        of_jobs = Counter(record.subs_id for record in records.values() if record.state == "bound")
        assert of_jobs <= made
        assert set(of_jobs.values()) == {1}
        orders = Counter(binding.order for binding in await self.bindings() if binding.is_live)
        assert set(orders.values()) == {1}, "no order has two numbers"


def played(play: Callable[[SideBySide], Coroutine[Any, Any, None]]) -> None:
    """Play on a system of its own."""

    async def run() -> None:
        async with SideBySide() as system:
            await play(system)

    with clean_environment():
        uvloop.run(run())


def hash_of(text: str) -> int:
    """The same in every process."""
    return int.from_bytes(text.encode())
