"""A worker waits while Redis or its broker is away, full, read-only or silent, and goes on by itself."""

import os
import signal
import time
from uuid import uuid4

import pytest
from celery import Celery
from kombu.utils import functional

from tasks import JobNotFoundError, LedgerUnavailableError, job_id_for_key, read, wait
from tests.broker.conftest import A, WorkerUnderTest
from tests.local.processes import wait_until
from worker import producers
from worker.broker import LONGEST_RECONNECT_PAUSE_S, Connection

TRIES = 20


class EnoughTriesError(Exception):
    pass


@pytest.fixture
def pauses_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long kombu slept between its tries to connect, were it to sleep."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 3 * TRIES:
            raise EnoughTriesError

    monkeypatch.setattr(functional, "sleep", sleep)
    return slept


def longest_pauses_s(told_s: list[float]) -> list[float]:
    with pytest.raises(EnoughTriesError):
        Connection("redis://127.0.0.1:1/0").ensure_connection(lambda _failure, pause_s: told_s.append(pause_s))
    return told_s


def test_however_long_the_broker_is_away_tries_are_a_few_seconds_apart_and_differ(pauses_s: list[float]) -> None:
    first = longest_pauses_s([])
    pauses_s.clear()
    second = longest_pauses_s([])
    assert len(first) >= TRIES
    assert max(first) <= LONGEST_RECONNECT_PAUSE_S
    assert min(first[-5:]) >= LONGEST_RECONNECT_PAUSE_S / 3
    assert first == sorted(first)
    assert first[0] < 1
    assert first != second


def test_a_publisher_s_own_pauses_are_kept(pauses_s: list[float]) -> None:
    told_s: list[float] = []
    connection = Connection("redis://127.0.0.1:1/0")
    with pytest.raises(connection.connection_errors):
        connection._ensure_connection(
            lambda _failure, pause_s: told_s.append(pause_s), 2, 0, 0.1, 0.2, reraise_as_library_errors=False
        )
    assert told_s == [0, 0.1]


def test_a_worker_whose_redis_was_killed_works_again_soon_after_its_return(worker: WorkerUnderTest) -> None:
    worker.does_a_job()
    os.kill(worker.server.pid, signal.SIGKILL)
    time.sleep(4)  # long enough for the pauses to have grown
    with pytest.raises(LedgerUnavailableError, match="cannot be reached; check AXN_REDIS_URL"):
        worker.submit()
    worker.server.restart()
    worker.does_a_job(within_s=10)
    assert worker.is_running


def test_a_worker_whose_connections_are_swallowed_silently_is_back_soon(worker: WorkerUnderTest) -> None:
    worker.does_a_job()
    worker.way.swallow_present_connections()
    producers.close()  # its connection to the broker is swallowed, too: only the worker's is of interest here
    worker.does_a_job(within_s=15)  # of kombu's own settings it would take 51
    assert "BRPOP got no reply" in worker.log


def test_a_full_redis_costs_no_request_and_no_worker(worker: WorkerUnderTest) -> None:
    shop = Celery("shop", broker=worker.server.broker_url(1), set_as_current=False)
    task_ids = [str(uuid4()) for _ in range(3)]
    with worker.redis() as client:
        with worker.standing_still():
            for task_id in task_ids:
                arguments = [{"phone_no_a": A, "expires_in": "2h"}]
                shop.send_task("axn.bind", args=arguments, queue="axn.checkout", task_id=task_id)
            client.config_set("maxmemory", "1mb")
        try:
            with pytest.raises(LedgerUnavailableError, match="is full and stored nothing; raise its maxmemory"):
                worker.submit()
            wait_until(lambda: worker.log.count("message waits") == len(task_ids))
        finally:
            client.config_set("maxmemory", "0")
    worker.does_a_job()
    wait_until(lambda: all(is_bound(job_id_for_key(task_id)) for task_id in task_ids))
    assert worker.is_running


def is_bound(job_id: str) -> bool:
    try:
        return read(job_id).is_bound
    except JobNotFoundError:
        return False


def test_a_redis_that_was_read_only_is_worked_with_again_and_was_not_stormed(worker: WorkerUnderTest) -> None:
    with worker.redis() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            with pytest.raises(LedgerUnavailableError, match="read-only replica; point AXN_REDIS_URL at the master"):
                worker.submit()
            wait_until(lambda: "read only replica" in worker.log)
            before = client.info("stats")["total_connections_received"]
            time.sleep(2)
            connections = client.info("stats")["total_connections_received"] - before
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    worker.does_a_job(within_s=10)
    assert worker.is_running
    assert connections < 20


def test_forgotten_scripts_are_loaded_again(worker: WorkerUnderTest) -> None:
    worker.does_a_job()
    with worker.redis() as client:
        client.script_flush()
    worker.does_a_job()
    assert worker.is_running


def test_a_redis_that_stood_still_is_worked_with_again(worker: WorkerUnderTest) -> None:
    job_id = worker.submit()
    os.kill(worker.server.pid, signal.SIGSTOP)
    try:
        time.sleep(1)
    finally:
        os.kill(worker.server.pid, signal.SIGCONT)
    assert wait(job_id, 10).is_bound
    worker.does_a_job()
