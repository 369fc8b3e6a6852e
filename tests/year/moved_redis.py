"""A Redis whose clock is ours: the server that the tests use, under libfaketime."""

import importlib.util
import shlex
import sys
from pathlib import Path

from worker.local.redis_server import EmbeddedRedis, find_server

_LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


def library() -> Path:
    """Where the library lies that is loaded before the server. The package itself is not imported: it would patch."""
    spec = importlib.util.find_spec("libfaketime")
    if spec is None or not spec.submodule_search_locations or sys.platform != "linux":
        raise RuntimeError("libfaketime for Linux is not installed: pip install -e '.[embedded,dev]'")
    return Path(spec.submodule_search_locations[0]) / _LIBRARY


def moved_redis(folder: Path, offset_file: Path) -> EmbeddedRedis:
    """A server that reads the offset of its clock from a file, each time it asks for the time.

    Its monotonic clock is the machine's: its own timers and slow log go by that.

    Args:
        folder: for the program that starts it.
        offset_file: see `MovingTime`.
    """
    environment = {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(offset_file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    starter = folder / "moved-redis"
    starter.write_text(f'#!/bin/sh\nexec env {" ".join(words)} {shlex.quote(str(find_server()))} "$@"\n')
    starter.chmod(0o700)
    return EmbeddedRedis(starter, appendfsync="no")
