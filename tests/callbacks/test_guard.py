import socket
from ipaddress import IPv4Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.callbacks.guard import CallbackRefusedError, ReceiverRules, guarded_socket_factory

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
    "100:0:0:1::1",
    "::ffff:0:7f00:1",
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
    "2000::5efe:7f00:1",
    "2400:3200::200:5efe:a00:1",
    "2001:0:7f00:1::",
    "2001:0:808:808::80ff:fffe",
    "1000::1",
    "4000::1",
    "8000::1",
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
    ("nets", "free", "denied"),
    [
        ("10.1.0.0/16", "10.1.2.3 ::ffff:10.1.2.3", "10.2.0.1 10.0.255.255 ::ffff:10.2.0.1"),
        # The same address behind a translator or tunnel is another way, which nobody opened.
        ("10.1.0.0/16", "", "::10.1.2.3 ::ffff:0:10.1.2.3 64:ff9b::10.1.2.3 64:ff9b:1::10.1.2.3 2002:a01:203::1"),
        ("10.1.0.0/16", "", "2001:0:a01:203:: 2001::f5fe:fdfc fe80::5efe:10.1.2.3"),
        ("fd00::/16", "fd00::5", "fd01::5 fc00::5 fe80::5"),
        ("::ffff:10.1.0.0/112", "", "10.1.2.3 ::ffff:10.1.2.3"),
        # Through an open translator only to what could be called without it.
        ("64:ff9b::/96", "64:ff9b::8.8.8.8", "64:ff9b::10.1.2.3 64:ff9b::169.254.169.254 64:ff9b::127.0.0.1"),
        ("64:ff9b::/96 10.1.0.0/16", "64:ff9b::10.1.2.3", "64:ff9b::10.2.0.1"),
        # A cloud's metadata is no receiver, unless it is named by itself.
        ("100.64.0.0/10", "100.100.100.199", "100.100.100.200 ::ffff:100.100.100.200 64:ff9b::100.100.100.200"),
        ("0.0.0.0/0", "127.0.0.1 10.0.0.1", "100.100.100.200 169.254.169.254 169.254.170.2 192.0.0.192 ::1"),
        ("::/0", "::1 fd00::1", "fd00:ec2::254 127.0.0.1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::"),
        ("fd00:ec2::/32", "fd00:ec2::253", "fd00:ec2::254 fd00:ec2::23"),
        ("169.254.169.254/32", "169.254.169.254 ::ffff:169.254.169.254", "100.100.100.200 169.254.169.253"),
        ("127.0.0.1/32", "127.0.0.1", "127.0.0.2 ::1 0.0.0.0 ::"),
    ],
)
def test_a_network_of_ones_own_opens_what_it_says_and_no_more(nets: str, free: str, denied: str) -> None:
    rules = ReceiverRules(allow_nets=[ip_network(net) for net in nets.split()])
    assert [address for address in free.split() if rules.address_is_denied(address)] == []
    assert [address for address in denied.split() if not rules.address_is_denied(address)] == []


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_however_it_is_embedded(address: IPv4Address) -> None:
    rules, number = ReceiverRules(allow_nets=[ip_network("64:ff9b::/96"), ip_network("2002::/16")]), int(address)
    plain = rules.address_is_denied(str(address))
    assert rules.address_is_denied(f"::ffff:{address}") is plain
    assert rules.address_is_denied(f"64:ff9b::{address}") is plain
    assert rules.address_is_denied(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1") is plain


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
        ("https://localhost/", "AXN_CALLBACK_ALLOW_NETS"),
        ("https://a.LOCALHOST./", "AXN_CALLBACK_ALLOW_NETS"),
        ("https://localhost.example/", ""),
        ("https://[fe80::1%25eth0]/", "without a zone"),
        ("https://[::1", "must be a URL such as"),
        ("https://h:0/", "port from 1 to 65535"),
    ],
)
def test_a_url_is_judged_by_what_it_tells(url: str, fault: str) -> None:
    found = ReceiverRules().fault_of(url)
    assert fault in found
    assert bool(found) is bool(fault)


def test_http_and_any_port_may_be_allowed() -> None:
    assert ReceiverRules(allow_http=True, ports=()).fault_of("http://shop.example:9999/") == ""


def test_the_factory_makes_a_socket_of_the_family_asked_for() -> None:
    factory = guarded_socket_factory(ReceiverRules())
    with factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("8.8.8.8", 443))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
    for family, address in (
        (socket.AF_INET6, ("::1", 443, 0, 0)),
        (socket.AF_INET, ("8.8.8.8", 22)),
        (socket.AF_UNIX, "/run/docker.sock"),
    ):
        with pytest.raises(CallbackRefusedError):
            factory((family, socket.SOCK_STREAM, 0, "", address))
