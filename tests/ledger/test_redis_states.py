"""Whatever state Redis is in: a call ends in bounded time, well or with what is wrong and what to do about it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis as blocking
from redis import exceptions
from redis.asyncio import Redis

from tests.ledger.support import ledger_of, new_job
from tests.local.processes import wait_until
from worker.errors import JobNotFoundError, LedgerUnavailableError
from worker.ledger.endings import Endings
from worker.local.child import child_command
from worker.local.redis_server import (
    SOCKET_NAME,
    EmbeddedRedis,
    answers_ping,
    find_server,
    new_folder,
    redis_command,
    redis_url,
)
from worker.redis_faults import LEAST_ACL, redis_fault
from worker.redis_scripts import connect, longest_call_s

TIMEOUT_MS = 150
PASSWORD = "s3cr3t-passw0rd"

Asked = Callable[[Redis], Awaitable[object]]


async def submit(client: Redis) -> object:
    return await ledger_of(client).open(new_job("one"))


async def submit_many(client: Redis) -> object:
    return await ledger_of(client).open_many([new_job("many", parameters={"PhoneNoA": "13900001234"})])


async def read(client: Redis) -> object:
    return await ledger_of(client).read(new_job("nobody").job_id)


async def wait(client: Redis) -> object:
    endings = Endings(client, ledger_of(client))
    try:
        return await endings.wait(new_job("nobody").job_id, 30)
    finally:
        await endings.aclose()


WRITES: tuple[Asked, ...] = (submit, submit_many)
ALL: tuple[Asked, ...] = (*WRITES, read, wait)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[Any]:
    with closing(blocking.Redis(unix_socket_path=str(server.socket_path), decode_responses=True)) as client:
        client.flushall()
        yield client


async def refusals(url: str, asked: tuple[Asked, ...]) -> AsyncIterator[str]:
    for ask in asked:
        client = connect(url, timeout_ms=TIMEOUT_MS)
        began_s = time.monotonic()
        with pytest.raises(LedgerUnavailableError) as refused:
            await ask(client)
        assert time.monotonic() - began_s < longest_call_s(client) + 0.3
        await client.aclose()
        assert PASSWORD not in str(refused.value)
        assert refused.value.__cause__ is None
        yield str(refused.value).removeprefix("the ledger's Redis ")


def as_user(server: EmbeddedRedis, name: str, password: str = PASSWORD) -> str:
    return f"unix://{name}:{quote(password)}@{server.socket_path}?db=0"


@contextmanager
def configured(admin: Any, name: str, value: str) -> Iterator[None]:
    before = admin.config_get(name)[name]
    admin.config_set(name, value)
    try:
        yield
    finally:
        admin.config_set(name, before)


@contextmanager
def replica(admin: Any, stale: str) -> Iterator[None]:
    with configured(admin, "replica-serve-stale-data", stale):
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            yield
        finally:
            admin.execute_command("REPLICAOF", "NO", "ONE")


def full(admin: Any) -> AbstractContextManager[None]:
    return configured(admin, "maxmemory", "1mb")


def read_only(admin: Any) -> AbstractContextManager[None]:
    return replica(admin, "yes")


def without_its_master(admin: Any) -> AbstractContextManager[None]:
    return replica(admin, "no")


def without_replicas(admin: Any) -> AbstractContextManager[None]:
    return configured(admin, "min-replicas-to-write", "1")


@pytest.mark.parametrize(
    ("state", "asked", "told"),
    [
        pytest.param(full, WRITES, "is full and stored nothing; raise its maxmemory, or", id="out of memory"),
        pytest.param(read_only, WRITES, "is a read-only replica; point AXN_REDIS_URL at", id="replica"),
        pytest.param(without_its_master, ALL, "is a replica that has lost its master; point", id="stale replica"),
        pytest.param(without_replicas, WRITES, "has too few replicas to take writes", id="too few replicas"),
    ],
)
async def test_a_refusal_says_what_is_wrong_and_what_to_do(
    server: EmbeddedRedis,
    admin: Any,
    state: Callable[[Any], AbstractContextManager[None]],
    asked: tuple[Asked, ...],
    told: str,
) -> None:
    with state(admin):
        async for refusal in refusals(server.url(0), asked):
            assert refusal.startswith(told)
    client = connect(server.url(0), timeout_ms=TIMEOUT_MS)
    assert await submit(client)
    await client.aclose()


@pytest.mark.parametrize(
    ("rights", "asked"),
    [
        pytest.param("~axn1:* &* -@all +ping +hello +client +select", ALL, id="no commands"),
        pytest.param("~other:* &* +@all", ALL, id="no keys"),
        pytest.param("~axn1:* &* +@all -hset", WRITES, id="not all of a script's commands"),
    ],
)
async def test_missing_rights_are_named_with_those_that_suffice(
    server: EmbeddedRedis, admin: Any, rights: str, asked: tuple[Asked, ...]
) -> None:
    admin.execute_command("ACL", "SETUSER", "poor", "reset", "on", f">{PASSWORD}", *rights.split())
    async for refusal in refusals(as_user(server, "poor"), asked):
        assert refusal == f"lacks rights for this user; its ACL must allow {LEAST_ACL}"


async def test_the_rights_that_are_named_do_suffice(server: EmbeddedRedis, admin: Any) -> None:
    admin.execute_command("ACL", "SETUSER", "fit", "reset", "on", f">{PASSWORD}", *LEAST_ACL.split())
    client = connect(as_user(server, "fit"), timeout_ms=TIMEOUT_MS)
    assert await submit(client)
    many = await submit_many(client)
    assert isinstance(many, list)
    assert all(many)
    for ask in (read, wait):
        with pytest.raises(JobNotFoundError):
            await ask(client)
    await client.aclose()


async def test_a_wrong_password_a_wrong_database_and_no_server_are_told_apart(
    server: EmbeddedRedis, admin: Any
) -> None:
    admin.execute_command("ACL", "SETUSER", "fit", "reset", "on", f">{PASSWORD}", *LEAST_ACL.split())
    for url, told in (
        (as_user(server, "fit", "wrong"), "refused the user name or password; check those in AXN_REDIS_URL"),
        (server.url(99), "has no database of that number; check the one in AXN_REDIS_URL"),
        ("redis://127.0.0.1:1/0", "cannot be reached; check AXN_REDIS_URL, and that the server runs"),
        ("unix:///nowhere/redis.sock", "cannot be reached; check AXN_REDIS_URL, and that the server runs"),
    ):
        async for refusal in refusals(url, ALL):
            assert refusal == told


async def test_forgotten_scripts_are_nobody_s_concern(server: EmbeddedRedis, admin: Any) -> None:
    client = connect(server.url(0), timeout_ms=TIMEOUT_MS)
    ledger = ledger_of(client)
    await ledger.open(new_job("before"))
    admin.script_flush()
    assert await ledger.open(new_job("after"))
    admin.script_flush()
    assert all(await ledger.open_many([new_job("many"), new_job("more")]))
    await client.aclose()


async def test_a_server_that_stands_still_is_given_up_after_three_tries(server: EmbeddedRedis, admin: Any) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        async for refusal in refusals(server.url(0), ALL):
            assert refusal.startswith("did not answer in three tries of AXN_REDIS_TIMEOUT; it hangs or is overloaded")
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
def loading_server() -> Iterator[Path]:
    """The socket of a server that loads its data for ten seconds, a key at a time."""
    folder = new_folder()
    command = [*redis_command(find_server(), folder), "--enable-debug-command", "local"]
    with subprocess.Popen(child_command(command), start_new_session=True) as process:
        try:
            wait_until(lambda: answers_ping(folder / SOCKET_NAME))
            with closing(blocking.Redis(unix_socket_path=str(folder / SOCKET_NAME))) as admin:
                admin.config_set("key-load-delay", "500")  # us; a server with millions of keys is as slow
                admin.config_set("loading-process-events-interval-bytes", "1024")
                admin.eval("for i = 1, 20000 do redis.call('SET', i, string.rep('x', 100)) end", 0)
                reload: Any = admin.connection_pool.get_connection()
                reload.send_command("DEBUG", "RELOAD")
            yield folder / SOCKET_NAME
        finally:
            process.kill()
            shutil.rmtree(folder)


async def test_a_server_that_loads_its_data_says_so(loading_server: Path) -> None:
    wait_until(lambda: not answers_ping(loading_server))
    async for refusal in refusals(redis_url(loading_server), ALL):
        assert refusal == "is loading its data after a start; try again when it has"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (exceptions.InvalidResponse("Protocol error, got 'H'"), "speaks another protocol than Redis"),
        (exceptions.ConnectionError("No connection available."), "is asked too much at a time by this process"),
        (exceptions.ConnectionError("max number of clients reached"), "has no connection left; raise its maxclients"),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "cannot save to its disk"),
        (exceptions.ResponseError("ERR unknown command 13900001234"), "refused a command (ResponseError)"),
    ],
)
def test_rarer_faults_are_told_too_without_the_words_of_the_server(failure: Exception, told: str) -> None:
    assert redis_fault(failure).startswith(f"the ledger's Redis {told}")
    assert "13900001234" not in redis_fault(failure)
