"""The bindings that our jobs made: found by their names, read, changed, told in the order in which they end.

A job that bound is its binding's record; its id is the binding's id. Beside the records each partition has a sorted set
of its bindings by the time of their end, and a hash that leads from digests of names to ids. Both are written by the
very script that writes the job's end (settle.lua). The record of such a job has no time to live of its own: it stays as
long as its binding is known, and is let go by the sweep, which so always finds the names to take out of the index.

Methods raise RedisError, or OSError, where Redis cannot be asked; `worker.redis_faults.asking` turns that into words.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.asyncio import Redis

from worker.domain.binding import BindingName, BindingStatus, BoundBinding
from worker.ledger.callback_records import flatten
from worker.ledger.index_walk import walk_by_score
from worker.ledger.job_views import is_bound_state
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key, bindings_key, job_keys
from worker.ledger.registration import all_digests_of, expires_at_of
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import opened_fields, sealed_json, sealed_pairs
from worker.redis_scripts import load_script

_ID_LENGTH = 26
_FIELDS = (
    "state", "subs_id", "phone_no_x", "request", "finished_at", "binding", "ended_at", "replaced_by"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BindingChange:
    """What a job did to a binding.

    Attributes:
        by: a word that tells this change of the binding from all others, such as the id of the job that made it.
        of_subs_id: the SubsId that the binding has; where it has another one by now, nothing is changed. Empty: any.
        status: active, unbound or replaced; None as it was. Active needs an Expiration among the parameters.
        replaced_by: the job whose binding came in its place.
        parameters: BindAxn's, by their wire names, that are others now; None: it has none any more.
        subs_id, phone_no_x: new ones, where it was bound anew; else empty.
        compared: the parameters as its maker saw them; where the binding has others by now, or is no longer active,
            nothing is changed. None: whatever they are.
    """

    by: str
    of_subs_id: str = ""
    status: BindingStatus | None = None
    replaced_by: str = ""
    parameters: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    subs_id: str = ""
    phone_no_x: str = ""
    compared: Mapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.status is BindingStatus.LAPSED:
            raise ValueError("status: a binding lapses by itself")
        if self.status is BindingStatus.ACTIVE and not self.expires_at:
            raise ValueError("parameters: an active binding needs an Expiration")

    @property
    def expires_at(self) -> int:
        """Unix ms of the new Expiration; 0 where it is as it was."""
        return expires_at_of({name: value for name, value in self.parameters.items() if value is not None})


@dataclass(frozen=True, slots=True)
class BindingCounts:
    """How many bindings are on record.

    Attributes:
        ended: unbound, replaced or lapsed, and not yet swept.
    """

    active: int
    ended: int


class Rescheduling(Protocol):
    """Who renews kept bindings: `worker.ledger.renewals`."""

    async def reschedule(self, binding_id: str) -> int | None:
        """Give its next renewal its time anew, or take it out."""


class BindingLedger:
    """What is known of bindings.

    Args:
        redis: a client that decodes replies to text.
        keep_ms: how long a binding stays known after its end.
        result_ttl_ms: how long a finished job's record stays, at least.
        renewals: told of each change of an end or a status.
        seal: of the numbers in Redis.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        keep_ms: int,
        result_ttl_ms: int,
        renewals: Rescheduling | None = None,
        seal: Seal = NO_SEAL,
    ) -> None:
        self.redis = redis
        self._seal = seal
        self._keep_ms = keep_ms
        self._result_ttl_ms = result_ttl_ms
        self._renewals = renewals
        self._change = load_script(redis, "worker.ledger", "change_binding")
        self._sweep = load_script(redis, "worker.ledger", "sweep_bindings")

    async def find(self, names: Sequence[BindingName]) -> list[list[str]]:
        """The ids of bindings with these names, in the names' order: one command per partition, in one pipeline.

        Of a name that more bindings share each partition knows its newest 32. An id may, once in an age, be of a
        binding with another name of the same digest: whoever acts on one reads it first, as `look_up` does.
        """
        if not names:
            return []
        digests_of_names = [all_digests_of(name, self._seal) for name in names]
        digests = [digest for digests in digests_of_names for digest in digests]
        pipeline = self.redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.hmget(binding_index_key(partition), digests)
        entries = await pipeline.execute()
        by_digest = {
            digest: [ids[at : at + _ID_LENGTH] for ids in of_digest if ids for at in range(0, len(ids), _ID_LENGTH)]
            for digest, of_digest in zip(digests, zip(*entries, strict=True), strict=True)
        }
        return [[id_ for digest in digests for id_ in by_digest[digest]] for digests in digests_of_names]

    async def look_up(self, names: Sequence[BindingName]) -> list[list[BoundBinding]]:
        """The bindings with these names, ended ones too, in the names' order; those of one name oldest first."""
        found = await self.find(names)
        every_id = list(dict.fromkeys(id_ for ids in found for id_ in ids))
        read = dict(zip(every_id, await self.read(every_id), strict=True))
        with_names = []
        for name, ids in zip(names, found, strict=True):
            bindings = [binding for id_ in ids if (binding := read[id_]) is not None and name in binding.names]
            with_names.append(sorted(bindings, key=lambda binding: (binding.bound_at, binding.binding_id)))
        return with_names

    async def read(self, binding_ids: Sequence[str]) -> list[BoundBinding | None]:
        """These bindings, in one pipeline; None for a job that has none, or no record any more."""
        if not binding_ids:
            return []
        pipeline: Any = self.redis.pipeline(transaction=False)
        pipeline.time()
        for binding_id in binding_ids:
            pipeline.hmget(job_keys(binding_id).job, _FIELDS)
        (seconds, micros), *replies = await pipeline.execute()
        now_ms = seconds * 1000 + micros // 1000
        return [
            _binding_in(binding_id, opened_fields(self._seal, binding_id, _FIELDS, reply), now_ms)
            for binding_id, reply in zip(binding_ids, replies, strict=True)
        ]

    async def change(self, binding_id: str, change: BindingChange) -> bool:
        """Write a change, once, however often it is told; its maker holds the binding's place in `BindingQueue`.

        Returns:
            False where there is no such binding (any more), its record cannot be read, or it is another one than was
            compared: nothing was written.
        """
        keys = job_keys(binding_id)
        fields = {"subs_id": change.subs_id, "phone_no_x": change.phone_no_x}
        compared = "" if change.compared is None else await self._stored_as(binding_id, change.compared)
        if compared is None:
            return False
        parameters = json.dumps(dict(change.parameters), ensure_ascii=False, separators=(",", ":"))
        status = await self._change(
            [keys.job, keys.bindings, keys.binding_index],
            [
                binding_id,
                change.by,
                change.of_subs_id,
                change.status.value if change.status else "",
                change.replaced_by,
                change.expires_at or "",
                sealed_json(self._seal, binding_id, "request", parameters),
                compared,
                *sealed_pairs(
                    self._seal, binding_id, flatten((name, value) for name, value in fields.items() if value)
                ),
            ],
        )
        is_changed = int(status) > 0
        if is_changed and self._renewals is not None and (change.status or change.expires_at):
            await self._renewals.reschedule(binding_id)
        return is_changed

    async def _stored_as(self, binding_id: str, parameters: Mapping[str, str]) -> str | None:
        """The text that a binding's parameters are stored as, sealed or not; None where they are others."""
        client: Any = self.redis
        text: str | None = await client.hget(job_keys(binding_id).job, "request")
        opened = opened_fields(self._seal, binding_id, ("request",), [text])["request"]
        try:
            return text if json.loads(opened or "") == dict(parameters) else None
        except ValueError:
            return None

    async def sweep(self, most_per_partition: int = 100) -> tuple[int, bool]:
        """Forget bindings that ended longer ago than they stay known.

        Args:
            most_per_partition: bounds how long Redis is kept busy by one script.

        Returns:
            How many were forgotten, and whether there may be more of them.
        """
        until_ms = await self._now_ms() - self._keep_ms
        client: Any = self.redis
        pipeline = client.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zrange(bindings_key(partition), "-inf", until_ms, byscore=True, offset=0, num=most_per_partition)
        due: list[list[str]] = await pipeline.execute()
        pipeline = client.pipeline(transaction=False)
        for partition, ids in enumerate(due):
            if ids:
                keys = [bindings_key(partition), binding_index_key(partition), *(job_keys(id_).job for id_ in ids)]
                await self._sweep(keys, [self._keep_ms, self._result_ttl_ms, *ids], client=pipeline)
        forgotten = sum(await pipeline.execute())
        return forgotten, any(len(ids) == most_per_partition for ids in due)

    async def sweep_some(self) -> bool:
        """One bounded piece of sweeping. Whether more waits to be swept."""
        _, is_more = await self.sweep()
        return is_more

    async def expiring_before(self, until_ms: int, *, since_ms: int | None = None) -> AsyncGenerator[str, None]:
        """Ids of the bindings whose end comes up to this time, the next one first, page by page.

        Args:
            until_ms: Unix ms.
            since_ms: where to go on; None: from now on, so that all of them are active. A binding that ended stands at
                the time of its end.
        """
        since_ms = await self._now_ms() + 1 if since_ms is None else since_ms
        keys = [bindings_key(partition) for partition in ALL_PARTITIONS]
        async for binding_id, _ in walk_by_score(
            self.redis, keys, is_newest_first=False, since=since_ms, until=until_ms
        ):
            yield binding_id

    async def expiring_in(self, partition: int, until_ms: int, *, since_ms: int, most: int) -> list[tuple[str, int]]:
        """Ids and ends of one partition's bindings that end between these times, the next one first."""
        client: Any = self.redis
        found: list[tuple[str, float]] = await client.zrange(
            bindings_key(partition), since_ms, until_ms, byscore=True, offset=0, num=most, withscores=True
        )
        return [(binding_id, int(ends_at)) for binding_id, ends_at in found]

    async def count(self) -> BindingCounts:
        """How many there are."""
        now_ms = await self._now_ms()
        pipeline = self.redis.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            pipeline.zcount(bindings_key(partition), f"({now_ms}", "+inf")
            pipeline.zcard(bindings_key(partition))
        counts = await pipeline.execute()
        active, all_ = sum(counts[::2]), sum(counts[1::2])
        return BindingCounts(active, all_ - active)

    async def _now_ms(self) -> int:
        client: Any = self.redis
        seconds, micros = await client.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _binding_in(binding_id: str, record: Mapping[str, str | None], now_ms: int) -> BoundBinding | None:
    if not is_bound_state(record["state"] or ""):
        return None
    try:
        parameters = json.loads(record["request"] or "{}")
    except ValueError:  # its names are gone, what else is known of it is not
        parameters = {}
    expires_at = expires_at_of(parameters)
    status = BindingStatus(record["binding"] or BindingStatus.ACTIVE)
    if status is BindingStatus.ACTIVE and 0 < expires_at <= now_ms:
        status = BindingStatus.LAPSED
    return BoundBinding(
        binding_id=binding_id,
        subs_id=record["subs_id"] or "",
        phone_no_x=record["phone_no_x"] or "",
        status=status,
        expires_at=expires_at,
        bound_at=int(record["finished_at"] or 0),
        ended_at=int(record["ended_at"] or 0),
        replaced_by=record["replaced_by"] or "",
        parameters=parameters,
    )
