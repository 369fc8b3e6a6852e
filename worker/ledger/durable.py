"""Filing that waits until the jobs are on disk or on replicas.

WAIT and WAITAOF speak of the writes of their own connection, so they travel in one pipeline with the filing: a
pipeline is sent on one connection, and sent again as a whole when that one breaks. A job that was filed before is not
written again, which would leave nothing to wait for: the marker, written in every such pipeline, follows the earlier
write in the server's one stream of writes, and where the marker is, that write is too. In a cluster each node that
has some of the jobs gets their markers and the wait, and what the least of them reached counts.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from worker.domain.durability import Durability
from worker.errors import DurabilityUnavailableError, IdempotencyConflictError
from worker.ledger.keys import durability_marker_key
from worker.ledger.ledger import Ledger
from worker.ledger.records import NewJob
from worker.redis_faults import asking
from worker.redis_scripts import servers_of

_FIRST_WITH_WAITAOF = "Redis 7.2 or Valkey"
_PROBE_MS = 1


class DurableOpening:
    """Files jobs and waits for more than Redis's memory.

    Args:
        redis: a client of its own, whose command timeout outlasts `timeout_ms`: a wait occupies its connection.
        replicas: how many replicas must hold a job for `replicated`.
        timeout_ms: longest wait.
    """

    def __init__(self, redis: Redis, ledger: Ledger, *, replicas: int, timeout_ms: int) -> None:
        self._redis = redis
        self._ledger = ledger
        self._replicas = replicas
        self._timeout_ms = timeout_ms
        self._offered = {Durability.ACCEPTED}

    async def aclose(self) -> None:
        """Close connections."""
        await self._redis.aclose()

    async def check(self, durability: Durability) -> None:
        """Find out whether the server can give it. Asked once; again only after it was refused or not reached.

        Raises:
            DurabilityUnavailableError: it cannot; the error names what it lacks.
            LedgerUnavailableError: Redis did not answer.
        """
        if durability in self._offered:
            return
        async with asking(self._redis, is_one_call=False):
            try:
                lack = await (self._lack_of_disk() if durability is Durability.FSYNCED else self._lack_of_replicas())
            except ResponseError as refused:
                lack = f"the server refuses the question ({refused}); allow WAIT, WAITAOF and INFO in its ACL"
        if lack:
            raise DurabilityUnavailableError(durability.value, lack)
        self._offered.add(durability)

    async def _lack_of_disk(self) -> str:
        try:
            await self._redis.waitaof(1, 0, _PROBE_MS)
        except ResponseError as refused:
            if "unknown command" in str(refused).lower():
                return f"the server has no WAITAOF; use {_FIRST_WITH_WAITAOF}, or durability 'accepted'"
            if "appendonly is disabled" in str(refused):
                return "the server's append-only file is off; set `appendonly yes`, or use durability 'accepted'"
            raise
        # Managed servers often forbid CONFIG; there a wrong setting shows as a wait that is never confirmed.
        with contextlib.suppress(ResponseError):
            for server in await servers_of(self._redis):
                if (await server.config_get("appendfsync")).get("appendfsync") == "no":
                    return "the server never forces its file to disk; set `appendfsync everysec` or `always`"
        return ""

    async def _lack_of_replicas(self) -> str:
        online = min([_replicas_in(await server.info("replication")) for server in await servers_of(self._redis)])
        if online >= self._replicas:
            return ""
        return (
            f"{online} of {self._replicas} replicas are connected; connect more, "
            "lower AXN_DURABILITY_REPLICAS, or use durability 'accepted'"
        )

    async def open_many(
        self, jobs: Sequence[NewJob], durability: Durability
    ) -> tuple[list[int | IdempotencyConflictError], str]:
        """File jobs in one pipeline and wait. `check` comes first.

        Returns:
            The answers as `Ledger.open_many` gives them, and what was not reached in time: empty where all was.

        Raises:
            LedgerUnavailableError: Redis did not answer; any of the jobs may or may not be filed.
        """
        if not jobs:
            return [], ""
        pipeline = self._redis.pipeline(transaction=False)
        for job in jobs:
            await self._ledger.queue_opening(pipeline, job)
        markers = list(dict.fromkeys(durability_marker_key(job.job_id) for job in jobs))
        for marker in markers:  # in a cluster each node writes, and waits
            pipeline.set(marker, 1)
        if durability is Durability.FSYNCED:
            pipeline.waitaof(1, 0, self._timeout_ms)
        else:
            pipeline.wait(self._replicas, self._timeout_ms)
        async with asking(self._redis, is_one_call=False):
            *replies, waited = await pipeline.execute(raise_on_error=False)
            answers = self._ledger.opening_answers(jobs, replies[: len(jobs)])
        shortfall = self._shortfall(durability, [*replies[len(jobs) :], waited])
        if shortfall:
            self._offered.discard(durability)
        return answers, shortfall

    def _shortfall(self, durability: Durability, replies: Sequence[Any]) -> str:
        refused = next((reply for reply in replies if isinstance(reply, Exception)), None)
        if refused:
            return f"the server refused to wait ({refused})"
        waited = replies[-1]
        within = f"within {self._timeout_ms / 1000:g} s (AXN_DURABILITY_TIMEOUT)"
        if durability is Durability.FSYNCED:
            return "" if waited[0] >= 1 else f"it was not on disk {within}"
        return "" if waited >= self._replicas else f"{waited} of {self._replicas} replicas had it {within}"


def _replicas_in(replication: dict[str, Any]) -> int:
    return sum(isinstance(entry, dict) and entry.get("state") == "online" for entry in replication.values())
