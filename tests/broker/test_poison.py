"""What is no message, or one nobody can work on, costs its own place in the queue and nothing else."""

import base64
import json
import sys
from typing import Any, cast
from uuid import uuid4

import kombu
import pytest

from tests.broker.conftest import A, WorkerUnderTest
from tests.local.processes import wait_until
from worker import broker, broker_channel
from worker.local.redis_server import EmbeddedRedis

SLOTS = 32
JOBS: list[Any] = [[{"v": 1, "lane": "checkout", "ids": []}], {}, {}]


def encoded(body: object) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def message(body: object = None, **parts: Any) -> dict[str, Any]:
    """A good one, but for its `parts`."""
    queue = {"exchange": "axn.checkout", "routing_key": "axn.checkout"}
    return {
        "body": encoded(JOBS) if body is None else body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "axn.jobs", "id": str(uuid4()), "retries": 0},
        "properties": {"delivery_info": queue, "delivery_tag": str(uuid4()), "body_encoding": "base64", "priority": 0},
    } | parts


def without(*path: str) -> dict[str, Any]:
    made = message()
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return made


def changed(value: object, *path: str, body: object = None) -> dict[str, Any]:
    made = message(None if body is None else encoded(body))
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return made


NO_MESSAGES = {
    "text": f"not json {A}", "nothing": "", "no text": b"\xff\xfe\x00", "a list": "[]", "a mapping": "{}",
    "a number": "1", "null": "null", "a JSON text": f'"{A}"', "NaN": "NaN", "endless nesting": "[" * 100_000,
    "no properties": without("properties"), "null properties": changed(None, "properties"),
    "properties in a list": changed([], "properties"), "no delivery tag": without("properties", "delivery_tag"),
    "a mapping for a tag": changed({}, "properties", "delivery_tag"),
    "no delivery info": without("properties", "delivery_info"),
    "no exchange": without("properties", "delivery_info", "exchange"),
    "a list for delivery info": changed([1], "properties", "delivery_info"),
    "no headers": without("headers"), "headers in a list": changed([1], "headers"), "a text": changed(A, "headers"),
    "no body": without("body"), "a null body": changed(None, "body"), "a number for a body": message(7),
    "a mapping for a body": message({"a": A}), "a body that is not base64": message(f"%%%{A}"),
    "a body that is not JSON": message(base64.b64encode(f"not json {A}".encode()).decode()),
    "a body that is no text": message(base64.b64encode(b"\xff\xfe").decode()),
    "an unknown body encoding": changed("rot13", "properties", "body_encoding"),
    "pickle": changed("application/x-python-serialize", "content-type"),
    "yaml": changed("application/x-yaml", "content-type"), "a mapping for a type": changed({}, "content-type"),
    "a list for a charset": changed([1], "content-encoding"),
    "what is not compressed": changed("application/x-gzip", "headers", "compression"),
}  # fmt: skip
NO_TASKS = {
    "an unknown task": changed("no.such.task", "headers", "task", body=[[A], {}, {}]),
    "a number for a task": changed(A, "headers", "task"),
    "a mapping for a task": changed({}, "headers", "task"), "no task": without("headers", "task"),
    "no id": without("headers", "id"), "a list for an id": changed([A], "headers", "id"),
    "an endless id": changed("x" * 100_000, "headers", "id"),
    "arguments in a mapping": message(encoded({"a": A})), "arguments that are numbers": message(encoded([5, 6, 7])),
    "no keyword arguments": message(encoded([[1]])), "a list for keywords": message(encoded([[], [], {}])),
    "callbacks that are none": message(encoded([[], {}, {"callbacks": "x", "chain": 9}])),
    "a time that is none": changed("never", "headers", "eta"),
    "an end that is none": changed("never", "headers", "expires"),
    "a limit that is none": changed("x", "headers", "timelimit"),
}  # fmt: skip
NO_WORK = {
    "a version to come": message(encoded([[{"v": 9, "lane": "checkout", "ids": [A]}], {}, {}])),
    "no lane": message(encoded([[{"v": 1, "lane": A, "ids": []}], {}, {}])),
    "numbers for ids": message(encoded([[{"v": 1, "lane": "checkout", "ids": [A]}], {}, {}])),
    "ten megabytes": message(encoded([["x" * 10_000_000], {}, {}])),
    "a request of ten megabytes": changed("axn.bind", "headers", "task", body=[[{"out_id": "x" * 10_000_000}], {}, {}]),
    "a bad request": changed("axn.bind", "headers", "task", body=[[], {"phone_no_a": A}, {}]),
    "deep nesting": changed(json.loads("[" * 900 + "]" * 900), "headers", "x"),
    "an unknown charset": changed("klingon", "content-encoding"),
}  # fmt: skip


