import socket
from ipaddress import ip_network

import pytest

from tests.provider.loopback import always, answer, serving
from worker.callbacks.guard import CallbackRefusedError, ReceiverRules, guarded_socket_factory
from worker.http import HttpClient, NotSentError

DENIED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:100.100.100.200",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "47.74.0.1",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2400:3200::1",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", DENIED)
def test_no_private_or_special_address_may_be_called(address: str) -> None:
    assert ReceiverRules().address_is_denied(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_public_addresses_may_be_called(address: str) -> None:
    assert not ReceiverRules().address_is_denied(address)


@pytest.mark.parametrize(
    ("address", "is_denied"),
    [("10.1.2.3", False), ("::ffff:10.1.2.3", False), ("10.2.0.1", True), ("fd00::5", False), ("fd01::5", True)],
)
def test_networks_of_ones_own_are_allowed_and_no_more(address: str, is_denied: bool) -> None:
    rules = ReceiverRules(allow_nets=(ip_network("10.1.0.0/16"), ip_network("fd00::/16")))
    assert rules.address_is_denied(address) is is_denied


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://shop.example/axn", ""),
        ("https://shop.example:8443/axn", ""),
        ("https://8.8.8.8/", ""),
        ("http://shop.example/axn", "AXN_CALLBACK_ALLOW_HTTP"),
        ("https://shop.example:22/", "AXN_CALLBACK_PORTS"),
        ("https://100.100.100.200/latest", "AXN_CALLBACK_ALLOW_NETS"),
        ("https://[::ffff:127.0.0.1]/", "AXN_CALLBACK_ALLOW_NETS"),
        ("https://[fe80::1%25eth0]/", "AXN_CALLBACK_ALLOW_NETS"),
    ],
)
def test_a_url_is_judged_by_what_it_tells(url: str, fault: str) -> None:
    found = ReceiverRules().fault_of(url)
    assert fault in found
    assert bool(found) is bool(fault)


def test_http_and_any_port_may_be_allowed() -> None:
    assert ReceiverRules(allow_http=True, ports=()).fault_of("http://shop.example:9999/") == ""


def client_with(rules: ReceiverRules) -> HttpClient:
    return HttpClient(
        max_connections=2,
        max_answer_bytes=1_000,
        connect_timeout_ms=1_000,
        socket_factory=guarded_socket_factory(rules),
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_a_denied_address_is_refused_at_the_dial_however_it_is_written(host: str) -> None:
    client = client_with(ReceiverRules())
    async with serving(always(answer())) as receiver:
        with pytest.raises(NotSentError) as caught:
            await client.post(f"http://{host}:{receiver.port}/", headers={}, total_timeout_ms=2_000)
        await client.aclose()
        assert receiver.connections == 0
    if host in {"127.0.0.1", "localhost"}:
        assert isinstance(caught.value.refusal, CallbackRefusedError)


async def test_an_allowed_address_is_dialled() -> None:
    client = client_with(ReceiverRules(allow_nets=(ip_network("127.0.0.0/8"),)))
    async with serving(always(answer())) as receiver:
        got = await client.post(receiver.url, headers={}, total_timeout_ms=2_000)
        await client.aclose()
    assert (got.status, receiver.connections) == (200, 1)


def test_the_factory_makes_a_socket_of_the_family_asked_for() -> None:
    factory = guarded_socket_factory(ReceiverRules())
    with factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
    with pytest.raises(CallbackRefusedError):
        factory((socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 443, 0, 0)))
