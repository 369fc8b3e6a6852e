"""Orders that were closed, remembered for the binds of them that are still on their way.

A bind may stand in any partition, so a close is written into all of them; whichever script ends the bind (settle.lua)
then sees it in the same step: the binding is registered before the close, which finds it, or after, when it is found
closed. A sorted set per partition and 4096th of the digests: small ones are packed, which takes a third of the memory.

Methods raise RedisError, or OSError, where Redis cannot be asked; `worker.redis_faults.asking` turns that into words.
"""

import hashlib
from typing import Any

from redis.asyncio import Redis

from worker.ledger.keys import ALL_PARTITIONS, VERSION, partition_tag
from worker.redis_scripts import load_script

LEAST_KEEP_MS = 7 * 86_400_000
"""A batch may wait for its hours, and a doubt for a person, however short finished records stay."""
_DIGEST_BYTES = 12
"""96 bits: two orders never share one."""


def order_digest(out_order_id: str) -> str:
    """What an order is called among the closed ones."""
    return hashlib.blake2s(out_order_id.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def closed_orders_key(partition: int, digest: str) -> str:
    """Sorted set: digest of a closed order -> Unix ms of the close; see close_order.lua."""
    return f"{VERSION}:{partition_tag(partition)}:closed_orders:{digest[:3]}"


class ClosedOrders:
    """Remembers them.

    Args:
        redis: a client that decodes replies to text.
        keep_ms: how long, at least; never less than `LEAST_KEEP_MS`.
    """

    def __init__(self, redis: Redis, *, keep_ms: int) -> None:
        self._redis = redis
        self._keep_ms = max(keep_ms, LEAST_KEEP_MS)
        self._close = load_script(redis, "worker.ledger", "close_order")

    async def remember(self, out_order_id: str, *, unbind: bool) -> None:
        """Say in all partitions that an order is closed, and whether its bindings are to be ended.

        It concerns the binds that were asked for up to this moment, by Redis's clock in whole ms.
        """
        digest = order_digest(out_order_id)
        pipeline: Any = self._redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            keys = [closed_orders_key(partition, digest)]
            await self._close(keys, [digest, int(unbind), self._keep_ms], client=pipeline)
        await pipeline.execute()