def raw(entry: object) -> bytes | str:
    return entry if isinstance(entry, bytes | str) else json.dumps(entry)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in {**NO_MESSAGES, **NO_TASKS}.items()])
def test_what_cannot_be_read_is_set_aside_and_the_next_job_is_done(worker: WorkerUnderTest, entry: object) -> None:
    worker.send(raw(entry))
    worker.does_a_job()
    assert worker.is_running
    (kept,) = worker.set_aside()
    content = raw(entry)
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else content
    assert kept["queue"] == "axn.checkout"
    assert kept["content"][:8] == text[:8]
    assert len(kept["content"]) <= broker_channel.MOST_POISON_CHARACTERS
    assert A not in worker.log
    wait_until(lambda: worker.under_way() == 0)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in NO_WORK.items()])
def test_what_asks_for_no_work_of_ours_is_acknowledged(worker: WorkerUnderTest, entry: object) -> None:
    worker.send(raw(entry))
    worker.does_a_job()
    assert worker.is_running
    assert worker.set_aside() == []
    assert A not in worker.log
    wait_until(lambda: worker.under_way() == 0)


def test_no_number_of_unreadable_messages_takes_the_worker_s_slots(worker: WorkerUnderTest) -> None:
    bodies = [[5, 6, 7], [[], {}, {"callbacks": "x", "chain": 9}], [[1]]]
    for body in bodies:
        for _ in range(SLOTS + 1):
            worker.send(json.dumps(message(encoded(body))))
    worker.does_a_job()
    assert len(worker.set_aside()) == len(bodies) * (SLOTS + 1)


def test_requests_of_a_newer_release_wait_for_it_in_the_queue_and_leave_most_slots_to_others(
    worker: WorkerUnderTest,
) -> None:
    held = SLOTS // 4
    for _ in range(held + 3):
        worker.send(json.dumps(changed("axn.of_next_year", "headers", "task", body=[[{"phone_no_a": A}], {}, {}])))
    worker.does_a_job()
    assert worker.log.count("request of a newer release: handed back") == held
    assert len(worker.set_aside()) == 3, "no more than that, and none is lost"
    wait_until(lambda: worker.log.count("request of a newer release: handed back") > held)
    with worker.redis(1) as client:  # popped and not yet on record it is nowhere to be seen, for a moment
        wait_until(lambda: cast("int", client.llen("axn.checkout")) + worker.under_way() == held)
        worker.stop()
        client.delete("axn.checkout", "unacked", "unacked_index")  # no worker of later tests would ever take them
    assert A not in worker.log


def test_an_error_names_the_queue_and_the_fault_but_nothing_of_the_content(worker: WorkerUnderTest) -> None:
    worker.send(raw(NO_TASKS["an unknown task"]))
    worker.send(f"not json 139 0000 1234 {A}")
    worker.does_a_job()
    assert 'message cannot be read: set aside queue=axn.checkout code="unknown task no.such.task"' in worker.log
    assert "set aside queue=axn.checkout code=JSONDecodeError key=axn1:poison_messages" in worker.log
    assert "139 0000" not in worker.log
    assert "not json" not in worker.log


def test_what_is_set_aside_is_bounded_in_number_size_and_time(
    redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_channel, "MOST_POISON_MESSAGES", 3)
    with broker.Connection(redis_server.broker_url(3)) as connection, connection.channel() as made:
        channel: Any = made
        for number in range(5):
            channel.set_aside("q", f"{number}" * 1_000_000, "why")
        kept = [json.loads(entry) for entry in channel.client.lrange(broker_channel.POISON_KEY, 0, -1)]
        assert [entry["content"][0] for entry in kept] == ["4", "3", "2"]
        assert all(len(entry["content"]) == broker_channel.MOST_POISON_CHARACTERS for entry in kept)
        assert 0 < channel.client.ttl(broker_channel.POISON_KEY) <= 7 * 86_400
        channel.client.flushdb()


def test_brokers_other_than_redis_keep_kombu_s_transport() -> None:
    assert broker.Connection("memory://").transport_cls == "memory"
    assert broker.Connection("memory://").get_transport_cls() is kombu.Connection("memory://").get_transport_cls()
    for scheme in ("redis", "rediss"):
        assert broker.Connection(f"{scheme}://h/1").get_transport_cls() is broker_channel.Transport
    assert broker.Connection("sentinel://h:1").get_transport_cls() is broker_channel.SentinelTransport


def test_a_worker_started_by_plain_celery_masks_numbers_too(worker: WorkerUnderTest) -> None:
    worker.stop()
    worker.start(sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "axn.checkout", "-l", "info")
    worker.send(raw(NO_WORK["no lane"]))
    worker.send(raw(NO_TASKS["an unknown task"]))
    worker.send(json.dumps(changed(A, "headers", "id")))
    worker.does_a_job()
    worker.stop()
    assert "139****1234" in worker.log
    assert A not in worker.log
