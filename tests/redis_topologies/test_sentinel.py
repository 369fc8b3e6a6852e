"""The ledger's client behind Sentinels, and how Celery is told of such a broker."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.ledger.support import claimed, ledger_of, new_job
from tests.redis_topologies.clusters import until
from tests.redis_topologies.sentinels import SERVICE, Watched, watched
from worker.app import build_app
from worker.domain.job import JobState
from worker.errors import LedgerUnavailableError, WaitTimeoutError
from worker.ledger.endings import Endings
from worker.ledger.records import AttemptKnowledge, Settlement
from worker.redis_scripts import connect
from worker.settings import Settings


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("sentinels")) as made:
        yield made


async def test_an_unknown_service_is_told(servers: Watched) -> None:
    client = connect(servers.url(0).replace(SERVICE, "another"), timeout_ms=1000)
    with pytest.raises(LedgerUnavailableError, match="is unknown to the Sentinels, or has no primary; check their"):
        await ledger_of(client).open(new_job())
    await client.aclose()


def test_celery_reaches_the_primary(servers: Watched) -> None:
    settings = Settings(redis_url=servers.url(0), broker_url="")
    app = build_app(settings)
    with app.connection_for_write() as connection:
        queue: Any = connection.SimpleQueue(f"q-{uuid4().hex}")
        queue.put("ids")
        assert queue.get(timeout=5).payload == "ids"
        queue.close()
    assert settings.effective_broker_url.endswith("/1")


async def test_a_client_follows_the_primary_that_took_over(servers: Watched) -> None:
    client = connect(servers.url(0), timeout_ms=1000)
    ledger = ledger_of(client)
    job, later = new_job("1"), new_job("2")
    await ledger.open(job)
    endings = Endings(client, ledger)
    with pytest.raises(WaitTimeoutError):
        await endings.wait(job.job_id, 0.05)
    replicated = await client.execute_command("WAIT", 1, 2000)  # type: ignore[no-untyped-call]
    assert replicated == 1
    gone = servers.kill_primary()
    with pytest.raises(LedgerUnavailableError):
        await ledger.open(later)
    await asyncio.to_thread(servers.await_successor, gone)
    assert await ledger.open(later) > 0
    waiting = asyncio.create_task(endings.wait(job.job_id, 30))
    claim = await claimed(ledger, job.job_id)
    await ledger.settle(claim, Settlement(JobState.FAILED, AttemptKnowledge.CLOSED))
    assert (await waiting).state is JobState.FAILED
    servers.servers[gone].restart()
    await asyncio.to_thread(until, lambda: servers.primary() != gone, "it came back as the primary")
    await endings.aclose()
    await client.aclose()
