"""The bindings that are kept: which are to be renewed next, and what became of each renewal.

All of a binding stands in its own partition. `renewals` has every kept binding by the time at which it is to be renewed
or looked at again; when that has come it is moved to `renewals_due`, which has them by their end, so that under
pressure the first to end goes first. One session at a time works on a partition, under a lease by Redis's clock; the
timetable has an entry for each partition that has kept bindings, so that a session which dies is replaced.

Methods raise RedisError, or OSError, where Redis cannot be asked; `worker.redis_faults.asking` turns that into words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from worker.domain.job_ids import partition_of
from worker.domain.renewal import DEFAULT_SPREAD, RenewalPolicy, due_at
from worker.ledger.callback_order import CallbackOrder
from worker.ledger.callback_records import OwedCallback, flatten
from worker.ledger.callbacks import DEFAULT_GIVE_UP_MS
from worker.ledger.keeping import Keeping
from worker.ledger.kept_binding import CLOSED, FIELDS, UNBIND, KeptBinding, kept_binding
from worker.ledger.keys import bindings_key, callback_key, job_keys, timetable_key
from worker.ledger.renewal_keys import (
    renewal_member,
    renewals_due_key,
    renewals_failing_key,
    renewals_key,
    renewals_lease_key,
)
from worker.provider.nonce import new_seed
from worker.redis_scripts import load_script

_LEASED = -1


@dataclass(frozen=True, slots=True)
class Taken:
    """What a session is told.

    Attributes:
        leased_ms: another session has the partition for so long; 0: it is this one's.
        now_ms: Redis's clock, Unix ms.
        is_more: the time of more bindings has come than were looked at.
        strays: entries whose time has come, of no binding on record.
        due: bindings to be renewed, first to end first.
    """

    leased_ms: int
    now_ms: int = 0
    is_more: bool = False
    strays: Sequence[str] = ()
    due: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a binding belongs.

    Attributes:
        at_ms: its end, where it is to be renewed now; the next look, where it is put off; 0: it is kept no more.
    """

    binding_id: str
    is_due: bool
    at_ms: int

    @property
    def triple(self) -> tuple[str, str, int]:
        """As sort_renewals.lua takes it."""
        return self.binding_id, "due" if self.is_due else "later", self.at_ms


@dataclass(frozen=True, slots=True)
class RenewalEnd:
    """What a renewal, or a step on the way to a new binding, came to.

    Attributes:
        next_at: Unix ms of the next look; None: never.
        expiration: the binding's new end, as on the wire; empty as it was. `expires_at` is the same in Unix ms.
        code: of what is failing; empty for nothing.
        status: lapsed or replaced; empty as it was.
        what: a line of its history; empty for none.
        is_unclear: the request may still be under way: nobody else may change the binding until it can no longer be.
        fields: of the record; an empty one goes.
        callback: that it owes.
    """

    next_at: int | None
    expiration: str = ""
    expires_at: int = 0
    code: str = ""
    status: str = ""
    what: str = ""
    is_unclear: bool = False
    fields: Mapping[str, str | int] = field(default_factory=dict)
    callback: OwedCallback | None = None


