"""One renewal: sent once per period with an absolute end, settled once, whatever happens in between."""

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import claimed, now_ms, put, record_of
from worker.domain.job import JobState
from worker.domain.job_ids import job_id_for_key, partition_of
from worker.domain.renewal import IfGone, RenewalPolicy
from worker.ledger.keys import bindings_key, job_keys
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.ledger.renewal_keys import renewals_failing_key, renewals_key

from .bench import DAY, HOUR, MINUTE, Bench, benches


async def failing(bench: Bench, binding_id: str) -> str | None:
    client: Any = bench.redis
    code: str | None = await client.hget(renewals_failing_key(partition_of(binding_id)), binding_id)
    return code


async def types(bench: Bench, binding_id: str) -> list[str]:
    return [event["type"] for event in await bench.events(binding_id)]


async def test_a_kept_binding_is_renewed_for_its_extension_and_due_again_before_that_ends(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound()
    before = await bench.read(binding_id)
    first_due = await bench.due_at(binding_id)
    assert first_due is not None
    assert before.expires_at - 30 * MINUTE - 6 * MINUTE <= first_due <= before.expires_at - 30 * MINUTE
    await bench.renew(binding_id)
    after = await bench.read(binding_id)
    assert after.expires_at == before.expires_at + DAY
    assert bench.at_provider(after.subs_id).expires_at * 1000 == after.expires_at
    assert (after.number, after.failures, [line.what for line in after.history]) == (1, 0, ["renewed"])
    due = await bench.due_at(binding_id)
    assert due == after.due_at
    assert after.expires_at - DAY // 10 - DAY // 10 < due <= after.expires_at - DAY // 10
    client: Any = bench.redis
    assert await client.zscore(bindings_key(partition_of(binding_id)), binding_id) == after.expires_at
    (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.renewed"]
    assert (event["data"]["renewals"], event["data"]["expiration"]) == (1, after.expiration)


async def test_each_renewal_has_its_own_nonce_and_ends_one_extension_after_the_last(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound()
    first = (await bench.read(binding_id)).expires_at
    for number in range(1, 4):
        await bench.renew(binding_id)
        assert (await bench.read(binding_id)).expires_at == first + number * DAY
    nonces = [nonce for action, _, nonce in bench.provider.sent if action == "UpdateSubscription"]
    assert len(set(nonces)) == len(nonces) == 3


async def test_a_binding_without_a_policy_is_not_kept(bench: Bench) -> None:
    binding_id = await bench.bound(renew="")
    assert await bench.due_at(binding_id) is None
    assert "renew_seed" not in await record_of(bench.redis, binding_id)


async def test_the_last_renewal_ends_with_the_policy_and_nothing_is_due_any_more(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=RenewalPolicy(for_ms=90 * MINUTE, extend_by_ms=DAY))
    until = (await bench.read(binding_id)).policy.until_ms
    await bench.renew(binding_id)
    assert (await bench.read(binding_id)).expires_at == until // 1000 * 1000
    assert await bench.due_at(binding_id) is None
    await bench.renew(binding_id)  # a stray entry
    assert len(bench.provider.ends()) == 1
    assert await bench.due_at(binding_id) is None


@pytest.mark.parametrize(
    ("fault", "code", "is_told", "least_ms"),
    [
        ({"kind": "throttle", "retry_after_ms": 7_000}, "Throttling.User", False, 7_000),
        ({"kind": "http_503"}, "ServiceUnavailable", False, 0),
        ({"kind": "close_after"}, "transport.disconnected", False, 0),
        ({"kind": "business", "code": "isv.EXPIRE_DATE_ILLEGAL"}, "isv.EXPIRE_DATE_ILLEGAL", True, 500),
        ({"kind": "business", "code": "isv.ACCOUNT_ABNORMAL"}, "isv.ACCOUNT_ABNORMAL", True, 500),
    ],
)
async def test_a_try_in_vain_is_put_off_and_a_person_told_once_where_one_is_needed(
    redis: Redis, fault: dict[str, Any], code: str, is_told: bool, least_ms: int
) -> None:
    async with benches(redis, hold_ms=1) as (bench,):
        await bench.checked()
        binding_id = await bench.bound()
        before = await bench.read(binding_id)
        for tries in (1, 2):
            bench.fault(**fault, action="UpdateSubscription", count=1)
            kept = await bench.read(binding_id)
            assert await bench.renewer.renew(kept) is None
            after = await bench.read(binding_id)
            assert (after.tries, after.code, await failing(bench, binding_id)) == (tries, code, code)
            assert (after.failures == 0) is (code in ("Throttling.User", "isv.ACCOUNT_ABNORMAL")), "only sent away"
            told = [type_ for type_ in await types(bench, binding_id) if type_ == "binding.renewal_failed"]
            assert len(told) == (is_told and tries == 1), "once per period"
            await bench.deliver(binding_id)
            look = await bench.due_at(binding_id)
            assert look is not None
            assert kept.read_at + least_ms <= look <= kept.read_at + 20_000
            await bench.clear_pace()
        assert [line.what for line in (await bench.read(binding_id)).history] == ["failed"]
        await bench.renew(binding_id)
        after = await bench.read(binding_id)
        assert (after.expires_at, after.tries, after.code) == (before.expires_at + DAY, 0, "")
        assert await failing(bench, binding_id) is None


async def test_an_unclear_try_may_have_been_done_and_is_made_again_with_another_nonce(redis: Redis) -> None:
    async with benches(redis, hold_ms=1) as (bench,):
        await bench.checked()
        binding_id = await bench.bound()
        bench.fault(kind="close_after", action="UpdateSubscription", count=1)
        first = (await bench.read(binding_id)).expires_at
        await bench.renew(binding_id)
        if not (await bench.read(binding_id)).number:  # it was put off for longer than the session lasted
            await bench.renew(binding_id)
        assert (await bench.read(binding_id)).expires_at == first + DAY
        assert len(bench.provider.ends()) == 2
        assert len(set(bench.provider.ends())) == 1, "the same end was asked for"
        assert len({nonce for _, _, nonce in bench.provider.sent}) == len(bench.provider.sent)
        assert (await types(bench, binding_id)).count("binding.renewed") == 1


@pytest.mark.parametrize("most_come", [1, 500])
async def test_under_pressure_the_first_to_end_goes_first_whichever_was_due_first(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, most_come: int
) -> None:
    monkeypatch.setattr("worker.renewals.session._MOST_COME", most_come)
    async with benches(redis, width=1) as (bench,):
        await bench.checked()
        client: Any = redis
        partition = 0
        numbers = [number for number in range(60) if partition_of(job_id_for_key(f"p{number}")) == partition]
        assert len(numbers) > 2
        ids = [await bench.bound(f"p{n}", lasts_ms=(2 + n % 7) * HOUR + n * MINUTE) for n in numbers]
        ends = sorted([((await bench.read(id_)).expires_at, id_) for id_ in ids])
        for place, (_, id_) in enumerate(reversed(ends)):
            await client.zadd(renewals_key(partition), {id_: place + 1})
        await bench.renew()
        assert bench.provider.ends() == [(await bench.read(id_)).expiration for _, id_ in ends]


async def test_with_the_pace_paused_nothing_is_sent_and_it_comes_back(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound()
    await bench.desk().pause(actions=["UpdateSubscription"], by="test")
    await bench.renew(binding_id)
    look = await bench.due_at(binding_id)
    assert look is not None
    assert bench.provider.ends() == []
    kept = await bench.read(binding_id)
    assert kept.failures == 0
    assert kept.read_at < look < kept.read_at + 60_000


@pytest.mark.parametrize("tells_itself", [False, True])
async def test_a_binding_made_anew_is_kept_as_the_old_one_was(bench: Bench, tells_itself: bool) -> None:
    """As a rebind does it: a job of another kind, which knows whose binding it replaces, ends bound."""
    old_id = await bench.bound(policy=RenewalPolicy(extend_by_ms=DAY, lead_ms=HOUR))
    old = await bench.read(old_id)
    job = await bench.change(old_id, "rebind", OperateType="updateNoB", PhoneNoB="15012340000")
    url = "https://other.example/" if tells_itself else ""
    await put(bench.redis, job_keys(job.job_id).job, callback_url=url)
    claim = await claimed(bench.ledger, job.job_id)
    new = {**old.parameters, "Expiration": "2099-01-01 00:00:00"}
    fields = {"phone_no_x": "17000009999", "subs_id": "900", "request": json.dumps(new)}
    assert await bench.ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields))
    kept = await bench.read(job.job_id)
    assert (kept.policy, kept.seed != old.seed) == (old.policy, True)
    assert kept.callback_url == (url or old.callback_url)
    assert await bench.due_at(job.job_id) is not None


async def test_what_was_closed_is_not_carried_over(bench: Bench) -> None:
    old_id = await bench.bound()
    old = await bench.read(old_id)
    await bench.renewals.close(old_id)
    job = await bench.change(old_id, "rebind", OperateType="updateNoB", PhoneNoB="15012340000")
    claim = await claimed(bench.ledger, job.job_id)
    fields = {"phone_no_x": "17000009999", "subs_id": "900", "request": json.dumps(old.parameters)}
    assert await bench.ledger.settle(claim, Settlement(JobState.BOUND, AttemptKnowledge.CLOSED, fields))
    assert await bench.due_at(job.job_id) is None


async def test_where_the_pace_lets_nothing_through_a_person_hears_of_it_before_it_is_too_late(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=RenewalPolicy(extend_by_ms=DAY, lead_ms=20 * MINUTE))
    await bench.desk().pause(actions=["UpdateSubscription"], by="test")
    await bench.renew(binding_id)
    assert "binding.renewal_failed" not in await types(bench, binding_id)
    await bench.end_at(binding_id, await now_ms(bench.redis) + 4 * MINUTE)
    await put(bench.redis, job_keys(binding_id).job, finished_at=await now_ms(bench.redis) - HOUR)
    for _ in range(2):
        await bench.renew(binding_id)
    (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.renewal_failed"]
    assert event["data"]["code"] == "pace.paused"
    assert await failing(bench, binding_id) == "pace.paused"
    kept = await bench.read(binding_id)
    look = await bench.due_at(binding_id)
    assert look is not None
    assert look < kept.read_at + MINUTE


async def test_a_kept_binding_that_nobody_looked_at_for_long_is_not_forgotten_before_it_is_told_of(
    bench: Bench,
) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=RenewalPolicy(extend_by_ms=DAY, if_gone=IfGone.REPORT))
    past = await now_ms(bench.redis) - 90 * DAY
    await bench.end_at(binding_id, past)
    client: Any = bench.redis
    await client.zadd(bindings_key(partition_of(binding_id)), {binding_id: past})
    assert await bench.bindings.sweep() == (0, False)
    bench.gateway.advance(2 * 3600, signatures=False)
    await bench.renew(binding_id)
    assert "binding.lost" in await types(bench, binding_id)
    assert await bench.bindings.sweep() == (1, False)
