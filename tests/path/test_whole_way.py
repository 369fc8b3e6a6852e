"""From a producer's door to the callback, with every part real."""

import json
import urllib.request
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from tasks import (
    BindRequest,
    IdempotencyConflictError,
    JobKind,
    JobNotFoundError,
    JobState,
    Lane,
    UnbindRequest,
    UpdateRequest,
    job_id_for_key,
    read,
    submit,
    submit_many,
    wait,
)
from tests.live import Running
from tests.local.processes import wait_until

WAIT_S = 30.0


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def post(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10):
        pass


def bindings_of(running: Running, order: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(f"{running.system.sandbox_url}/_sandbox/bindings?out_order_id={order}")[
        "bindings"
    ]
    return found


def callbacks_of(running: Running, job_id: str) -> list[dict[str, Any]]:
    events = get(running.system.receiver_url + "/_receiver/events")
    return [event for event in events if event["verified"] and event["data"].get("job_id") == job_id]


def request(running: Running, order: str, **more: Any) -> BindRequest:
    given: dict[str, Any] = {
        "phone_no_a": "13900001234",
        "expires_in": "2h",
        "out_order_id": order,
        "callback_url": running.system.receiver_url + "/axn",
    }
    return BindRequest(**(given | more))


@pytest.fixture
def order() -> str:
    return f"order-{uuid4().hex}"


@pytest.fixture
def client(running: Running) -> Celery:
    """Somebody else's Celery: it knows our broker, a task's name and a queue's name."""
    return Celery("shop", broker=running.system.env["AXN_BROKER_URL"], set_as_current=False)


def test_a_bound_job_has_the_sandbox_s_number_and_one_verified_callback(running: Running, order: str) -> None:
    job = wait(submit(request(running, order)), WAIT_S)
    assert job.state is JobState.BOUND
    (binding,) = bindings_of(running, order)
    assert (job.phone_no_x, job.subs_id) == (binding["PhoneNoX"], binding["SubsId"])
    wait_until(lambda: len(callbacks_of(running, job.job_id)) == 1)
    (callback,) = callbacks_of(running, job.job_id)
    assert callback["type"] == "bind.succeeded"
    assert callback["data"]["phone_no_x"] == job.phone_no_x
    assert callback["data"]["phone_no_a"] == "139****1234"
    wait_until(lambda: read(job.job_id).callback_state == "delivered")


def test_many_jobs_of_the_batch_lane_are_bound(running: Running, order: str) -> None:
    rows = submit_many(request(running, f"{order}-{row}", lane="batch") for row in range(120))
    jobs = [wait(row.job_id, WAIT_S) for row in rows]
    assert all(job.is_bound and job.lane is Lane.BATCH for job in jobs)
    assert len({job.phone_no_x for job in jobs}) == len(jobs)


def test_the_same_key_is_the_same_job_and_another_payload_is_refused(running: Running, order: str) -> None:
    first = submit(request(running, order, idempotency_key=order))
    assert submit(request(running, order, idempotency_key=order)) == first
    with pytest.raises(IdempotencyConflictError):
        submit(request(running, order, idempotency_key=order, phone_no_a="13900009999"))
    assert wait(first, WAIT_S).is_bound
    assert len(bindings_of(running, order)) == 1


def test_any_celery_client_may_send_a_request(running: Running, client: Celery, order: str) -> None:
    mapping = {"PhoneNoA": "13900001234", "expires_in": "2h", "OutOrderId": order}
    task_id = str(uuid4())
    for _ in range(2):
        client.send_task("axn.bind", args=[mapping], queue="axn.checkout", task_id=task_id)
    job_id = job_id_for_key(task_id)
    wait_until(lambda: known(job_id), WAIT_S)
    assert wait(job_id, WAIT_S).is_bound
    assert len(bindings_of(running, order)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no argument"),
        pytest.param(["13900001234"], id="a text"),
        pytest.param([42], id="a number"),
        pytest.param([None], id="null"),
        pytest.param([{}], id="an empty mapping"),
        pytest.param([{"phone_no_a": "13900001234"}, {"phone_no_a": "13900001235"}], id="two requests"),
        pytest.param([{"phone_no_a": "+86 139-0000-1234", "expires_in": "2h"}], id="an international number"),
        pytest.param([{"phone_no_a": 13900001234, "expires_in": "2h"}], id="a number for a text"),
        pytest.param([{"phone_no_a": "13900001234", "expiration": "tomorrow"}], id="no date"),
        pytest.param([{"phone_no_a": "13900001234", "expiration": "2020-01-01 00:00:00"}], id="the past"),
        pytest.param([{"phone_no_a": "13900001234", "expires_in": "2h", "phone_no_c": "1"}], id="an unknown field"),
        pytest.param([{"phone_no_a": "13900001234", "expires_in": "2h", "lane": "callback"}], id="no producer's lane"),
    ],
)
def test_a_bad_message_becomes_a_failed_job_with_its_reason(
    running: Running, client: Celery, arguments: list[Any]
) -> None:
    task_id = str(uuid4())
    if len(arguments) == 1 and isinstance(arguments[0], dict):
        arguments = [arguments[0] | {"callback_url": running.system.receiver_url + "/axn"}]
    client.send_task("axn.bind", args=arguments, queue="axn.checkout", task_id=task_id)
    job_id = job_id_for_key(task_id)
    wait_until(lambda: known(job_id), WAIT_S)
    job = wait(job_id, WAIT_S)
    assert (job.state, job.code) == (JobState.FAILED, "request.invalid")
    assert job.message
    assert "13900001234" not in job.message
    if len(arguments) == 1 and isinstance(arguments[0], dict):
        wait_until(lambda: [event["type"] for event in callbacks_of(running, job_id)] == ["bind.failed"])