class Renewals:
    """Reads and moves kept bindings.

    Args:
        redis: a client that decodes replies to text.
        spread: as `Keeping` takes it.
        give_up_ms: after which a callback is given up in any case.
        order_look_ms: as `Ledger` takes it.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        spread: float = DEFAULT_SPREAD,
        give_up_ms: int = DEFAULT_GIVE_UP_MS,
        order_look_ms: int = 30_000,
    ) -> None:
        self.redis = redis
        self.spread = spread
        self._give_up_ms = give_up_ms
        self._keeping = Keeping(redis, spread=spread)
        self._order = CallbackOrder(redis, look_ms=order_look_ms)
        self._take = load_script(redis, "worker.ledger", "take_renewals")
        self._sort = load_script(redis, "worker.ledger", "sort_renewals")
        self._rest = load_script(redis, "worker.ledger", "rest_renewals")
        self._begin = load_script(redis, "worker.ledger", "begin_renewal")
        self._settle = load_script(redis, "worker.ledger", "settle_renewal")
        self._close = load_script(redis, "worker.ledger", "close_renewal")
        self._keep = load_script(redis, "worker.ledger", "keep_binding")
        self._inherit = load_script(redis, "worker.ledger", "inherit_callback")

    # --- A partition's session ---

    async def take(self, partition: int, *, token: str, lease_ms: int, most_come: int, most_due: int) -> Taken:
        """Take or lengthen the lease of a partition, move what has come due, and learn what is to be done."""
        reply: list[Any] = await self._take(
            [
                renewals_lease_key(partition),
                renewals_key(partition),
                renewals_due_key(partition),
                timetable_key(partition),
                bindings_key(partition),
            ],
            [token, lease_ms, renewal_member(partition), most_come, most_due],
        )
        if int(reply[0]) == _LEASED:
            return Taken(int(reply[1]))
        now_ms, is_more, strays = map(int, reply[:3])
        return Taken(0, now_ms, bool(is_more), reply[3 : 3 + strays], reply[3 + strays :])

    async def sort(self, partition: int, places: Sequence[Place]) -> None:
        """Put bindings that were taken where they belong."""
        moved = [part for place in places if place.at_ms for part in place.triple]
        if moved:
            await self._sort([renewals_key(partition), renewals_due_key(partition)], moved)
        for place in places:
            if not place.at_ms:
                await self._keeping.expect(place.binding_id, None)

    async def rest(self, partition: int, *, token: str) -> int:
        """Give the lease back. Returns Unix ms of the next look; 0: nothing is kept here; -1: it was another's."""
        keys = [
            renewals_lease_key(partition),
            renewals_key(partition),
            renewals_due_key(partition),
            timetable_key(partition),
        ]
        look: int = await self._rest(keys, [token, renewal_member(partition)])
        return look

    # --- One binding ---

    async def read(self, binding_ids: Sequence[str]) -> list[KeptBinding | str]:
        """These bindings in one pipeline, or why they are none: `NOT_KEPT`, `NOT_YET` or `NEWER`."""
        now_ms, records = await self._records(binding_ids)
        return [
            kept_binding(binding_id, record, now_ms) for binding_id, record in zip(binding_ids, records, strict=True)
        ]

    async def _records(self, binding_ids: Sequence[str]) -> tuple[int, list[dict[str, str | None]]]:
        """Redis's clock in Unix ms, and the fields of these records."""
        pipeline: Any = self.redis.pipeline(transaction=False)
        pipeline.time()
        for binding_id in binding_ids:
            pipeline.hmget(job_keys(binding_id).job, FIELDS)
        (seconds, micros), *replies = await pipeline.execute()
        records = [dict(zip(FIELDS, reply, strict=True)) for reply in replies]
        return int(seconds) * 1000 + int(micros) // 1000, records

    async def begin(self, kept: KeptBinding, *, token: str, hold_ms: int, target: int) -> int:
        """Say that the renewal is about to be sent, and may be under way for `hold_ms`.

        Returns:
            1 go on; 0 the binding is another one by now than was read; -1 another session's may be under way.
        """
        keys = [job_keys(kept.binding_id).job]
        status: int = await self._begin(keys, [kept.number, kept.expiration, token, hold_ms, target])
        return status

    async def settle(self, kept: KeptBinding, end: RenewalEnd) -> bool:
        """Write what became of it, with the callback it owes.

        Returns:
            False where the binding is another one by now than was read: nothing was written.
        """
        return await self._order.settling(end.callback, lambda: self._settle_now(kept, end))

    async def _settle_now(self, kept: KeptBinding, end: RenewalEnd) -> bool:
        partition, keys, callback = partition_of(kept.binding_id), job_keys(kept.binding_id), end.callback
        fields = flatten(end.fields.items())
        status: int = await self._settle(
            [
                keys.job,
                renewals_key(partition),
                renewals_due_key(partition),
                renewals_failing_key(partition),
                bindings_key(partition),
                keys.timetable,
                callback_key(callback.webhook_id) if callback else keys.job,
                callback.line_key if callback else keys.job,
            ],
            [
                kept.binding_id,
                kept.number,
                kept.step,
                "" if end.next_at is None else end.next_at,
                renewal_member(partition),
                end.expiration,
                end.expires_at,
                end.code,
                end.status,
                end.what,
                *((callback.member, self._give_up_ms) if callback else ("", 0)),
                *((callback.deadline_at, callback.line_member) if callback else (0, "")),
                int(end.is_unclear),
                len(fields),
                *fields,
                *(callback.pairs(kept.binding_id) if callback else ()),
            ],
        )
        return bool(status)

    async def reschedule(self, binding_id: str) -> int | None:
        """Give the next renewal its time anew: after the end was changed by hand, or the binding was ended.

        Returns:
            Unix ms at which it is due; None: never, it is not kept (any more).
        """
        (kept,) = await self.read([binding_id])
        if isinstance(kept, str):
            return None
        is_kept = kept.is_active and not kept.is_closed and not kept.step
        due = due_at(kept.policy, binding_id, kept.expires_at, kept.read_at, self.spread) if is_kept else None
        if not kept.step:  # on the way to a new binding somebody looks at it soon in any case
            await self._keeping.expect(binding_id, due)
        return due

    async def keep(self, binding_id: str, policy: RenewalPolicy) -> int | None:
        """Keep a binding from now on, by this policy: one that was adopted, or that had none, or another one.

        Args:
            binding_id: of a binding on record, whose Expiration is ahead.
            policy: begun or not; what it leaves open follows from the time that is left.

        Returns:
            Unix ms at which it is to be renewed; None: never, its policy has ended, or it is no active binding.
        """
        now_ms, (record,) = await self._records([binding_id])
        seed = new_seed()
        kept = kept_binding(binding_id, record | {"renew": policy.as_json(), "renew_seed": seed}, now_ms)
        if isinstance(kept, str) or not kept.is_active or kept.expires_at <= now_ms:
            return None
        begun = policy.begun(now_ms, kept.expires_at)
        await self._keep([job_keys(binding_id).job], [begun.as_json(), seed])
        return await self.reschedule(binding_id)

    async def close(self, binding_id: str, *, unbind: bool = False) -> bool:
        """End `while: open` for a binding: no further renewal.

        Args:
            binding_id: whose.
            unbind: should it be on the way to being bound anew, what comes in its place is unbound. Itself is not.

        Returns:
            Whether it is kept while its order is open, or was.
        """
        partition = partition_of(binding_id)
        status: int = await self._close(
            [
                job_keys(binding_id).job,
                renewals_key(partition),
                renewals_due_key(partition),
                renewals_failing_key(partition),
            ],
            [binding_id, UNBIND if unbind else CLOSED],
        )
        return bool(status)

    async def inherit(self, new_binding_id: str, old: KeptBinding) -> None:
        """Let a binding that was made in place of another tell those who were to hear of that one."""
        told = {
            "replaces": old.binding_id,
            "callback_url": old.callback_url,
            "callback_secret_name": old.callback_secret_name,
            **old.callback.fields(),
        }
        fields = flatten((name, value) for name, value in told.items() if value)
        await self._inherit([job_keys(new_binding_id).job], fields)
