"""The callbacks that are owed: claim one, settle one."""

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.keys import callback_key, job_keys, job_of_webhook, member_of
from worker.ledger.records import CallbackClaim
from worker.redis_scripts import load_script

DEFAULT_DEAD_TTL_MS = 30 * 86_400_000


class CallbackLedger:
    """Callbacks not delivered yet, each in its job's partition.

    Args:
        redis: a client that decodes replies to text.
        dead_ttl_ms: how long one that was given up stays on record.
    """

    def __init__(self, redis: Redis, *, dead_ttl_ms: int = DEFAULT_DEAD_TTL_MS) -> None:
        self._dead_ttl_ms = dead_ttl_ms
        self._claim = load_script(redis, "worker.ledger", "claim_callback")
        self._settle = load_script(redis, "worker.ledger", "settle_callback")

    async def claim(self, webhook_id: str, *, token: str, lease_ms: int) -> CallbackClaim | None:
        """Take the lease of a callback, or None where it is delivered, given up, not due, or in other hands."""
        keys = job_keys(job_of_webhook(webhook_id))
        reply = await self._claim(
            [callback_key(webhook_id), keys.timetable],
            [member_of(Lane.CALLBACK, webhook_id), token, lease_ms],
        )
        if reply[0] != "claimed":
            return None
        _, tries, *flat = reply
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        return CallbackClaim(
            webhook_id=webhook_id,
            token=token,
            job_id=record["job_id"],
            url=record["url"],
            body=record["body"],
            tries=int(tries),
        )

    async def delivered(self, claim: CallbackClaim) -> bool:
        """Forget a delivered callback and note it in its job. False if the lease was lost."""
        return await self._settled(claim, "delivered", 0, "")

    async def again(self, claim: CallbackClaim, *, delay_ms: int, error: str) -> bool:
        """Put a failed try back into the timetable. False if the lease was lost."""
        return await self._settled(claim, "retry", delay_ms, error)

    async def dead(self, claim: CallbackClaim, *, error: str) -> bool:
        """Give a callback up; it stays on record. False if the lease was lost."""
        return await self._settled(claim, "dead", 0, error)

    async def _settled(self, claim: CallbackClaim, state: str, delay_ms: int, error: str) -> bool:
        keys = job_keys(claim.job_id)
        status = await self._settle(
            [callback_key(claim.webhook_id), keys.timetable, keys.job, keys.dead_callbacks],
            [claim.token, member_of(Lane.CALLBACK, claim.webhook_id), state, delay_ms, error, self._dead_ttl_ms],
        )
        return bool(status)
