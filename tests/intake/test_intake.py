"""Requests become jobs in a real ledger; what is filed is accepted, whether or not the broker answers."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import bindings_of
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.domain.bind_request import BindRequest
from worker.domain.job import JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.errors import IdempotencyConflictError, InvalidRequestError, LedgerUnavailableError
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.intake import Intake
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.durable import DurableOpening
from worker.ledger.keys import job_keys
from worker.ledger.ledger import Ledger
from worker.ledger.timetable import Timetable
from worker.publisher import Announcer, Publication
from worker.redis_scripts import connect

A = "15012345678"
MINIMUM: dict[str, Any] = {"phone_no_a": A, "expires_in": "2h"}
FIRST_LOOK_MS = 10_000
DURABILITY_TIMEOUT_MS = 500


class RecordingPublisher:
    """Keeps what it is told to publish; says that the broker is away when told so."""

    def __init__(self) -> None:
        self.published: list[tuple[Lane, list[str]]] = []
        self.threads: set[str] = set()
        self.broker_is_away = False

    def publish(self, group: Sequence[Publication]) -> bool:
        self.threads.add(threading.current_thread().name)
        self.published += [(publication.lane, list(publication.ids)) for publication in group]
        return not self.broker_is_away

    def backlogs(self) -> dict[Lane, int]:
        return {lane: len([ids for to, ids in self.published if to is lane]) for lane in Lane}


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="test-publish") as executor:
        yield executor


def intake_on(redis: Redis, publisher: RecordingPublisher, executor: ThreadPoolExecutor) -> Intake:
    rules = AcceptanceRules("FC1", timedelta(seconds=60), ReceiverRules())
    ledger = Ledger(redis, result_ttl_ms=60_000, first_look_ms=FIRST_LOOK_MS)
    durable = DurableOpening(redis, ledger, replicas=1, timeout_ms=DURABILITY_TIMEOUT_MS)
    announcer = Announcer(publisher, executor, clock=SystemClock())
    return Intake(
        Acceptance(rules, SystemClock()),
        ledger,
        durable,
        announcer,
        CallbackSecrets(redis),
        bindings=bindings_of(redis),
    )


@pytest.fixture
def intake(redis: Redis, publisher: RecordingPublisher, executor: ThreadPoolExecutor) -> Intake:
    return intake_on(redis, publisher, executor)


async def record_of(redis: Redis, job_id: str) -> dict[str, str]:
    record: dict[str, str] = await redis.hgetall(job_keys(job_id).job)  # type: ignore[assignment, unused-ignore]
    return record


async def timetable_size(redis: Redis) -> int:
    return await Timetable(redis, next_look_ms=1, most_per_partition=1).size()


async def test_a_submitted_request_is_in_the_ledger_and_the_timetable_and_published(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    request = BindRequest(**MINIMUM, out_id="o", callback_url="https://h/axn", deadline="1h")
    job_id = await intake.submit(request)
    record = await record_of(redis, job_id)
    accepted_at = int(record["accepted_at"])
    parameters = json.loads(record["request"])
    assert (record["state"], record["lane"], record["job_id"]) == ("accepted", "checkout", job_id)
    assert (record["digest"], record["callback_url"]) == (request.digest(), "https://h/axn")
    assert int(record["deadline_at"]) == accepted_at + 3_600_000
    assert parameters == {"PoolKey": "FC1", "Expiration": parameters["Expiration"], "PhoneNoA": A, "OutId": "o"}
    look = await redis.zscore(job_keys(job_id).timetable, f"checkout:{job_id}")
    assert look is not None
    assert int(look) == accepted_at + FIRST_LOOK_MS
    assert publisher.published == [(Lane.CHECKOUT, [job_id])]


async def test_publishing_never_blocks_the_loops_own_thread(intake: Intake, publisher: RecordingPublisher) -> None:
    await intake.submit(BindRequest(**MINIMUM))
    assert threading.current_thread().name not in publisher.threads
    assert len(publisher.threads) == 1


async def test_the_same_request_with_the_same_key_is_one_job_published_once(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    request = BindRequest(**MINIMUM, idempotency_key="order-1")
    ids = {await intake.submit(request), await intake.submit(BindRequest(**MINIMUM, idempotency_key="order-1"))}
    assert ids == {job_id_for_key("order-1")}
    assert await timetable_size(redis) == 1
    assert len(publisher.published) == 1


async def test_of_many_at_once_with_one_key_one_is_published(intake: Intake, publisher: RecordingPublisher) -> None:
    request = BindRequest(**MINIMUM, idempotency_key="order-1")
    ids = await asyncio.gather(*(intake.submit(request) for _ in range(20)))
    assert len(set(ids)) == 1
    assert len(publisher.published) == 1


async def test_without_a_key_the_same_request_is_two_jobs(intake: Intake, publisher: RecordingPublisher) -> None:
    assert await intake.submit(BindRequest(**MINIMUM)) != await intake.submit(BindRequest(**MINIMUM))
    assert len(publisher.published) == 2


async def test_another_request_with_a_known_key_is_a_conflict_that_changes_nothing(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    job_id = await intake.submit(BindRequest(**MINIMUM, idempotency_key="order-1"))
    before = await record_of(redis, job_id)
    with pytest.raises(IdempotencyConflictError, match=job_id) as caught:
        await intake.submit(BindRequest(**MINIMUM, idempotency_key="order-1", out_id="other"))
    assert caught.value.job_id == job_id
    assert await record_of(redis, job_id) == before
    assert len(publisher.published) == 1


async def test_a_request_that_breaks_a_rule_leaves_nothing_behind(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    with pytest.raises(InvalidRequestError, match="expiration"):
        await intake.submit(BindRequest(phone_no_a=A, expires_in="1s"))
    assert await redis.dbsize() == 0
    assert publisher.published == []


async def test_a_broker_that_is_away_loses_no_job(intake: Intake, redis: Redis, publisher: RecordingPublisher) -> None:
    publisher.broker_is_away = True
    job_id = await intake.submit(BindRequest(**MINIMUM))
    many = await intake.submit_many([BindRequest(**MINIMUM)])
    assert (await record_of(redis, job_id))["state"] == "accepted"
    assert many[0].is_new
    assert await timetable_size(redis) == 2


async def test_a_ledger_that_is_away_promises_nothing_and_publishes_nothing(
    publisher: RecordingPublisher, executor: ThreadPoolExecutor
) -> None:
    away = connect("unix:///nowhere/redis.sock", timeout_ms=200)
    intake = intake_on(away, publisher, executor)
    with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
        await intake.submit(BindRequest(**MINIMUM))
    with pytest.raises(LedgerUnavailableError, match="AXN_REDIS_URL"):
        await intake.submit_many([BindRequest(**MINIMUM)])
    assert publisher.published == []
    await away.aclose()


async def test_many_are_answered_in_their_order_and_published_by_lane(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    await intake.submit(BindRequest(**MINIMUM, idempotency_key="known"))
    await intake.submit(BindRequest(**MINIMUM, idempotency_key="taken"))
    publisher.published.clear()
    keys_and_more: list[tuple[str, dict[str, Any]]] = [
        ("first", {}), ("known", {}), ("batch", {"lane": "batch"}), ("taken", {"out_id": "other"}), ("last", {}),
        ("first", {}),
    ]  # fmt: skip
    answers = await intake.submit_many([BindRequest(**MINIMUM, idempotency_key=k, **more) for k, more in keys_and_more])
    assert [answer.job_id for answer in answers] == [job_id_for_key(key) for key, _ in keys_and_more]
    assert [answer.is_new for answer in answers] == [True, False, True, False, True, False]
    assert [answer.conflict is not None for answer in answers] == [False, False, False, True, False, False]
    assert publisher.published == [
        (Lane.CHECKOUT, [job_id_for_key("first"), job_id_for_key("last")]),
        (Lane.BATCH, [job_id_for_key("batch")]),
    ]
    assert await timetable_size(redis) == 5


async def test_many_are_filed_in_one_pipeline(intake: Intake, redis: Redis) -> None:
    await intake.submit(BindRequest(**MINIMUM))  # loads the script
    before: dict[str, Any] = await redis.info("stats")
    await intake.submit_many([BindRequest(**MINIMUM, idempotency_key=str(number)) for number in range(500)])
    after: dict[str, Any] = await redis.info("stats")
    reads = int(after["total_reads_processed"]) - int(before["total_reads_processed"])
    assert await timetable_size(redis) == 501
    assert reads < 100


async def test_nobody_is_filed_where_nobody_asks(intake: Intake, redis: Redis, publisher: RecordingPublisher) -> None:
    assert await intake.submit_many([]) == []
    assert await redis.dbsize() == 0
    assert publisher.published == []


async def test_one_bad_row_stores_none_and_every_bad_row_is_named(
    intake: Intake, redis: Redis, publisher: RecordingPublisher
) -> None:
    rows = [
        BindRequest(**MINIMUM), BindRequest(phone_no_a=A, expires_in="1s"), BindRequest(**MINIMUM),
        BindRequest(phone_no_a=A, expires_in="1s", callback_url="http://h"),
    ]  # fmt: skip
    with pytest.raises(InvalidRequestError) as caught:
        await intake.submit_many(rows)
    assert [fault.field for fault in caught.value.faults] == ["[1].expiration", "[3].expiration", "[3].callback_url"]
    assert await redis.dbsize() == 0
    assert publisher.published == []


async def test_a_good_message_is_filed_under_its_task_id(intake: Intake, redis: Redis) -> None:
    filed = await intake.file_message({"PhoneNoA": A, "expires_in": 7200, "lane": "batch"}, task_id="task-1")
    assert filed == (Lane.BATCH, job_id_for_key("task-1"))
    record = await record_of(redis, job_id_for_key("task-1"))
    assert (record["state"], record["lane"]) == ("accepted", "batch")
    assert "refusal" not in record


async def test_a_messages_own_key_stands_before_its_task_id(intake: Intake) -> None:
    filed = await intake.file_message({**MINIMUM, "idempotency_key": "own"}, task_id="task-1")
    assert filed == (Lane.CHECKOUT, job_id_for_key("own"))


@pytest.mark.parametrize(
    "given", [{**MINIMUM}, {"phone_no_a": "x", "expires_in": "2h"}, None, ["x"]], ids=["good", "bad", "none", "list"]
)
async def test_the_same_message_twice_is_one_job(intake: Intake, redis: Redis, given: object) -> None:
    first = await intake.file_message(given, task_id="task-1")
    assert await intake.file_message(given, task_id="task-1") == first == (Lane.CHECKOUT, job_id_for_key("task-1"))
    assert await timetable_size(redis) == 1


async def test_another_message_under_a_known_task_id_is_dropped_and_logged(
    intake: Intake, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await intake.file_message(MINIMUM, task_id="task-1")
    with caplog.at_level(logging.WARNING):
        assert await intake.file_message({**MINIMUM, "out_id": "other"}, task_id="task-1") is None
    assert re.search("message refused task_id=task-1 .*idempotency_key: already used", caplog.text)
    assert "OutId" not in (await record_of(redis, job_id_for_key("task-1")))["request"]


BAD_MESSAGES: list[object] = [
    {"phone_no_a": "150 1234 5678", "expires_in": "2h", "callback_url": "https://h/axn"},
    {"phone_no_a": A, "expires_in": "2h", "lane": A, "callback_url": "https://h/axn"},
    {"phone_no_a": A, "expires_in": "2h", A: A, "callback_url": "https://h/axn"},
    {"phone_no_a": A, "expires_in": "1s", "callback_url": "https://h/axn"},
    {"phone_no_a": [1, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8], "out_id": "\ud800", "callback_url": "https://h/axn"},
]


@pytest.mark.parametrize("given", BAD_MESSAGES)
async def test_a_bad_message_is_filed_with_its_refusal_and_its_receiver_but_no_number(
    intake: Intake, redis: Redis, given: object
) -> None:
    assert await intake.file_message(given, task_id="task-1") == (Lane.CHECKOUT, job_id_for_key("task-1"))
    record = await record_of(redis, job_id_for_key("task-1"))
    assert (record["state"], record["request"], record["callback_url"]) == (JobState.ACCEPTED, "{}", "https://h/axn")
    assert ": must be" in record["refusal"] or "is no field" in record["refusal"]
    assert A not in re.sub(r"[^\d*]", "", " ".join(record.values()))


@pytest.mark.parametrize("given", [None, [], "x", 5, [{"phone_no_a": A}]])
async def test_a_message_that_is_no_mapping_is_filed_with_its_refusal(
    intake: Intake, redis: Redis, given: object
) -> None:
    await intake.file_message(given, task_id="task-1")
    record = await record_of(redis, job_id_for_key("task-1"))
    assert record["refusal"] == "request: must be a mapping of field names to values"
    assert "callback_url" not in record


@pytest.mark.parametrize(
    "url",
    [
        "http://h/axn",
        "https://10.0.0.1/",
        "https://h:22/",
        "https://u:p@h/",
        "ftp://h",
        "",
        None,
        5,
        ["https://h"],
        "https://h/\ud800",
    ],
)
async def test_a_refusal_is_not_sent_where_callbacks_may_not_go(intake: Intake, redis: Redis, url: object) -> None:
    await intake.file_message({"phone_no_a": "x", "callback_url": url}, task_id="task-1")
    record = await record_of(redis, job_id_for_key("task-1"))
    assert record["refusal"]
    assert "callback_url" not in record
