"""One callback at a time, in order, for each order key of a receiver.

A callback gets its place right *before* the end that owes it is written, so that no later end can overtake it in
between. The order's line stands in a partition of its own, not in those of its jobs: a place whose end was never
written, or whose callback is settled already, is taken out by whoever finds it at the head. The line has one entry in
the timetable, so that somebody always does.
"""

from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from worker.domain.job import JobState
from worker.ledger.callback_records import OwedCallback
from worker.ledger.keys import callback_key, job_keys, job_of_webhook, order_keys, order_member
from worker.redis_scripts import load_script

_IDLE_LOOK_MS = 600_000


class CallbackOrder:
    """The lines of all order keys.

    Args:
        redis: a client that decodes replies to text.
        look_ms: how long after a step somebody looks whether the next one was made: longer than any try takes.
    """

    def __init__(self, redis: Redis, *, look_ms: int) -> None:
        self._redis = redis
        self._look_ms = look_ms
        self._enter = load_script(redis, "worker.ledger", "enter_order")
        self._leave = load_script(redis, "worker.ledger", "leave_order")
        self._look_at_line = load_script(redis, "worker.ledger", "look_at_line")

    async def enter(self, name: str, webhook_id: str) -> str:
        """Take a place, once. Returns who is at the head."""
        head: str = await self._enter(order_keys(name), [webhook_id, order_member(name), self._look_ms])
        return head

    async def settling(self, callback: OwedCallback | None, write: Callable[[], Awaitable[bool]]) -> bool:
        """Write an end, with the place of the callback that it owes, if that has an order.

        The place comes first: an end that is written later must not overtake this one in between. One that was not
        written after all gives it back.

        Args:
            callback: that the end owes, if any.
            write: writes the end; whether it was written.
        """
        if callback is None or not callback.order_name:
            return await write()
        await self.enter(callback.order_name, callback.webhook_id)
        is_written = await write()
        if not is_written:
            await self.leave(callback.order_name, callback.webhook_id, is_withdrawn=True)
        return is_written

    async def leave(self, name: str, webhook_id: str, *, is_withdrawn: bool = False) -> str:
        """Give the place back.

        Args:
            name: of the order.
            webhook_id: whose place.
            is_withdrawn: the caller will not see to the next one: the timetable does, now.

        Returns:
            Who is at the head now, or an empty text.
        """
        look_ms = 0 if is_withdrawn else self._look_ms
        head: str = await self._leave(order_keys(name), [webhook_id, order_member(name), look_ms])
        return head

    async def head(self, name: str) -> str:
        """Whose turn it is; empty where nobody waits."""
        heads = await self._redis.zrange(order_keys(name)[0], 0, 0)
        return str(heads[0]) if heads else ""

    async def has_turn(self, name: str, webhook_id: str) -> bool:
        """Whether this one may be tried now; so, too, where it has no place: a person has brought it back."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.zrange(order_keys(name)[0], 0, 0)
        pipeline.zscore(order_keys(name)[0], webhook_id)
        heads, place = await pipeline.execute()
        return place is None or heads == [webhook_id]

    async def look_again(self, name: str, *, is_idle: bool) -> int:
        """Say when somebody looks at the line next; not at all where it is empty.

        Args:
            name: of the order.
            is_idle: the timetable has an entry for the head itself, or it waits in its receiver's line.
        """
        look_ms = _IDLE_LOOK_MS if is_idle else self._look_ms
        waiting: int = await self._look_at_line(order_keys(name), [order_member(name), look_ms])
        return waiting

    async def is_void(self, webhook_id: str) -> bool:
        """Whether this place is nobody's: its callback is settled, or was never written and never will be."""
        job_id = job_of_webhook(webhook_id)
        pipeline = self._redis.pipeline(transaction=False)
        # In this sequence: an end that is seen has written its callback before.
        pipeline.hmget(job_keys(job_id).job, ["state", "fence"])
        pipeline.hget(callback_key(webhook_id), "state")
        (job_state, fence), state = await pipeline.execute()
        if state is not None and state != "dead":
            return False
        return not (job_state == JobState.SUBMITTING and webhook_id == f"{job_id}-{fence}")
