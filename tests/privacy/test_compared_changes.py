"""A change of a binding that was compared first: written where the binding still is what was seen, sealed or not."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from redis.asyncio import Redis

from tests.ledger.support import claimed, new_job
from tests.privacy.filled import EXPIRATION, A, Parts, X
from worker.domain.encryption_keys import new_key, parse_key
from worker.domain.job import JobState
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.ledger.seal import NO_SEAL, Seal

SEALS = {"plain": NO_SEAL, "sealed": Seal({"a": parse_key(new_key())}, parse_key(new_key()))}
SEEN = {"PhoneNoA": A, "Expiration": EXPIRATION}


class Hurried(BindingLedger):
    """Lets somebody change the binding after it was compared, and before that is written."""

    step: Callable[[], Awaitable[object]] | None = None

    async def _stored_as(self, binding_id: str, parameters: Mapping[str, str]) -> str | None:
        text = await super()._stored_as(binding_id, parameters)
        if self.step is not None:
            await self.step()
        return text


async def bound(parts: Parts) -> str:
    job = new_job("compared", parameters=SEEN)
    await parts.ledger.open(job)
    claim = await claimed(parts.ledger, job.job_id)
    told = {"subs_id": "100", "phone_no_x": X}
    assert await parts.ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, told))
    return job.job_id


async def number_of(parts: Parts, binding_id: str) -> str:
    (binding,) = await parts.bindings.read([binding_id])
    assert binding is not None
    return binding.parameters["PhoneNoA"]


@pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
async def test_what_was_seen_is_changed_and_what_is_another_by_now_is_not(redis: Redis, seal: Seal) -> None:
    parts = Parts(redis, seal)
    binding_id = await bound(parts)
    changed = {"PhoneNoA": "13900000009"}
    assert not await parts.bindings.change(
        binding_id, BindingChange(by="early", parameters=changed, compared={**SEEN, "OutId": "another"})
    )
    assert await parts.bindings.change(binding_id, BindingChange(by="audit", parameters=changed, compared=SEEN))
    assert await number_of(parts, binding_id) == "13900000009"
    assert not await parts.bindings.change(binding_id, BindingChange(by="again", parameters=changed, compared=SEEN))


@pytest.mark.parametrize("seal", SEALS.values(), ids=SEALS)
async def test_a_change_between_the_look_and_the_writing_is_not_overwritten(redis: Redis, seal: Seal) -> None:
    parts = Parts(redis, seal)
    binding_id = await bound(parts)
    hurried = Hurried(redis, keep_ms=600_000, result_ttl_ms=600_000, seal=seal)
    meanwhile = BindingChange(by="update", parameters={"PhoneNoA": "13900000001"})
    hurried.step = lambda: parts.bindings.change(binding_id, meanwhile)
    late = BindingChange(by="audit", parameters={"PhoneNoA": "13900000002"}, compared=SEEN)
    assert not await hurried.change(binding_id, late)
    assert await number_of(parts, binding_id) == "13900000001"
