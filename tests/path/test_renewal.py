"""From a bind request with a policy to the callback of its renewal, with every part real."""

from typing import Any
from uuid import uuid4

import redis

from tasks import BindRequest, close_order, submit, wait
from tests.live import Running
from tests.local.processes import wait_until
from tests.path.test_whole_way import WAIT_S, bindings_of, callbacks_of
from worker.domain.job_ids import partition_of
from worker.ledger.keys import job_keys, timetable_key
from worker.ledger.renewal_keys import renewal_member, renewals_key


def test_a_kept_binding_is_renewed_by_a_worker_and_told_of_until_its_order_is_closed(running: Running) -> None:
    order = f"order-{uuid4().hex}"
    request = BindRequest(
        phone_no_a="13900001234",
        expires_in="2h",
        out_order_id=order,
        callback_url=running.system.receiver_url + "/axn",
        renew={"while": "open", "extend_by": "1d"},
    )
    job = wait(submit(request), WAIT_S)
    assert job.is_bound
    (before,) = bindings_of(running, order)
    ledger: Any = redis.Redis.from_url(running.system.env["AXN_REDIS_URL"], decode_responses=True)
    with ledger:
        partition = partition_of(job.job_id)
        assert ledger.zscore(timetable_key(partition), renewal_member(partition))
        ledger.zadd(renewals_key(partition), {job.job_id: 1})  # its time has come
        ledger.zadd(timetable_key(partition), {renewal_member(partition): 1})
        wait_until(lambda: ledger.hget(job_keys(job.job_id).job, "renewals") == "1")
        (after,) = bindings_of(running, order)
        assert after["ExpireDate"] > before["ExpireDate"]
        wait_until(lambda: [event["type"] for event in callbacks_of(running, job.job_id)].count("binding.renewed") == 1)
        assert close_order(order, unbind=True).closed == (job.job_id,)
        assert ledger.zscore(renewals_key(partition), job.job_id) is None
    wait_until(lambda: bindings_of(running, order)[0]["ended"] == "unbound")


def test_a_bind_that_is_on_its_way_when_its_order_is_closed_is_ended_all_the_same(running: Running) -> None:
    order = f"order-{uuid4().hex}"
    job_id = submit(BindRequest(phone_no_a="13900001234", expires_in="2h", out_order_id=order))
    close_order(order, unbind=True)
    assert wait(job_id, WAIT_S).is_bound
    wait_until(lambda: [binding["ended"] for binding in bindings_of(running, order)] == ["unbound"])
