"""What has ended is bound anew as its policy says, or told of; what is still there never a second time."""

from typing import Any

import pytest

from tests.ledger.support import lapse, now_ms, record_of
from worker.domain.binding import BindingStatus
from worker.domain.job_ids import job_id_for_key
from worker.domain.renewal import IfGone, RenewalPolicy
from worker.ledger.keys import job_keys
from worker.renewals.telling import wire_of

from .bench import DAY, HOUR, MINUTE, POOL, A, Bench

SAME, NEW, REPORT = (RenewalPolicy(extend_by_ms=DAY, if_gone=if_gone) for if_gone in IfGone)


async def ended_elsewhere(bench: Bench, binding_id: str) -> None:
    """Somebody ends it at the provider; we are not told."""
    kept = await bench.read(binding_id)
    await unbind_at_provider(bench, kept.subs_id)


async def unbind_at_provider(bench: Bench, subs_id: str) -> None:
    bench.gateway.account.bindings.end(bench.at_provider(subs_id), "unbound", bench.gateway.product_now())


async def steps_job(bench: Bench, binding_id: str) -> str:
    return (await bench.read(binding_id)).step_job


async def follow(bench: Bench, binding_id: str) -> None:
    """The job that binds it anew is worked on, and the old binding looked at."""
    job_id = await steps_job(bench, binding_id)
    await lapse(bench.redis, job_id)
    await bench.work_on(job_id)
    await bench.renew(binding_id)


async def types(bench: Bench, binding_id: str) -> list[str]:
    return [event["type"] for event in await bench.events(binding_id) if event["type"].startswith("binding.")]


