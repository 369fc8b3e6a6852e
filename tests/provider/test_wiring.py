"""From AXN_… variables to the provider's sockets: proxy, certificates, connections."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.provider.loopback import always, answer, serving
from tests.provider.proxy import proxying
from tests.provider.test_client import BIND, BOUND, NONCE
from tests.test_http import certificate, server_tls
from worker import bootstrap
from worker.bootstrap_callbacks import callback_http
from worker.clock import SystemClock
from worker.domain.outcome import Outcome, Verdict
from worker.errors import SettingsError
from worker.http import HttpClient
from worker.provider import assembly
from worker.provider.client import ProviderClient
from worker.settings import Settings

__all__ = ["certificate"]
KEYS = {"AXN_ACCESS_KEY_ID": "testid", "AXN_ACCESS_KEY_SECRET": "testsecret"}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def wired(**given: Any) -> AsyncIterator[ProviderClient]:
    settings = Settings(**given)
    http = assembly.provider_http(settings)
    try:
        yield assembly.build_provider(settings, http, SystemClock())
    finally:
        await http.aclose()


async def bind(**given: Any) -> Outcome:
    async with wired(**given) as client:
        return await client.call("BindAxn", BIND, nonce=NONCE)


async def test_an_own_authority_is_trusted_only_if_named(certificate: Path) -> None:
    async with serving(always(answer(BOUND)), tls=server_tls(certificate)) as server:
        endpoint = f"https://127.0.0.1:{server.port}"
        assert (await bind(endpoint=endpoint)).code == "transport.tls"
        assert (await bind(endpoint=endpoint, ca_file=str(certificate / "cert.pem"))).verdict is Verdict.DONE
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["missing.pem", "key.pem"])
def test_a_file_without_certificates_stops_a_worker_at_once(certificate: Path, name: str) -> None:
    settings = Settings(ca_file=str(certificate / name))
    with pytest.raises(SettingsError, match=r"^AXN_CA_FILE: no certificates"):
        bootstrap.check_worker_settings(settings)


async def test_https_goes_through_the_proxy_s_tunnel_unread(certificate: Path) -> None:
    async with serving(always(answer(BOUND)), tls=server_tls(certificate)) as server, proxying() as proxy:
        outcome = await bind(
            endpoint=f"https://127.0.0.1:{server.port}",
            ca_file=str(certificate / "cert.pem"),
            http_proxy=f"http://user:p%40ss@127.0.0.1:{proxy.port}",
        )
    assert outcome.verdict is Verdict.DONE
    (head,) = proxy.heads
    assert head[0] == f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"
    login = base64.b64encode(b"user:p@ss").decode()
    assert f"proxy-authorization: basic {login}".lower() in [line.lower() for line in head]
    assert "15000000000" not in "".join(head)
    assert "proxy-authorization" not in server.requests[0].headers


async def test_plain_http_names_its_target_to_the_proxy_and_not_the_login() -> None:
    async with serving(always(answer(BOUND))) as proxy:
        given = {"endpoint": "http://provider.invalid", "http_proxy": f"http://user:pass@127.0.0.1:{proxy.port}"}
        async with wired(**given) as client:
            for _ in range(2):
                assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.DONE
    for request in proxy.requests:
        assert request.target.startswith("http://provider.invalid/?")
        assert request.headers["host"] == "provider.invalid"
        assert "proxy-authorization" not in request.headers
    assert proxy.connections == 1


async def test_a_connection_through_the_tunnel_is_used_again(certificate: Path) -> None:
    async with serving(always(answer(BOUND)), tls=server_tls(certificate)) as server, proxying() as proxy:
        given = {"ca_file": str(certificate / "cert.pem"), "http_proxy": f"http://127.0.0.1:{proxy.port}"}
        async with wired(endpoint=f"https://127.0.0.1:{server.port}", **given) as client:
            for _ in range(3):
                await client.call("BindAxn", BIND, nonce=NONCE)
    assert (len(proxy.heads), len(server.requests)) == (1, 3)


@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway", "403 Forbidden"])
async def test_what_the_proxy_does_not_let_through_was_not_processed(status: str) -> None:
    refusal = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()
    async with proxying(refusal=refusal) as proxy:
        outcome = await bind(endpoint="https://provider.invalid", http_proxy=f"http://u:pa55@127.0.0.1:{proxy.port}")
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "transport.proxy_refused")
    assert "pa55" not in repr(outcome)


async def test_a_proxy_that_is_not_there_was_not_sent_anything() -> None:
    async with proxying() as proxy:
        port = proxy.port
    outcome = await bind(endpoint="https://provider.invalid", http_proxy=f"http://127.0.0.1:{port}")
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "transport.connect_refused")


async def test_callbacks_go_without_the_proxy() -> None:
    settings = Settings(
        http_proxy="http://127.0.0.1:1", callback_allow_http=True, callback_allow_nets="127.0.0.0/8", callback_ports=()
    )
    client: HttpClient = callback_http(settings)
    async with serving(always(answer())) as server:
        got = await client.post(server.url, headers={}, total_timeout_ms=1_000)
        await client.aclose()
    assert got.status == 200


@pytest.mark.parametrize(("given", "connections"), [({"provider_connections": 2}, 2), ({"in_flight": 3}, 3)])
async def test_no_more_connections_are_opened_than_set(given: dict[str, int], connections: int) -> None:
    async def slowly(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.sleep(0.02)
        writer.write(answer(BOUND))
        await writer.drain()

    async with serving(slowly) as server, wired(endpoint=server.origin, **given) as client:
        outcomes = await asyncio.gather(*(client.call("BindAxn", BIND, nonce=NONCE) for _ in range(9)))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.DONE}
    assert server.connections == connections
