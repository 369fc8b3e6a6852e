"""What `submit` promises of durability: refused before anything is filed, or filed, published and told."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis.asyncio import Redis

from tests.ledger.durable_servers import replicated
from worker.domain.bind_request import BindRequest
from worker.domain.durability import Durability, parse_durability
from worker.domain.job import Lane
from worker.domain.job_ids import job_id_for_key
from worker.errors import (
    DurabilityUnavailableError,
    DurabilityUnconfirmedError,
    IdempotencyConflictError,
    InvalidRequestError,
)
from worker.intake.intake import Intake
from worker.redis_scripts import connect

from .test_intake import MINIMUM, RecordingPublisher, executor, intake, intake_on, publisher, record_of

__all__ = ["executor", "intake", "publisher"]


def request(key: str, **more: str) -> BindRequest:
    return BindRequest(**MINIMUM, idempotency_key=key, **more)


@pytest.fixture
async def hanging(publisher: RecordingPublisher, executor: ThreadPoolExecutor) -> AsyncIterator[tuple[Intake, Redis]]:
    """An intake on a server whose replica hangs."""
    with replicated() as pair, pair.replica_stopped():
        client = connect(pair.primary.url(), timeout_ms=4000)
        yield intake_on(client, publisher, executor), client
        await client.aclose()


async def test_a_job_on_disk_is_filed_and_published_once(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    ids = [await intake.submit(request("order-1"), Durability.FSYNCED) for _ in range(2)]
    assert ids == [job_id_for_key("order-1")] * 2
    assert (await record_of(redis, ids[0]))["state"] == "accepted"
    assert publisher.published == [(Lane.CHECKOUT, [ids[0]])]


async def test_many_on_disk_are_answered_as_without(intake: Intake) -> None:
    many = await intake.submit_many([request("order-1"), request("order-2"), request("order-1")], Durability.FSYNCED)
    assert [(one.job_id, one.is_new) for one in many] == [
        (job_id_for_key("order-1"), True), (job_id_for_key("order-2"), True), (job_id_for_key("order-1"), False),
    ]  # fmt: skip


async def test_a_conflict_is_one_whatever_the_durability(intake: Intake) -> None:
    await intake.submit(request("order-1"), Durability.FSYNCED)
    with pytest.raises(IdempotencyConflictError):
        await intake.submit(request("order-1", out_id="other"), Durability.FSYNCED)


async def test_what_the_server_cannot_give_is_refused_and_nothing_is_filed(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    with pytest.raises(DurabilityUnavailableError, match="nothing was filed") as caught:
        await intake.submit(request("order-1"), Durability.REPLICATED)
    with pytest.raises(DurabilityUnavailableError):
        await intake.submit_many([request("order-1")], Durability.REPLICATED)
    assert caught.value.durability == "replicated"
    assert await redis.dbsize() == 0
    assert publisher.published == []


async def test_a_bad_request_is_named_before_the_server_is_asked(intake: Intake) -> None:
    with pytest.raises(InvalidRequestError):
        await intake.submit(BindRequest(phone_no_a="1", expires_in="1s"), Durability.REPLICATED)


async def test_an_unconfirmed_job_is_filed_published_and_named(
    hanging: tuple[Intake, Redis], publisher: RecordingPublisher
) -> None:
    intake, client = hanging
    job_id = job_id_for_key("order-1")
    for _ in range(2):
        with pytest.raises(DurabilityUnconfirmedError, match=r"0 of 1 replicas had it within 0\.5 s") as caught:
            await intake.submit(request("order-1"), Durability.REPLICATED)
        assert (caught.value.job_id, caught.value.job_ids) == (job_id, (job_id,))
    assert (await record_of(client, job_id))["state"] == "accepted"
    assert publisher.published == [(Lane.CHECKOUT, [job_id])]


async def test_of_many_unconfirmed_all_but_those_in_conflict_are_named(
    hanging: tuple[Intake, Redis], publisher: RecordingPublisher
) -> None:
    intake, _ = hanging
    await intake.submit(request("known"))
    await intake.submit(request("taken"))
    publisher.published.clear()
    with pytest.raises(DurabilityUnconfirmedError, match=r"3 jobs .* are filed all the same") as caught:
        await intake.submit_many(
            [request("first"), request("taken", out_id="other"), request("known"), request("last")],
            Durability.REPLICATED,
        )
    assert list(caught.value.job_ids) == [job_id_for_key(key) for key in ("first", "known", "last")]
    assert publisher.published == [(Lane.CHECKOUT, [job_id_for_key("first"), job_id_for_key("last")])]


async def test_where_all_are_in_conflict_there_is_nothing_to_confirm(hanging: tuple[Intake, Redis]) -> None:
    intake, _ = hanging
    await intake.submit(request("taken"))
    (one,) = await intake.submit_many([request("taken", out_id="other")], Durability.REPLICATED)
    assert one.conflict


@pytest.mark.parametrize("given", ["sure", "", 1, [], "15012345678"])
def test_a_durability_that_is_none_is_named_with_its_rule_but_no_number(given: object) -> None:
    with pytest.raises(InvalidRequestError, match="durability: must be 'accepted', 'fsynced' or 'replicated'") as bad:
        parse_durability(given)
    assert "15012345678" not in str(bad.value)
