"""The moment a binding is made that is to be kept: its policy begins, and its first renewal gets its time.

The time is written just before the end of the job that makes the binding, so that no binding can be there without one.
Should the end never be written, whoever looks at the time finds no binding and takes it out.
"""

import dataclasses
from typing import Any

from redis.asyncio import Redis

from worker.domain.job import JobKind
from worker.domain.job_ids import partition_of
from worker.domain.renewal import DEFAULT_SPREAD, RenewalPolicy, due_at
from worker.ledger.keys import job_keys, timetable_key
from worker.ledger.records import Claim, Settlement
from worker.ledger.registration import bound_until
from worker.ledger.renewal_keys import renewal_member, renewals_due_key, renewals_failing_key, renewals_key
from worker.provider.nonce import new_seed
from worker.redis_scripts import load_script

_TOLD = ("callback_url", "callback_secret_name", "callback_order_key", "callback_deadline_in")


class Keeping:
    """Begins policies.

    Args:
        redis: a client that decodes replies to text.
        spread: by what share of their time bindings are renewed earlier than they must be, each by its own.
    """

    def __init__(self, redis: Redis, *, spread: float = DEFAULT_SPREAD) -> None:
        self._redis = redis
        self._spread = spread
        self._await = load_script(redis, "worker.ledger", "await_renewal")

    async def begin(self, claim: Claim, settlement: Settlement) -> Settlement:
        """The settlement of a job that binds, with what its record needs to be renewed; any other as it is.

        A job that makes a binding anew, and says nothing of how it is kept, carries the old one's policy over.
        """
        expires_at = bound_until(claim, settlement)
        if not expires_at:
            return settlement
        text = str(settlement.fields.get("renew", claim.renew))
        carried = {} if text else await self._carried_over(claim)
        text = text or carried.pop("renew", "")
        if not text:
            return settlement
        policy = begun(text, claim, expires_at)
        due = due_at(policy, claim.job_id, expires_at, claim.now_ms, self._spread)
        fields: dict[str, str | int] = {**carried, "renew": policy.as_json(), "renew_seed": new_seed()}
        if due is not None:
            await self.expect(claim.job_id, due)
        return dataclasses.replace(settlement, fields={**settlement.fields, **fields})

    async def _carried_over(self, claim: Claim) -> dict[str, str]:
        """What of the record of the old binding goes on, and who is told, where the job itself tells nobody."""
        if claim.kind is JobKind.BIND or not claim.binding_id:
            return {}
        client: Any = self._redis
        values = await client.hmget(job_keys(claim.binding_id).job, ("renew", "renew_closed", *_TOLD))
        old = {name: value for name, value in zip(("renew", "renew_closed", *_TOLD), values, strict=True) if value}
        if "renew" not in old or old.pop("renew_closed", ""):
            return {}
        return {"renew": old["renew"]} if claim.callback_url else old

    async def expect(self, binding_id: str, due: int | None) -> None:
        """Say when this binding is to be renewed next, Unix ms; None: never."""
        partition = partition_of(binding_id)
        await self._await(
            [
                renewals_key(partition),
                renewals_due_key(partition),
                timetable_key(partition),
                renewals_failing_key(partition),
                job_keys(binding_id).job,
            ],
            [binding_id, "" if due is None else due, renewal_member(partition)],
        )


def begun(text: str, claim: Claim, expires_at: int) -> RenewalPolicy:
    """The policy that begins with this binding. It counts from when the request was accepted, as its first length."""
    return RenewalPolicy.from_json(text).begun(claim.accepted_at or claim.now_ms, expires_at)
