"""TLS with a CA of one's own, for the ledger's client and for Celery's."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu.exceptions import OperationalError

from tests.callbacks.certificates import Authority
from tests.ledger.support import ledger_of, new_job
from tests.redis_topologies.tls import Terminator
from worker.app import build_app
from worker.errors import LedgerUnavailableError, SettingsError
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect
from worker.settings import Settings, load_settings


@dataclass(frozen=True)
class Encrypted:
    """A port that speaks nothing else, its CA's file, and a stranger's."""

    port: int
    ca: Path
    stranger: Path

    def url(self, ca: Path | None, host: str = "127.0.0.1") -> str:
        return f"rediss://{host}:{self.port}/0" + (f"?ssl_ca_certs={ca}" if ca else "")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis_server: EmbeddedRedis) -> Iterator[Encrypted]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder, name="own-ca"), Authority(folder, name="stranger")
    terminator = Terminator(authority.server("127.0.0.1"), redis_server.socket_path)
    yield Encrypted(terminator.port, authority.file, stranger.file)
    terminator.close()


async def test_the_ledger_is_reached_under_its_own_ca(server: Encrypted) -> None:
    client = connect(server.url(server.ca), timeout_ms=1000)
    assert await ledger_of(client).open(new_job(uuid4().hex)) > 0
    await client.aclose()


@pytest.mark.parametrize("ca", ["stranger", None])
async def test_a_certificate_of_another_ca_is_refused_and_told(server: Encrypted, ca: str | None) -> None:
    client = connect(server.url(server.stranger if ca else None), timeout_ms=1000)
    with pytest.raises(LedgerUnavailableError, match="certificate that is not trusted; name its CA in AXN_REDIS_URL"):
        await ledger_of(client).open(new_job())
    await client.aclose()


async def test_a_host_that_the_certificate_does_not_name_is_refused(server: Encrypted) -> None:
    client = connect(server.url(server.ca, "localhost"), timeout_ms=1000)
    with pytest.raises(LedgerUnavailableError, match=r"not trusted; .* the host name in its certificate"):
        await ledger_of(client).open(new_job())
    await client.aclose()


def publish(url: str, *, is_own: bool) -> None:
    settings = Settings(broker_url=url if is_own else "", redis_url="redis://127.0.0.1/0" if is_own else url)
    with build_app(settings).connection_for_write(transport_options={"socket_connect_timeout": 1}) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        queue: Any = connection.SimpleQueue(f"q-{uuid4().hex}")
        queue.put("ids")
        queue.close()


@pytest.mark.parametrize("is_own", [True, False], ids=["AXN_BROKER_URL", "the ledger's server"])
def test_the_broker_is_reached_under_the_same_ca_and_no_other(server: Encrypted, is_own: bool) -> None:
    publish(server.url(server.ca), is_own=is_own)
    for ca in (server.stranger, None):
        with pytest.raises(OperationalError, match=r"(?i)certificate"):
            publish(server.url(ca), is_own=is_own)


@pytest.mark.parametrize("variable", ["AXN_REDIS_URL", "AXN_BROKER_URL"])
def test_a_ca_that_is_no_file_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "rediss://redis.example/0?ssl_ca_certs=/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=f"{variable}.*ssl_ca_certs=/nowhere/ca.pem, which is no file"):
        load_settings()
