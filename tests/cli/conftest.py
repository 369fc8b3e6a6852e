"""The axn command, run in this process against a real Redis or none."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis

from worker import producers
from worker.cli.main import main
from worker.local.redis_server import EmbeddedRedis


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: object
    out: str
    err: str

    @property
    def digits(self) -> str:
        """All digits it printed, masks kept, whatever stands between them."""
        return re.sub(r"[^\d*;]", "", self.out + ";" + self.err)


Axn = Callable[..., Ended]


@pytest.fixture
def axn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Axn]:
    """Runs `axn …` as its script does, with no AXN_ variable but a test's own; anything but an exit is raised."""
    for name in os.environ:
        if name.startswith(("AXN_", "ALIBABA_CLOUD_")) and name != "AXN_REDIS_SERVER":
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    producers.close()  # whoever used them before in this process had another ledger

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["axn", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ended(ended.value.code, printed.out, printed.err)

    yield run
    producers.close()


@pytest.fixture
def ledger(redis_server: EmbeddedRedis, axn: Axn, monkeypatch: pytest.MonkeyPatch) -> Iterator["redis.Redis"]:
    """A client of the empty ledger that `axn` uses."""
    monkeypatch.setenv("AXN_REDIS_URL", redis_server.url(0))
    monkeypatch.setenv("AXN_BROKER_URL", redis_server.broker_url(1))
    monkeypatch.setenv("AXN_POOL_KEY", "FC1")
    with redis.Redis.from_url(redis_server.url(0), decode_responses=True) as client:
        client.flushall()
        yield client
