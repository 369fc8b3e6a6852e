"""Every kind of job, its whole way through real processes; then all of Redis is searched for the numbers of it."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from tasks import (
    BatchState,
    BindRequest,
    JobState,
    RebindRequest,
    UnbindRequest,
    UpdateRequest,
    batch_report,
    read,
    read_batch,
    start_batch,
    submit,
    wait,
)
from tests.live import Running, live_system
from tests.local.processes import wait_until
from tests.path.test_whole_way import callbacks_of, get, known
from tests.privacy.dump import everything_in, found_in
from worker.domain.encryption_keys import new_key
from worker.domain.job_ids import job_id_for_key

WAIT_S = 30.0
NOBODY = "http://127.0.0.1:9/axn"
KEYS = {"AXN_ENCRYPTION__KEYS": f"first:{new_key()}", "AXN_ENCRYPTION__INDEX_KEY": new_key()}


@pytest.fixture
def sealed() -> Iterator[Running]:
    """A system of its own, whose numbers are sealed."""
    with live_system({"AXN_PACE__BIND_AXN_PER_SECOND": "200", **KEYS}) as both:
        yield both


class Numbers:
    """Customers' numbers that nothing else in Redis is likely to look like."""

    def __init__(self) -> None:
        self.used: list[str] = []

    def new(self) -> str:
        self.used.append(f"138{secrets.randbelow(10**8):08}")
        return self.used[-1]


def bind(numbers: Numbers, **more: Any) -> BindRequest:
    return BindRequest(**({"phone_no_a": numbers.new(), "expires_in": "2h"} | more))


def everything_happens(running: Running, numbers: Numbers) -> None:
    receiver = running.system.receiver_url + "/axn"
    bound = wait(
        submit(
            bind(numbers, callback_url=receiver, phone_no_b=numbers.new(), renew={"while": "open", "extend_by": "1d"})
        ),
        WAIT_S,
    )
    assert bound.phone_no_x
    wait_until(lambda: len(callbacks_of(running, bound.job_id)) == 1)
    assert callbacks_of(running, bound.job_id)[0]["data"]["phone_no_x"] == bound.phone_no_x
    assert wait(submit(bind(numbers, callback_url=NOBODY)), WAIT_S).is_bound  # its callback stays in the ledger
    update = UpdateRequest(bind_job_id=bound.job_id, phone_no_a=numbers.new())
    assert wait(submit(update), WAIT_S).state is JobState.UPDATED
    for mode in ("new-x", "same-x"):
        old = wait(submit(bind(numbers)), WAIT_S)
        rebound = wait(submit(RebindRequest(bind_job_id=old.job_id, mode=mode, phone_no_a=numbers.new())), WAIT_S)
        assert rebound.is_bound
        assert rebound.old_phone_no_x == old.phone_no_x
    ended = wait(submit(bind(numbers)), WAIT_S)
    assert wait(submit(UnbindRequest(bind_job_id=ended.job_id)), WAIT_S).state is JobState.UNBOUND
    numbers.used += ["19900006002", "19900002002"]
    assert wait(submit(BindRequest(phone_no_a="19900006002", expires_in="2h")), WAIT_S).state is JobState.IN_DOUBT
    assert wait(submit(BindRequest(phone_no_a="19900002002", expires_in="2h")), WAIT_S).state is not JobState.BOUND
    task_id = secrets.token_hex(8)
    with Celery("shop", broker=running.system.env["AXN_BROKER_URL"], set_as_current=False) as client:
        mapping = {"PhoneNoA": numbers.new(), "expires_in": "2h"}
        client.send_task("axn.bind", args=[mapping], queue="axn.checkout", task_id=task_id)
    wait_until(lambda: known(job_id_for_key(task_id)), WAIT_S)
    assert wait(job_id_for_key(task_id), WAIT_S).is_bound
    rows = [{"phone_no_a": numbers.new(), "expires_in": "2h"} for _ in range(8)]
    batch = start_batch(rows, name=task_id, op="bind", callback_url=receiver)
    wait_until(lambda: read_batch(batch.batch_id).state is BatchState.FINISHED, WAIT_S)
    lines = list(batch_report(batch.batch_id))
    assert all(line.phone_no_x == read(line.job_id).phone_no_x for line in lines)


def dump_of(running: Running) -> dict[str, bytes]:
    dump: dict[str, bytes] = {}
    for variable in ("AXN_REDIS_URL", "AXN_BROKER_URL"):
        url = running.system.env[variable].replace("redis+socket://", "unix://").replace("?virtual_host=", "?db=")
        dump |= everything_in(url)
    return dump


def private_numbers(running: Running) -> list[str]:
    made = get(running.system.sandbox_url + "/_sandbox/bindings")["bindings"]
    return sorted({binding["PhoneNoX"] for binding in made})


@pytest.mark.whole
def test_a_dump_shows_no_number_where_they_are_sealed(sealed: Running) -> None:
    numbers = Numbers()
    everything_happens(sealed, numbers)
    private = private_numbers(sealed)
    assert len(private) > len(numbers.used) / 2
    assert not found_in(dump_of(sealed), [*numbers.used, *private])


def test_the_same_search_finds_them_where_they_are_plain(running: Running) -> None:
    numbers = Numbers()
    everything_happens(running, numbers)
    found = found_in(dump_of(running), numbers.used)
    assert len(found) >= len(numbers.used) - 1  # an update took one out
    assert {key.split(":")[2] for keys in found.values() for key in keys} >= {"job", "batch"}
    assert any(
        ":callback:" in key for keys in found_in(dump_of(running), private_numbers(running)).values() for key in keys
    )
