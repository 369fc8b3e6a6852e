"""Single messages in groups, in a real worker: what waits together is taken together, and a stop loses none."""

import base64
import json
import signal
from typing import Any, cast

import pytest

from tests.broker.conftest import A, WorkerUnderTest
from tests.broker.test_poison import changed, message, without
from tests.local.processes import wait_until
from worker import producers
from worker.domain.bind_request import BindRequest

UNREADABLE = [f"not json {A}", "null", json.dumps(message(7)), json.dumps(without("headers"))]
REQUEST = BindRequest(phone_no_a=A, expires_in="2h")


def calls(worker: WorkerUnderTest, command: str) -> int:
    with worker.redis(1) as client:
        stats = cast("dict[str, Any]", client.info("commandstats"))
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def ids_on_the_queue(worker: WorkerUnderTest) -> set[str]:
    with worker.redis(1) as client:
        entries = cast("list[bytes]", client.lrange("axn.checkout", 0, -1))
    bodies = [json.loads(base64.b64decode(json.loads(entry)["body"])) for entry in entries]
    return {id_ for (told,), _, _ in bodies for id_ in told["ids"]}


def test_messages_that_wait_are_taken_in_few_calls_and_all_are_acknowledged(worker: WorkerUnderTest) -> None:
    with worker.standing_still():
        jobs = []
        for number in range(60):
            jobs.append(producers.submit(REQUEST))
            worker.send(UNREADABLE[number % len(UNREADABLE)])
        alone, together = calls(worker, "brpop"), calls(worker, "rpop")
    assert all(producers.wait(job_id, 20).is_bound for job_id in jobs)
    wait_until(lambda: worker.under_way() == 0)
    assert calls(worker, "rpop") - together > 0
    assert calls(worker, "brpop") - alone < len(jobs)
    assert len(worker.set_aside()) == len(jobs)
    assert "Task axn.jobs" not in worker.log, "it went through the pool"


@pytest.mark.parametrize(("name", "value"), [("eta", "2020-01-01T00:00:00Z"), ("timelimit", [60, None])])
def test_what_only_celery_s_own_strategy_can_do_is_left_to_it(worker: WorkerUnderTest, name: str, value: Any) -> None:
    unusual = changed(value, "headers", name)
    unusual["headers"]["id"] = f"with-{name}"  # an id with many digits is masked in the log
    worker.send(json.dumps(unusual))
    wait_until(lambda: f"Task axn.jobs[with-{name}] succeeded" in worker.log)
    wait_until(lambda: worker.under_way() == 0)


def test_a_stop_settles_what_is_under_way_and_gives_the_rest_back(worker: WorkerUnderTest) -> None:
    with worker.standing_still():
        jobs = [producers.submit(REQUEST) for _ in range(150)]
    wait_until(lambda: producers.read(jobs[0]).is_bound)
    assert worker.ends_after(signal.SIGTERM) == 0, worker.log
    assert worker.under_way() == 0
    unfinished = {job_id for job_id in jobs if not producers.read(job_id).is_bound}
    assert unfinished, "it was stopped in the midst of them"
    assert unfinished <= ids_on_the_queue(worker)
    worker.start()
    assert all(producers.wait(job_id, 20).is_bound for job_id in jobs)