@pytest.mark.parametrize("kind", [JobKind.UPDATE, JobKind.UNBIND])
def test_a_bad_update_or_unbind_becomes_a_failed_job_of_its_kind(
    running: Running, client: Celery, kind: JobKind
) -> None:
    task_id = str(uuid4())
    client.send_task(f"axn.{kind.value}", kwargs={"subs_id": "x"}, queue="axn.checkout", task_id=task_id)
    job_id = job_id_for_key(task_id)
    wait_until(lambda: known(job_id), WAIT_S)
    job = wait(job_id, WAIT_S)
    assert (job.kind, job.state, job.code) == (kind, JobState.FAILED, "request.invalid")
    assert "subs_id: must be digits only" in job.message


def test_a_binding_is_updated_and_unbound_by_the_job_that_made_it(running: Running, order: str) -> None:
    bound = wait(submit(request(running, order)), WAIT_S)
    receiver = running.system.receiver_url + "/axn"
    updates = submit_many(
        [
            UpdateRequest(bind_job_id=bound.job_id, out_id=f"{order}-new", callback_url=receiver),
            UpdateRequest(bind_job_id=bound.job_id, phone_no_a="13900005678"),
        ]
    )
    assert [wait(update.job_id, WAIT_S).state for update in updates] == [JobState.UPDATED, JobState.UPDATED]
    (binding,) = bindings_of(running, order)
    assert (binding["PhoneNoA"], binding["OutId"]) == ("13900005678", f"{order}-new")
    wait_until(lambda: [event["type"] for event in callbacks_of(running, updates[0].job_id)] == ["update.succeeded"])
    for _ in range(2):  # the second finds the binding gone, and knows that it was there
        unbound = wait(submit(UnbindRequest(bind_job_id=bound.job_id, callback_url=receiver)), WAIT_S)
        assert (unbound.state, unbound.phone_no_x, unbound.subs_id) == (
            JobState.UNBOUND, bound.phone_no_x, bound.subs_id,
        )  # fmt: skip
        wait_until(lambda: [event["type"] for event in callbacks_of(running, unbound.job_id)] == ["unbind.succeeded"])  # noqa: B023 - asked at once
    mistyped = wait(submit(UnbindRequest(subs_id=bound.subs_id, phone_no_x=bound.phone_no_x)), WAIT_S)
    assert mistyped.state is JobState.FAILED


@pytest.mark.parametrize("kind", [JobKind.UPDATE, JobKind.UNBIND])
def test_any_celery_client_may_change_a_binding(running: Running, client: Celery, order: str, kind: JobKind) -> None:
    bound = wait(submit(request(running, order)), WAIT_S)
    change = {"bind_job_id": bound.job_id} | ({"OutId": "o"} if kind is JobKind.UPDATE else {})
    task_id = str(uuid4())
    client.send_task(f"axn.{kind.value}", args=[change], queue="axn.checkout", task_id=task_id)
    job_id = job_id_for_key(task_id)
    wait_until(lambda: known(job_id), WAIT_S)
    assert wait(job_id, WAIT_S).state.is_success


def known(job_id: str) -> bool:
    try:
        return bool(read(job_id))
    except JobNotFoundError:
        return False


def test_a_throttled_job_waits_and_is_bound(running: Running, order: str) -> None:
    post(running.system.sandbox_url + "/_sandbox/faults", {"kind": "throttle", "count": 2, "action": "BindAxn"})
    job = wait(submit(request(running, order)), WAIT_S)
    assert job.is_bound
    assert job.attempts == 3


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        pytest.param("close_before", JobState.BOUND, id="it never arrived"),
        pytest.param("close_after", JobState.IN_DOUBT, id="it was done"),
        pytest.param("http_503", JobState.IN_DOUBT, id="it arrived, and nobody tells"),
    ],
)
def test_an_unclear_answer_never_binds_twice_silently(running: Running, order: str, kind: str, end: JobState) -> None:
    post(running.system.sandbox_url + "/_sandbox/faults", {"kind": kind, "count": 1, "action": "BindAxn"})
    job = wait(submit(request(running, order)), WAIT_S)
    assert len(bindings_of(running, order)) <= 1
    assert job.state is end


def test_rebind_binds_anew_and_reports_the_possible_orphan(running: Running, order: str) -> None:
    post(running.system.sandbox_url + "/_sandbox/faults", {"kind": "close_after", "count": 1, "action": "BindAxn"})
    job = wait(submit(request(running, order, on_doubt="rebind")), WAIT_S)
    assert job.is_bound
    assert job.possible_orphans == 1
    made = bindings_of(running, order)
    assert len(made) == 2
    assert job.phone_no_x == made[-1]["PhoneNoX"]
