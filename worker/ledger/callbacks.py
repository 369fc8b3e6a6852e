"""The callbacks that are owed: read, claim, settle, or let wait in their receiver's line.

Each stands in its job's partition, and always in the timetable: for its next try, for the end of somebody's lease, or,
while it waits for its receiver or for its turn, for the time when it is given up. A receiver's line has one entry of
its own there, however many wait in it: a hundred thousand callbacks of a dead receiver cost one look per partition.
"""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from worker.domain.formats import CALLBACK
from worker.domain.job import Lane
from worker.errors import SealError
from worker.ledger.callback_records import CallbackClaim, CallbackHead, line_of
from worker.ledger.keys import (
    ALL_PARTITIONS,
    callback_key,
    job_keys,
    job_of_webhook,
    member_of,
    order_name,
    receiver_line_key,
    receiver_line_member,
    split_member,
    timetable_key,
)
from worker.ledger.newer import NewerWork
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import BODY, opened_value
from worker.logs import get_log
from worker.redis_scripts import load_script

DEFAULT_GIVE_UP_MS = 4 * 86_400_000
DEFAULT_DEAD_TTL_MS = 30 * 86_400_000
_UNREADABLE_LOOK_MS = 60_000
_log = get_log(__name__)


class CallbackLedger:
    """Callbacks not delivered yet.

    Args:
        redis: a client that decodes replies to text.
        give_up_ms: how long a callback is tried for that a person has brought back.
        dead_ttl_ms: how long one that was given up stays on record.
        seal: opens the bodies.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        give_up_ms: int = DEFAULT_GIVE_UP_MS,
        dead_ttl_ms: int = DEFAULT_DEAD_TTL_MS,
        seal: Seal = NO_SEAL,
    ) -> None:
        self._redis = redis
        self._seal = seal
        self._give_up_ms = give_up_ms
        self._dead_ttl_ms = dead_ttl_ms
        self._newer = NewerWork()
        self._claim = load_script(redis, "worker.ledger", "claim_callback")
        self._settle = load_script(redis, "worker.ledger", "settle_callback")
        self._park = load_script(redis, "worker.ledger", "park_callback")
        self._look_at_line = load_script(redis, "worker.ledger", "look_at_line")

    async def heads(self, webhook_ids: Sequence[str]) -> list[CallbackHead | Exception]:
        """What these are, in one pipeline. A head without a URL: it is settled. An error: its record is none."""
        pipeline = self._redis.pipeline(transaction=False)
        for webhook_id in webhook_ids:
            pipeline.hmget(callback_key(webhook_id), ["url", "host", "order_key", "checkout"])
        replies = await pipeline.execute(raise_on_error=False)
        return [
            reply if isinstance(reply, Exception) else _head(webhook_id, *reply)
            for webhook_id, reply in zip(webhook_ids, replies, strict=True)
        ]

    async def claim(
        self, webhook_id: str, host: str, *, token: str, lease_ms: int, is_sent: bool = True
    ) -> CallbackClaim | None:
        """Take the lease of a callback, or None where that cannot be: it is delivered, not due, another's, newer.

        Args:
            webhook_id: of the callback.
            host: its receiver.
            token: random, of this very claim.
            lease_ms: how long it is this owner's alone.
            is_sent: False where nothing will be sent: then no try is numbered.
        """
        reply = await self._claim(
            [callback_key(webhook_id), job_keys(job_of_webhook(webhook_id)).timetable, line_of(webhook_id, host)],
            [member_of(Lane.CALLBACK, webhook_id), token, lease_ms, self._give_up_ms, "" if is_sent else "1",
             CALLBACK.reads],
        )  # fmt: skip
        if reply[0] == "newer":
            self._newer.left(CALLBACK, webhook_id)
        if reply[0] != "claimed":
            return None
        _, tries, is_late, *flat = reply
        record = dict(zip(flat[::2], flat[1::2], strict=True))
        order_key = record.get("order_key", "")
        try:
            body = opened_value(self._seal, webhook_id, BODY, record["body"])
        except SealError as sealed:
            if not int(is_late):
                _log.error("callback cannot be read by this process", webhook_id=webhook_id, message=str(sealed))
                await self._park(*self._parking(webhook_id, host, token, _UNREADABLE_LOOK_MS))
                return None
            body = ""  # nothing will be sent of it
        return CallbackClaim(
            webhook_id=webhook_id,
            token=token,
            job_id=record["job_id"],
            url=record["url"],
            host=host,
            body=body,
            tries=int(tries),
            late_error=_late_error(record) if int(is_late) else "",
            order_name=order_name(host, order_key) if order_key else "",
            secret=record.get("secret", ""),
            log=record.get("log", ""),
            is_checkout="checkout" in record,
            trace=record.get("trace", ""),
        )

    async def delivered(self, claim: CallbackClaim) -> bool:
        """Forget a delivered callback and note it in its job. False if the lease was lost."""
        return await self._settled(claim, "delivered")

    async def again(self, claim: CallbackClaim, *, delay_ms: int, error: str, log: str = "[]") -> bool:
        """Put a failed try back into the timetable. False if the lease was lost."""
        return await self._settled(claim, "retry", delay_ms, error, log)

    async def dead(self, claim: CallbackClaim, *, error: str, log: str = "[]") -> bool:
        """Give a callback up; it stays on record. False if the lease was lost."""
        return await self._settled(claim, "dead", 0, error, log)

    async def _settled(
        self, claim: CallbackClaim, state: str, delay_ms: int = 0, error: str = "", log: str = "[]"
    ) -> bool:
        keys = job_keys(claim.job_id)
        line = line_of(claim.webhook_id, claim.host)
        status = await self._settle(
            [callback_key(claim.webhook_id), keys.timetable, keys.job, keys.dead_callbacks, line],
            [claim.token, member_of(Lane.CALLBACK, claim.webhook_id), state, delay_ms, error, log, self._dead_ttl_ms],
        )
        return bool(status)

    async def put_back(self, claim: CallbackClaim, *, look_ms: int | None) -> bool:
        """Give a claim back whose try was not made, and does not count. False if the lease was lost.

        Args:
            claim: of the callback.
            look_ms: until somebody looks at its receiver's line; None: it waits for its turn, in no line.
        """
        answer = await self._park(*self._parking(claim.webhook_id, claim.host, claim.token, look_ms))
        return bool(answer == "parked")

    async def let_wait(self, webhook_ids: Sequence[str], host: str, *, look_ms: int | None) -> list[str]:
        """Let callbacks wait that nobody has claimed, in one pipeline. As `put_back`.

        Returns:
            Those that are to be given up now.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for webhook_id in webhook_ids:
            await self._park(*self._parking(webhook_id, host, "", look_ms), client=pipeline)
        answers = await pipeline.execute()
        return [webhook_id for webhook_id, answer in zip(webhook_ids, answers, strict=True) if answer == "late"]

    def _parking(
        self, webhook_id: str, host: str, token: str, look_ms: int | None
    ) -> tuple[list[str], list[str | int]]:
        keys = [callback_key(webhook_id), job_keys(job_of_webhook(webhook_id)).timetable, line_of(webhook_id, host)]
        line_member = "" if look_ms is None else receiver_line_member(host)
        return keys, [member_of(Lane.CALLBACK, webhook_id), token, line_member, look_ms or 0, self._give_up_ms]

    async def line(self, host: str, most_per_partition: int) -> list[str]:
        """The webhook-ids in front of each partition's line of this receiver: checkouts', then who waited longest."""
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zrange(receiver_line_key(partition, host), 0, most_per_partition - 1)
        lines = await pipeline.execute()
        return [split_member(member)[1] for line in lines for member in line]

    async def look_at_lines(self, host: str, look_ms: Sequence[int]) -> int:
        """Say when somebody looks at this receiver's lines next. Returns how many wait in them.

        Args:
            host: the receiver.
            look_ms: for each partition. A line that is empty is not looked at.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            keys = [receiver_line_key(partition, host), timetable_key(partition)]
            await self._look_at_line(keys, [receiver_line_member(host), look_ms[partition]], client=pipeline)
        return sum(await pipeline.execute())


def _head(
    webhook_id: str, url: str | None, host: str | None, order_key: str | None, checkout: str | None
) -> CallbackHead:
    return CallbackHead(webhook_id, url or "", host or "", order_key or "", is_checkout=bool(checkout))


def _late_error(record: Mapping[str, str]) -> str:
    return "deadline" if record.get("deadline_at", "") == record.get("give_up_at") else "too_old"
