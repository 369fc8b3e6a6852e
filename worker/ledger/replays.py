"""Dead callbacks brought back: each in one atomic step, and together no faster than their receiver is to bear."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.audit import LINES_KEPT_PER_PARTITION
from worker.ledger.callback_records import flatten
from worker.ledger.callback_views import CallbackState
from worker.ledger.keys import callback_key, job_keys, job_of_webhook, member_of, replays_key
from worker.redis_scripts import load_script

_MS_PER_S = 1000


class ReplayOutcome(StrEnum):
    """What became of one callback that was to be replayed."""

    REPLAYED = "replayed"
    """It waits for its first try again."""
    WOULD_REPLAY = "would_replay"
    """It is dead, and stays so: this was a dry run."""
    WAITING = "waiting"
    """It is not dead: it waits for its next try anyway."""
    MISSING = "missing"
    """It is not on record: delivered, or given up longer ago than AXN_DEAD_CALLBACK_TTL."""
    DISABLED = "disabled"
    """Its receiver is disabled: it would be given up at once."""

    @property
    def is_as_asked(self) -> bool:
        """Whether it is, or would be, brought back."""
        return self in (ReplayOutcome.REPLAYED, ReplayOutcome.WOULD_REPLAY)


@dataclass(frozen=True, slots=True)
class Replay:
    """One callback's.

    Attributes:
        host: its receiver; empty where it is not on record.
        first_try_at: Unix ms by Redis's clock; 0 where it is not brought back.
    """

    webhook_id: str
    host: str
    outcome: ReplayOutcome
    first_try_at: int = 0


class Replays:
    """Brings dead callbacks back."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._replay = load_script(redis, "worker.ledger", "replay_callback")
        self._reserve = load_script(redis, "worker.ledger", "reserve_replays")

    async def replay(
        self, webhook_ids: Sequence[str], host: str, *, per_second: float, by: str, has_audit_lines: bool
    ) -> list[Replay]:
        """Bring back those of them that are dead, in the order given. Those already done stay done if this breaks off.

        Args:
            webhook_ids: callbacks of one receiver.
            host: that receiver.
            per_second: first tries at this receiver, this replay's and others' together.
            by: who replays them; each record keeps it.
            has_audit_lines: write a line in the audit for each.
        """
        interval_ms = _MS_PER_S / per_second
        first_ms = float(await self._reserve([replays_key(host)], [len(webhook_ids), interval_ms]))
        moments = [round(first_ms + number * interval_ms) for number in range(len(webhook_ids))]
        pipeline = self._redis.pipeline(transaction=False)
        for webhook_id, at_ms in zip(webhook_ids, moments, strict=True):
            keys = job_keys(job_of_webhook(webhook_id))
            line = _audit_line(webhook_id, by) if has_audit_lines else []
            await self._replay(
                [callback_key(webhook_id), keys.timetable, keys.job, keys.dead_callbacks, keys.audit],
                [
                    member_of(Lane.CALLBACK, webhook_id),
                    secrets.token_hex(8),
                    at_ms,
                    by,
                    LINES_KEPT_PER_PARTITION,
                    *line,
                ],
                client=pipeline,
            )
        outcomes = [ReplayOutcome(reply) for reply in await pipeline.execute()]
        return [
            Replay(webhook_id, host, outcome, at_ms if outcome is ReplayOutcome.REPLAYED else 0)
            for webhook_id, outcome, at_ms in zip(webhook_ids, outcomes, moments, strict=True)
        ]


def _audit_line(webhook_id: str, by: str) -> list[str]:
    line = {
        "job_id": job_of_webhook(webhook_id),
        "by": by,
        "what": "callback replayed",
        "was": CallbackState.DEAD.value,
        "now": CallbackState.WAITING.value,
        "subject": webhook_id,
    }
    return flatten(line.items())
