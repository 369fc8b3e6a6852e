"""The keys of renewals: what must be renewed, and when, in the partitions of the bindings."""

from typing import Any

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.ledger.keys import VERSION, job_keys, member_of, partition_tag
from worker.messages import RENEWAL_MARK


def renewals_key(partition: int) -> str:
    """Sorted set: binding id -> Unix ms at which it is to be renewed, or looked at again."""
    return f"{VERSION}:{partition_tag(partition)}:renewals"


def renewals_due_key(partition: int) -> str:
    """Sorted set: id of a binding whose time has come -> Unix ms of its end, so that the first to end goes first."""
    return f"{VERSION}:{partition_tag(partition)}:renewals_due"


def renewals_failing_key(partition: int) -> str:
    """Hash: id of a binding whose last try of a renewal failed -> the code."""
    return f"{VERSION}:{partition_tag(partition)}:renewals_failing"


def renewals_lease_key(partition: int) -> str:
    """Text: token of the session that renews this partition's bindings; ends with its lease."""
    return f"{VERSION}:{partition_tag(partition)}:renewals_lease"


def expiry_check_key(account: str) -> str:
    """Hash: whether this account's ExpireDate reads as what was set."""
    return f"{VERSION}:{{renewals}}:expiry_check:{account}"


def expiry_checker_key(account: str) -> str:
    """Text: token of who finds that out just now; ends with its lease."""
    return f"{expiry_check_key(account)}:checker"


def renewal_id(partition: int) -> str:
    """What stands for a partition's renewals in messages."""
    return f"{RENEWAL_MARK}{partition:02d}"


def renewal_member(partition: int) -> str:
    """The timetable's member that stands for them."""
    return member_of(Lane.RENEWAL, renewal_id(partition))


def partition_of_renewal_id(id_: str) -> int:
    """The partition that `renewal_id` names.

    Raises:
        ValueError: it names none.
    """
    return int(id_.removeprefix(RENEWAL_MARK))


def renewal_holder(binding_id: str) -> str:
    """A renewal's name in `BindingQueue`, where jobs stand under their ids."""
    return f"{RENEWAL_MARK}{binding_id}"


async def is_renewal_over(redis: Redis, holder: str) -> bool:
    """Whether no request of this renewal can be under way any more: its process has settled it, or died long ago."""
    pipeline: Any = redis.pipeline(transaction=False)
    pipeline.hget(job_keys(holder.removeprefix(RENEWAL_MARK)).job, "renewing_until")
    pipeline.time()
    until_ms, (seconds, micros) = await pipeline.execute()
    return int(until_ms or 0) <= int(seconds) * 1000 + int(micros) // 1000
