"""No connection is opened to an address that is denied, however a URL is written and whatever a name resolves to."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from tests.callbacks.dialling import Listeners, Names, listening
from worker.callbacks.client import receiver_client
from worker.callbacks.guard import CallbackRefusedError, ReceiverRules, guarded_socket_factory
from worker.http import HttpAnswer, HttpClient, NotSentError

OPEN = "127.77.0.1"
"""The one address of the table that is allowed."""

# PORT stands for a listener's port that is allowed, OTHER for another listener's.
# Each is refused when the request is accepted.
REFUSED_AT_ONCE = [
    # this machine, in plain notation
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/",
    "http://127.0.0.2:PORT/",
    "http://127.255.255.254:PORT/",
    "http://0.0.0.0:PORT/",
    "HTTP://127.0.0.1:PORT/",
    "hTTp://127.0.0.1:PORT/?x=//public.test/",
    "http://127.0.0.1:PORT?.public.test",
    # numbers that only some parsers read
    "http://0:PORT/",
    "http://127.1:PORT/",
    "http://127.0.1:PORT/",
    "http://2130706433:PORT/",
    "http://017700000001:PORT/",
    "http://0x7f000001:PORT/",
    "http://0x7F.0.0.1:PORT/",
    "http://0x7f.1:PORT/",
    "http://0177.0.0.1:PORT/",
    "http://127.0.0.01:PORT/",
    "http://127.000.000.001:PORT/",
    "http://127.0.0.1.:PORT/",
    "http://127.0.0.1..:PORT/",
    "http://127.0.0.1.0x:PORT/",
    "http://256.256.256.256:PORT/",
    "http://4294967297:PORT/",
    # IPv6, and IPv4 in it
    "http://[::1]:PORT/",
    "http://[::]:PORT/",
    "http://[0:0:0:0:0:0:0:1]:PORT/",
    "http://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
    "http://[::127.0.0.1]:PORT/",
    "http://[::ffff:127.0.0.1]:PORT/",
    "http://[::ffff:7f00:1]:PORT/",
    "http://[::FFFF:7F00:0001]:PORT/",
    "http://[::ffff:0:127.0.0.1]:PORT/",
    "http://[64:ff9b::127.0.0.1]:PORT/",
    "http://[64:ff9b:1::7f00:1]:PORT/",
    "http://[2002:7f00:1::]:PORT/",
    "http://[2001:0:7f00:1::80ff:fffe]:PORT/",
    "http://[fe80::1]:PORT/",
    "http://[fe80::1%25lo]:PORT/",
    "http://[::1%25lo]:PORT/",
    "http://[::1%lo]:PORT/",
    "http://[::1%1]:PORT/",
    "http://[::ffff:127.0.0.1%25lo]:PORT/",
    # brackets that hold something else, or do not close
    "http://[127.0.0.1]:PORT/",
    "http://[v1.127.0.0.1]:PORT/",
    "http://[localhost]:PORT/",
    "http://[]:PORT/",
    "http://[::1:PORT/",
    "http://::1:PORT/",
    "http://[::1]127.0.0.1:PORT/",
    # names that are always this machine
    "http://localhost:PORT/",
    "http://LocalHost.:PORT/",
    "http://a.localhost:PORT/",
    # other scripts that are mapped to these by some
    "http://１２７.０.０.１:PORT/",
    "http://127。0。0。1:PORT/",
    "http://127．0．0．1:PORT/",
    "http://①②⑦.⓪.⓪.①:PORT/",
    "http://ｌｏｃａｌｈｏｓｔ:PORT/",
    "http://loc\u00adalhost:PORT/",
    "http://loc\u200balhost:PORT/",
    # one host for one parser, another for the next
    "http://user@127.0.0.1:PORT/",
    "http://public.test@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT@public.test/",
    "http://a:b@c@127.0.0.1:PORT/",
    "http://public.test#@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#.public.test/",
    "http://127.0.0.1:PORT\\@public.test/",
    "http://public.test\\@127.0.0.1:PORT/",
    "http://public.test\\.127.0.0.1:PORT/",
    "http:\\\\127.0.0.1:PORT\\",
    "http:/127.0.0.1:PORT/",
    "http:127.0.0.1:PORT/",
    "http:///127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "127.0.0.1:PORT/",
    "http://:PORT/",
    "http://@:PORT/",
    "",
    # percent-encoding, white space, control characters
    "http://127%2e0%2e0%2e1:PORT/",
    "http://%31%32%37.0.0.1:PORT/",
    "http://127.0.0.1%00.public.test:PORT/",
    " http://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/ ",
    "http://127.0.\t0.1:PORT/",
    "http://127.0.0.1\n:PORT/",
    "http://127.0.0.1:PORT/\r\nHost: public.test",
    "http://public.test\x00@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/\x7f",
    "ht\ntp://127.0.0.1:PORT/",
    # other schemes
    "ftp://127.0.0.1:PORT/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
    "unix:///run/docker.sock",
    "ws://127.0.0.1:PORT/",
    "http+unix://%2frun%2fdocker.sock/",
    "javascript:fetch('http://127.0.0.1:PORT/')",
    # ports
    f"http://{OPEN}:OTHER/",
    f"http://{OPEN}:0/",
    f"http://{OPEN}:65536/",
    f"http://{OPEN}:-1/",
    f"http://{OPEN}:+80/",
    f"http://{OPEN}:0xPORT/",
    f"http://{OPEN}:８０/",
    f"http://{OPEN}:PORT:OTHER/",
    # of a cloud, or beyond
    "http://100.100.100.200:PORT/latest/meta-data/",
    "http://169.254.169.254:PORT/latest/meta-data/",
    "http://[::ffff:100.100.100.200]:PORT/",
    "http://[fd00:ec2::254]:PORT/",
    "http://224.0.0.1:PORT/",
    "http://255.255.255.255:PORT/",
    "http://[ff02::1]:PORT/",
    # too long
    "http://127.0.0.1:PORT/" + "x" * 2048,
    "http://" + "a." * 200 + "test:PORT/",
]

# Names look like any other; their addresses are judged at the dial.
NAMES: dict[str, Sequence[Sequence[str] | Exception]] = {
    "loopback.test": [["127.0.0.1"]],
    "elsewhere-in-it.test": [["127.8.9.1"]],
    "this-host.test": [["0.0.0.0"]],
    "v6.test": [["::1"]],
    "any-v6.test": [["::"]],
    "both.test": [["127.0.0.1", "::1"]],
    "fifty.test": [[f"127.0.1.{number}" for number in range(50)]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "compatible.test": [["::127.0.0.1"]],
    "translated.test": [["::ffff:0:7f00:1"]],
    "nat64.test": [["64:ff9b::7f00:1"]],
    "local-nat64.test": [["64:ff9b:1::7f00:1"]],
    "6to4.test": [["2002:7f00:1::"]],
    "teredo.test": [["2001:0:7f00:1::80ff:fffe"]],
    "isatap.test": [["2400:3200::5efe:7f00:1"]],
    "zone.test": [["fe80::1%1"]],
    "zone-of-this-host.test": [["::1%1"]],
    "multicast.test": [["224.0.0.1", "ff02::1"]],
    "broadcast.test": [["255.255.255.255"]],
    "metadata.test": [["100.100.100.200", "169.254.169.254", "fd00:ec2::254"]],
    "documentation.test": [["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]],
    "office.test": [["10.0.0.1", "172.16.0.1", "192.168.0.1", "fd00::1"]],
    "socket.test": [["/run/docker.sock"]],
    "alias.test": [["localhost"]],
    "xn--bcher-kva.test": [["127.0.0.1"]],
    "metadata": [["127.0.0.1"]],
    "under_score.test": [["127.0.0.1"]],
    "nowhere.test": [[]],
    "unknown.test": [socket.gaierror(socket.EAI_NONAME, "unknown")],
    "broken.test": [UnicodeError("label too long")],
    "mixed.test": [["127.0.0.1", OPEN, "::1"]],
    "rebinding.test": [[OPEN], ["127.0.0.1"]],
}
NEVER_REACHED = [name for name in NAMES if name not in ("mixed.test", "rebinding.test")]


def rules_of(listeners: Listeners, *, allow_http: bool = True) -> ReceiverRules:
    return ReceiverRules(allow_http, [ip_network(f"{OPEN}/32")], [listeners.port])


def written(url: str, listeners: Listeners) -> str:
    return url.replace("PORT", str(listeners.port)).replace("OTHER", str(listeners.other_port))


@asynccontextmanager
async def clients(listeners: Listeners) -> AsyncIterator[list[HttpClient]]:
    """The client as it is wired, and one that judges addresses only, so that each guard is seen to hold by itself."""
    rules = rules_of(listeners)
    whole = receiver_client(rules, max_connections=4, connect_timeout_ms=500, lookup=Names(NAMES))
    dial_only = HttpClient(
        max_connections=4,
        max_answer_bytes=1_000,
        connect_timeout_ms=500,
        socket_factory=guarded_socket_factory(rules),
        lookup=Names(NAMES),
    )
    try:
        yield [whole, dial_only]
    finally:
        await whole.aclose()
        await dial_only.aclose()


async def post(client: HttpClient, url: str) -> HttpAnswer:
    return await client.post(url, headers={}, content=b"{}", total_timeout_ms=2_000)


async def test_no_hostile_url_opens_a_connection_or_is_accepted() -> None:
    accepted, sent = [], []
    async with listening() as listeners, clients(listeners) as (whole, dial_only):
        rules = rules_of(listeners)
        for url in (written(url, listeners) for url in REFUSED_AT_ONCE):
            if not rules.fault_of(url):
                accepted.append(url)
            for client in (whole, dial_only):
                try:
                    await post(client, url)
                    sent.append(url)
                except NotSentError as failure:
                    assert failure.kind in {"refused_by_guard", "bad_url", "dns"}, url  # noqa: PT017
        assert (accepted, sent, listeners.connections) == ([], [], {})
    assert len(REFUSED_AT_ONCE) + len(NAMES) > 120


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_name_leads_to_a_denied_address(scheme: str) -> None:
    async with listening() as listeners, clients(listeners) as both:
        for name in NEVER_REACHED:
            url = f"{scheme}://{name}:{listeners.port}/"
            assert rules_of(listeners).fault_of(url) == ""
            for client in both:
                with pytest.raises(NotSentError) as caught:
                    await post(client, url)
                assert caught.value.kind in {"refused_by_guard", "dns"}, name
        assert listeners.connections == {}


async def test_a_denied_address_is_named_as_the_cause() -> None:
    async with listening() as listeners, clients(listeners) as (client, _):
        with pytest.raises(NotSentError) as at_the_url:
            await post(client, f"http://127.0.0.1:{listeners.port}/?secret")
        with pytest.raises(NotSentError) as at_the_dial:
            await post(client, f"http://loopback.test:{listeners.port}/?secret")
    assert (at_the_url.value.kind, at_the_dial.value.kind) == ("refused_by_guard", "refused_by_guard")
    assert "AXN_CALLBACK_ALLOW_NETS" in at_the_url.value.detail
    assert isinstance(at_the_dial.value.refusal, CallbackRefusedError)
    assert "secret" not in f"{at_the_url.value} {at_the_dial.value}"


async def test_of_several_addresses_only_those_allowed_are_dialled() -> None:
    async with listening() as listeners, clients(listeners) as (client, _):
        for name in ("mixed.test", "MIXED.test."):
            assert (await post(client, f"http://{name}:{listeners.port}/")).status == 200
        assert listeners.connections == {OPEN: 2}


async def test_a_name_that_resolves_elsewhere_the_second_time_is_judged_anew() -> None:
    async with listening() as listeners, clients(listeners) as (client, _):
        url = f"http://rebinding.test:{listeners.port}/"
        assert (await post(client, url)).status == 200
        # The open connection was judged at its dial, and still leads there.
        assert (await post(client, url)).status == 200
        await forget_names_and_connections(client)
        with pytest.raises(NotSentError) as caught:
            await post(client, url)
        assert caught.value.kind == "refused_by_guard"
        assert listeners.connections == {OPEN: 1}


async def forget_names_and_connections(client: HttpClient) -> None:
    connector = client._open_transport().exchange.connector
    connector.clear_dns_cache()
    for idle in connector._conns.values():
        for protocol, _ in idle:
            protocol.close()


async def test_a_connection_is_used_again_for_the_same_host_and_port_only() -> None:
    """Also where two names have one address: whoever holds one of them must not answer for the other."""
    names = Names({"one.test": [[OPEN]], "two.test": [[OPEN]]})
    async with listening() as listeners:
        client = receiver_client(rules_of(listeners), max_connections=4, connect_timeout_ms=500, lookup=names)
        for host in ("one.test", "two.test", OPEN, "one.test", "two.test", OPEN):
            assert (await post(client, f"http://{host}:{listeners.port}/")).status == 200
        await client.aclose()
        assert listeners.connections == {OPEN: 3}


async def test_a_url_accepted_under_other_settings_is_judged_again_at_its_try() -> None:
    async with listening() as listeners:
        strict = rules_of(listeners, allow_http=False)
        client = receiver_client(strict, max_connections=1, connect_timeout_ms=500)
        with pytest.raises(NotSentError, match="AXN_CALLBACK_ALLOW_HTTP"):
            await post(client, f"http://{OPEN}:{listeners.port}/")
        await client.aclose()
        assert listeners.connections == {}


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as listeners:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listeners.other_port}")
        async with clients(listeners) as (client, _):
            assert (await post(client, f"http://mixed.test:{listeners.port}/")).status == 200
            with pytest.raises(NotSentError):
                await post(client, f"https://loopback.test:{listeners.port}/")
        assert listeners.connections == {OPEN: 1}


async def test_name_servers_that_keep_silent_hold_up_nobody_else_s_names() -> None:
    silence = threading.Event()
    known = Names(NAMES)

    def lookup(host: str, port: int, **options: Any) -> Sequence[tuple[Any, ...]]:
        if host.startswith("silent"):
            silence.wait(10)
        return known(host, port, **options)

    async with listening() as listeners:
        client = receiver_client(rules_of(listeners), max_connections=20, connect_timeout_ms=5_000, lookup=lookup)
        async with asyncio.TaskGroup() as tries:
            silent = [
                tries.create_task(failure_of(client, f"http://silent-{number}.test:{listeners.port}/"))
                for number in range(12)
            ]
            assert (await post(client, f"http://mixed.test:{listeners.port}/")).status == 200
            # The loop's own threads, where all others look names up, are free.
            await asyncio.wait_for(asyncio.to_thread(int), 5)
        assert {failure.result().kind for failure in silent} == {"connect_timeout"}
        silence.set()
        await client.aclose()


async def failure_of(client: HttpClient, url: str) -> NotSentError:
    with pytest.raises(NotSentError) as caught:
        await client.post(url, headers={}, total_timeout_ms=300)
    return caught.value