@pytest.mark.parametrize("policy", [SAME, NEW])
async def test_a_binding_that_has_ended_is_bound_anew_and_that_one_is_kept_in_its_place(
    bench: Bench, policy: RenewalPolicy
) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=policy, callback_secret_name="s")
    old = await bench.read(binding_id)
    await ended_elsewhere(bench, binding_id)
    await bench.renew(binding_id)
    during = await bench.read(binding_id)
    assert (during.status, during.step) == ("lapsed", "same_x" if policy is SAME else "new_x")
    assert bench.announcer.published == [during.step_job]
    await follow(bench, binding_id)
    (binding,) = bench.live()
    assert (binding.phone_no_x == old.phone_no_x) is (policy is SAME)
    assert (binding.phone_no_a, binding.out_order_id) == (A, "order-1")
    new_id = during.step_job
    new = await bench.read(new_id)
    assert new.expires_at == old.expires_at + DAY == binding.expires_at * 1000
    assert (new.policy, new.callback_url, new.callback_secret_name) == (old.policy, old.callback_url, "s")
    assert await bench.due_at(new_id) is not None
    assert await bench.due_at(binding_id) is None
    record = await record_of(bench.redis, binding_id)
    assert (record["binding"], record["replaced_by"]) == ("replaced", new_id)
    (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.rebound"]
    data = event["data"]
    assert (data["new_job_id"], data["old_subs_id"], data["subs_id"]) == (new_id, old.subs_id, new.subs_id)
    assert (data["phone_no_x"], data["old_phone_no_x"], data["expiration"]) == (
        new.phone_no_x, old.phone_no_x, new.expiration,
    )  # fmt: skip
    await bench.renew(new_id)
    assert (await bench.read(new_id)).number == 1


async def test_where_the_same_x_is_taken_another_is_bound(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    old = await bench.read(binding_id)
    await ended_elsewhere(bench, binding_id)
    other = await bench.bound("other", parameters={
        "PhoneNoA": "15012340000", "PoolKey": POOL, "Expiration": "2099-01-01 00:00:00", "PhoneNoX": old.phone_no_x,
    })  # fmt: skip
    await bench.renew(binding_id)
    first_job = await steps_job(bench, binding_id)
    await follow(bench, binding_id)
    assert (await bench.read(binding_id)).step == "new_x"
    assert await steps_job(bench, binding_id) != first_job
    await follow(bench, binding_id)
    assert (await record_of(bench.redis, binding_id))["binding"] == "replaced"
    assert len(bench.live()) == 2
    assert (await bench.read(other)).phone_no_x == old.phone_no_x
    assert await types(bench, binding_id) == ["binding.rebound"]


@pytest.mark.parametrize("policy", [REPORT, NEW])
async def test_what_cannot_or_may_not_be_bound_anew_is_lost_and_told_once(bench: Bench, policy: RenewalPolicy) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=policy)
    await ended_elsewhere(bench, binding_id)
    bench.fault(kind="business", code="isv.MOBILE_NUMBER_ILLEGAL", action="BindAxn")
    await bench.renew(binding_id)
    if policy is NEW:
        await follow(bench, binding_id)
    assert await types(bench, binding_id) == ["binding.lost"]
    (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.lost"]
    assert event["data"]["code"] == ("renewal.gone" if policy is REPORT else "isv.MOBILE_NUMBER_ILLEGAL")
    (bound,) = await bench.bindings.read([binding_id])
    assert bound is not None
    assert bound.status is BindingStatus.LAPSED
    assert await bench.due_at(binding_id) is None
    assert bench.live() == []


async def test_after_a_downtime_longer_than_its_period_it_is_bound_anew_ahead_of_now(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=RenewalPolicy(extend_by_ms=HOUR))
    past = (await now_ms(bench.redis) - 50 * HOUR) // 1000 * 1000
    await bench.end_at(binding_id, past)
    bench.gateway.advance(2 * 3600, signatures=False)
    await bench.renew(binding_id)
    assert bench.provider.ends() == [], "the provider is asked, not told"
    job_id = await steps_job(bench, binding_id)
    parameters = (await record_of(bench.redis, job_id))["request"]
    periods = [f'"Expiration":"{end}"' in parameters for end in ends_of(past, HOUR, range(50, 54))]
    assert any(periods), "in its old rhythm"
    assert await types(bench, binding_id) == []


def ends_of(first: int, period: int, numbers: range) -> list[str]:
    return [wire_of(first + number * period) for number in numbers]


async def test_a_binding_whose_policy_ended_while_nobody_looked_is_lost(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=RenewalPolicy(for_ms=2 * HOUR, extend_by_ms=HOUR))
    record = await record_of(bench.redis, binding_id)
    until = (await bench.read(binding_id)).policy.until_ms
    client: Any = bench.redis
    await client.hset(job_keys(binding_id).job, "renew", record["renew"].replace(str(until), "1000"))
    await bench.end_at(binding_id, await now_ms(bench.redis) - HOUR)
    bench.gateway.advance(2 * 3600, signatures=False)
    await bench.renew(binding_id)
    assert await types(bench, binding_id) == ["binding.lost"]


@pytest.mark.parametrize("is_to_be_unbound", [False, True])
async def test_a_binding_whose_order_is_closed_while_it_is_found_gone_is_not_bound_anew(
    bench: Bench, is_to_be_unbound: bool
) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)

    async def close(action: str) -> None:
        if action == "QuerySubscriptionDetail":
            await bench.renewals.close(binding_id, unbind=is_to_be_unbound)

    bench.provider.after = close
    await bench.renew(binding_id)
    assert (bench.announcer.published, "renew_step" in await record_of(bench.redis, binding_id)) == ([], False)
    assert await bench.due_at(binding_id) is None


async def test_an_end_that_was_changed_elsewhere_is_taken_over_instead(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    kept = await bench.read(binding_id)
    bench.at_provider(kept.subs_id).expires_at += 5 * 3600
    await bench.end_at(binding_id, await now_ms(bench.redis) - MINUTE)
    await bench.renew(binding_id)
    after = await bench.read(binding_id)
    assert (after.expires_at, after.number, after.step) == (kept.expires_at + 5 * HOUR, 0, "")
    assert [line.what for line in after.history] == ["corrected"]
    due = await bench.due_at(binding_id)
    assert due is not None
    assert after.read_at < due < after.expires_at


async def test_a_binding_that_is_refused_as_gone_and_shown_as_active_is_left_to_a_person(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    bench.fault(kind="business", code="isv.SUBS_NOT_EXIST", action="UpdateSubscription")
    await bench.renew(binding_id)
    kept = await bench.read(binding_id)
    assert (kept.status, kept.step, kept.code) == ("active", "", "renewal.contradicted")
    assert len(bench.live()) == 1
    assert await types(bench, binding_id) == ["binding.renewal_failed"]


async def test_a_provider_that_does_not_say_is_asked_again(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)
    bench.fault(kind="http_503", action="QuerySubscriptionDetail", count=1)
    assert await bench.renewer.renew(await bench.read(binding_id)) is None
    kept = await bench.read(binding_id)
    assert (kept.status, kept.step, kept.failures) == ("active", "", 1)


async def test_who_dies_before_the_job_is_filed_leaves_it_to_the_next(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)
    await bench.renew(binding_id)
    job_id = await steps_job(bench, binding_id)
    await bench.redis.delete(job_keys(job_id).job)
    await bench.renew(binding_id)
    assert (await record_of(bench.redis, job_id))["state"] == "accepted"
    await follow(bench, binding_id)
    assert await types(bench, binding_id) == ["binding.rebound"]


async def test_a_doubt_about_the_new_binding_is_told_and_waits_for_a_person(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=NEW)
    await ended_elsewhere(bench, binding_id)
    await bench.renew(binding_id)
    bench.fault(kind="close_after", action="BindAxn", count=1)
    await follow(bench, binding_id)
    await follow(bench, binding_id)
    assert await types(bench, binding_id) == ["binding.renewal_failed"]
    look = await bench.due_at(binding_id)
    assert look is not None
    assert look > await now_ms(bench.redis) + MINUTE
    assert (await bench.read(binding_id)).step == "new_x"


async def test_who_unbinds_it_while_the_provider_is_asked_has_nothing_bound_anew(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)
    unbind = await bench.change(binding_id, "u")

    async def before(action: str) -> None:
        if action == "QuerySubscriptionDetail":
            bench.provider.before = None
            assert await bench.work_on(unbind.job_id) == "unbound"

    bench.provider.before = before
    await bench.renew(binding_id)
    assert (await bench.read(binding_id)).step == ""
    assert await record_of(bench.redis, job_id_for_key(f"renewal\x1f{binding_id}\x1f0\x1fsame_x")) == {}
    assert await bench.due_at(binding_id) is None


async def test_who_unbinds_it_meanwhile_has_the_last_word(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)
    await bench.renew(binding_id)
    unbind = await bench.change(binding_id, "u")
    assert await bench.work_on(unbind.job_id) == "unbound"
    await follow(bench, binding_id)
    (extra,) = bench.live()
    ending = job_id_for_key(f"renewal\x1f{binding_id}\x1f0\x1funbind")
    assert await bench.work_on(ending) == "unbound"
    assert extra.ended == "unbound"
    assert bench.live() == []
    assert await types(bench, binding_id) == []


@pytest.mark.parametrize("unbind", [False, True])
async def test_an_order_that_is_closed_meanwhile_stays_closed_for_the_new_binding(bench: Bench, unbind: bool) -> None:
    await bench.checked()
    binding_id = await bench.bound(policy=SAME)
    await ended_elsewhere(bench, binding_id)
    await bench.renew(binding_id)
    assert await bench.renewals.close(binding_id, unbind=unbind)
    new_id = await steps_job(bench, binding_id)
    await follow(bench, binding_id)
    assert (await bench.read(new_id)).is_closed
    assert await bench.due_at(new_id) is None
    ending = job_id_for_key(f"renewal\x1f{binding_id}\x1f0\x1funbind")
    assert bool(await record_of(bench.redis, ending)) is unbind
