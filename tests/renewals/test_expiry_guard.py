"""No binding is shortened by a provider that reads times otherwise: it is found out at the first renewal."""

import asyncio
import logging

import pytest

from worker.domain.renewal import RenewalPolicy
from worker.ledger.expiry_checks import ExpiryState

from .bench import DAY, HOUR, Bench


def shifting(bench: Bench, seconds: int) -> None:
    """The provider sets another end than it is told."""

    async def after(action: str) -> None:
        if action == "UpdateSubscription":
            for binding in bench.live():
                binding.expires_at += seconds

    bench.provider.after = after


async def test_the_first_renewal_is_read_back_and_the_others_wait_for_that(bench: Bench) -> None:
    ids = [await bench.bound(str(number)) for number in range(4)]
    read_back, others = asyncio.Event(), asyncio.Event()

    async def before(action: str) -> None:
        if action == "QuerySubscriptionDetail" and bench.provider.ends():
            others.set()
            await read_back.wait()

    bench.provider.before = before
    renewing = asyncio.create_task(bench.renew(*ids))
    await asyncio.wait_for(others.wait(), 5)
    assert len(bench.provider.ends()) == 1
    read_back.set()
    await renewing
    check = await bench.checks.read()
    assert (check.state, check.seconds) == (ExpiryState.OK, 0)
    assert check.expected == check.read == bench.provider.ends()[0]
    bench.provider.before = None
    await bench.renew(*ids)
    assert [(await bench.read(binding_id)).number > 0 for binding_id in ids] == [True] * 4
    queries = [action for action, _, _ in bench.provider.sent if action == "QuerySubscriptionDetail"]
    assert len(queries) == 2, "once before it, once after it, and never again"


async def test_a_difference_stops_all_renewals_of_the_account_until_a_person_says_otherwise(
    two: list[Bench], caplog: pytest.LogCaptureFixture
) -> None:
    one, other = two
    first = await one.bound("1")
    shifting(one, -8 * 3600)
    with caplog.at_level(logging.ERROR):
        await one.renew(first)
    check = await one.checks.read()
    assert (check.state, check.seconds, check.binding_id) == (ExpiryState.MISMATCH, -8 * 3600, first)
    assert "axn renewals check --again" in caplog.text
    second = await one.bound("2")
    sent = len(one.provider.ends())
    for bench in two:
        await bench.renew(second)
    assert (len(one.provider.ends()), other.provider.ends()) == (sent, [])
    kept = await one.read(second)
    assert (kept.number, kept.failures, kept.code) == (0, 0, "expiry.mismatch")
    told = [event for event in await one.events(second) if event["type"] == "binding.renewal_failed"]
    assert [event["data"]["code"] for event in told] == ["expiry.mismatch"]
    one.provider.after = None
    await one.checks.check_again()
    await other.renew(second)
    assert (await other.read(second)).number == 1
    assert (await other.checks.read()).state is ExpiryState.OK


async def test_an_end_that_is_not_later_than_what_the_provider_shows_is_not_sent(bench: Bench) -> None:
    binding_id = await bench.bound(policy=RenewalPolicy(extend_by_ms=2 * HOUR))
    (binding,) = bench.live()
    binding.expires_at += 8 * 3600
    await bench.renew(binding_id)
    assert bench.provider.ends() == []
    check = await bench.checks.read()
    assert (check.state, check.seconds) == (ExpiryState.MISMATCH, 8 * 3600)


async def test_a_check_that_comes_to_nothing_leaves_it_to_the_next_renewal(bench: Bench) -> None:
    first, second = await bench.bound("1"), await bench.bound("2")
    bench.fault(kind="business", code="isv.EXPIRE_DATE_ILLEGAL", action="UpdateSubscription", count=1)
    assert await bench.renewer.renew(await bench.read(first)) is None
    assert (await bench.checks.read()).state is ExpiryState.UNKNOWN
    await bench.renew(second)
    assert (await bench.checks.read()).state is ExpiryState.OK
    assert (await bench.read(second)).expires_at > (await bench.read(first)).expires_at + DAY // 2
