"""Bindings that were made elsewhere: taken into the registry, and any binding taken out of it.

Methods raise RedisError, or OSError, where Redis cannot be asked; `worker.redis_faults.asking` turns that into words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from redis.asyncio import Redis

from worker.domain.binding import names_of
from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.ledger.callback_records import NO_WISHES, CallbackWishes, flatten
from worker.ledger.keys import job_keys
from worker.ledger.records import NewJob
from worker.ledger.registration import digests_of, expires_at_of
from worker.ledger.renewal_keys import renewals_due_key, renewals_failing_key, renewals_key
from worker.ledger.seal import NO_SEAL, Seal
from worker.ledger.sealed_records import sealed_pairs
from worker.redis_scripts import load_script


def adopted_id(account: str, subs_id: str) -> str:
    """The id of a binding that is adopted: the same, however often and from whichever file it is."""
    return job_id_for_key(f"adopted\x1f{account}\x1f{subs_id}")


@dataclass(frozen=True, slots=True)
class FoundBinding:
    """A binding as the provider tells of it.

    Attributes:
        binding_id: see `adopted_id`.
        parameters: those of BindAxn that would have made it, with its Expiration.
        adopted_by: who takes it in.
        callback_url: where its renewals are told; else empty.
    """

    binding_id: str
    subs_id: str
    phone_no_x: str
    parameters: Mapping[str, str] = field(repr=False)
    adopted_by: str
    callback_url: str = ""
    callback_secret_name: str = ""
    callback: CallbackWishes = NO_WISHES


class AdoptedBindings:
    """Takes bindings in and out.

    Args:
        redis: a client that decodes replies to text.
        result_ttl_ms: how long a finished job's record stays.
        seal: of the numbers in Redis.
    """

    def __init__(self, redis: Redis, *, result_ttl_ms: int, seal: Seal = NO_SEAL) -> None:
        self._seal = seal
        self._result_ttl_ms = result_ttl_ms
        self._adopt = load_script(redis, "worker.ledger", "adopt_binding")
        self._forget = load_script(redis, "worker.ledger", "forget_binding")

    async def adopt(self, found: FoundBinding) -> bool:
        """Take a binding in. False where there is a record of its id already: nothing was written.

        Raises:
            ValueError: its Expiration cannot be read.
        """
        expires_at = expires_at_of(found.parameters)
        if not expires_at:
            raise ValueError("parameters: a binding without an Expiration cannot be adopted")
        record = NewJob(
            job_id=found.binding_id,
            lane=Lane.BATCH,
            parameters=found.parameters,
            digest="",
            seed="",
            callback_url=found.callback_url,
            callback_secret_name=found.callback_secret_name,
            callback=found.callback,
        )
        more = {"subs_id": found.subs_id, "phone_no_x": found.phone_no_x, "adopted_by": found.adopted_by}
        names = names_of(found.subs_id, found.phone_no_x, found.parameters)
        keys = job_keys(found.binding_id)
        pairs = sealed_pairs(self._seal, found.binding_id, [*record.pairs(), *flatten(more.items())])
        status = await self._adopt(
            [keys.job, keys.bindings, keys.binding_index],
            [found.binding_id, expires_at, digests_of(names, self._seal), *pairs],
        )
        return bool(status)

    async def forget(self, binding_id: str) -> bool:
        """Take a binding out, whoever made it: nobody renews it any more. At the provider it stays as it is.

        Returns:
            False where it is not in the registry.
        """
        keys, partition = job_keys(binding_id), partition_of(binding_id)
        status = await self._forget(
            [
                keys.job,
                keys.bindings,
                keys.binding_index,
                renewals_key(partition),
                renewals_due_key(partition),
                renewals_failing_key(partition),
            ],
            [binding_id, self._result_ttl_ms],
        )
        return bool(status)
