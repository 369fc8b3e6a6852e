"""The ledger's keys.

Each stands in one of sixteen partitions, chosen by the job id and written as a hash tag, so that every script touches
one slot of a Redis Cluster. `axn1` is the version of what the keys hold.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from worker.domain.callback_secret import SecretOwner
from worker.domain.job import Lane
from worker.domain.job_ids import PARTITION_COUNT, partition_of
from worker.messages import LINE_MARK, ORDER_MARK

VERSION = "axn1"


_TAGS = tuple(f"{{p{partition:02d}}}" for partition in range(PARTITION_COUNT))


def partition_tag(partition: int) -> str:
    """`{p00}` to `{p15}`."""
    return _TAGS[partition]


def timetable_key(partition: int) -> str:
    """Sorted set: member -> Unix ms of the next look."""
    return f"{VERSION}:{partition_tag(partition)}:timetable"


def audit_key(partition: int) -> str:
    """Stream: what people did to jobs."""
    return f"{VERSION}:{partition_tag(partition)}:audit"


def dead_callbacks_key(partition: int) -> str:
    """Sorted set: timetable member of a callback that was given up -> Unix ms of that."""
    return f"{VERSION}:{partition_tag(partition)}:dead_callbacks"


def index_keys(partition: int) -> tuple[str, str]:
    """Sorted sets of the jobs in doubt, and of those that failed: timetable member -> Unix ms of that."""
    prefix = f"{VERSION}:{partition_tag(partition)}"
    return f"{prefix}:in_doubt", f"{prefix}:failed"


def bindings_key(partition: int) -> str:
    """Sorted set: id of a job that bound -> Unix ms at which its binding ends, or has ended."""
    return f"{VERSION}:{partition_tag(partition)}:bindings"


def binding_index_key(partition: int) -> str:
    """Hash: digest of a binding's name -> ids of the jobs that bound, run together, newest last."""
    return f"{VERSION}:{partition_tag(partition)}:binding_index"


ALL_PARTITIONS = range(PARTITION_COUNT)


@dataclass(frozen=True, slots=True)
class JobKeys:
    """The keys of one job and of its partition."""

    job: str
    timetable: str
    in_doubt: str
    failed: str
    audit: str
    dead_callbacks: str
    ended_channel: str
    bindings: str
    binding_index: str


@lru_cache(maxsize=1_024)
def job_keys(job_id: str) -> JobKeys:
    """Keys of this job."""
    partition = partition_of(job_id)
    prefix = f"{VERSION}:{partition_tag(partition)}"
    in_doubt, failed = index_keys(partition)
    return JobKeys(
        job=f"{prefix}:job:{job_id}",
        timetable=timetable_key(partition),
        in_doubt=in_doubt,
        failed=failed,
        audit=audit_key(partition),
        dead_callbacks=dead_callbacks_key(partition),
        ended_channel=f"{prefix}:ended:{job_id}",
        bindings=bindings_key(partition),
        binding_index=binding_index_key(partition),
    )


def durability_marker_key(job_id: str) -> str:
    """A key of the job's partition that means nothing: see `worker.ledger.durable`."""
    return f"{VERSION}:{partition_tag(partition_of(job_id))}:durability"


def callback_key(webhook_id: str) -> str:
    """Hash of one callback that is not delivered yet, in its job's partition."""
    return f"{VERSION}:{partition_tag(partition_of(job_of_webhook(webhook_id)))}:callback:{webhook_id}"


def receiver_line_key(partition: int, host: str) -> str:
    """Sorted set: timetable members of the callbacks that wait for this receiver -> Unix ms since when."""
    return f"{VERSION}:{partition_tag(partition)}:line:{host}"


def receiver_line_member(host: str) -> str:
    """The timetable's member that stands for all who wait in a receiver's line of the same partition."""
    return member_of(Lane.CALLBACK, f"{LINE_MARK}{host}")


def receiver_key(host: str) -> str:
    """Hash: whether a receiver is disabled, and its circuit."""
    return f"{VERSION}:{{receiver:{host}}}"


def replays_key(host: str) -> str:
    """Text: Unix ms of the first moment that no replay to this receiver has taken. Gone once it has passed."""
    return f"{receiver_key(host)}:replays"


def receiver_places_key(host: str) -> str:
    """Hash: how many tries at a receiver each worker process may make at a time. In the slot of `receiver_key`."""
    return f"{receiver_key(host)}:places"


def order_name(host: str, order_key: str) -> str:
    """What a receiver's order key is called in keys and messages: they hold no words of the producers."""
    return hashlib.blake2s(f"{host}\0{order_key}".encode(), digest_size=16).hexdigest()


def order_keys(name: str) -> tuple[str, str]:
    """The line of an order key (sorted set: webhook-id -> place), and the timetable of its partition."""
    partition = partition_of(name)
    return f"{VERSION}:{partition_tag(partition)}:order:{name}", timetable_key(partition)


def order_member(name: str) -> str:
    """The timetable's member that stands for an order key's line."""
    return member_of(Lane.CALLBACK, f"{ORDER_MARK}{name}")


PROGRESS_KEY = f"{VERSION}:progress"
"""Hash: lane -> Unix ms at which the newest of its messages that a worker has taken up was published."""


def webhook_id_of(job_id: str, fence: int) -> str:
    """The `webhook-id` of the event that a claim of this job produced: a claim ends in one event at most."""
    return f"{job_id}-{fence}"


def orphan_webhook_id(job_id: str, subs_id: str) -> str:
    """The `webhook-id` of the event that tells of an orphan: one per orphan."""
    return f"{job_id}-orphan-{subs_id}"


def job_of_webhook(webhook_id: str) -> str:
    """The job that a webhook-id belongs to."""
    return webhook_id.partition("-")[0]


def member_of(lane: Lane, id_: str) -> str:
    """A timetable member: the lane on whose queue the id is published when its time comes, and the id."""
    return f"{lane.value}:{id_}"


def split_member(member: str) -> tuple[Lane, str]:
    """Lane and id of a timetable member."""
    lane, _, id_ = member.partition(":")
    return Lane(lane), id_


CALLBACK_SECRETS_KEY = f"{VERSION}:{{callback_secrets}}"
"""Set: all hosts and names that have keys of their own, in the slot of their hashes."""


def callback_secret_key(owner: SecretOwner) -> str:
    """Hash: the keys of a receiver host or a named secret."""
    return f"{CALLBACK_SECRETS_KEY}:{owner}"
