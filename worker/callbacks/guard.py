"""Where a callback may go.

Judged on the URL when a request is accepted, on the URL again before each try, and on the concrete address and port of
every dial, after DNS has answered, so that a name cannot lead into a private network.

The list is written out because Python's `is_private` and `is_global` change between releases, and miss 100.64.0.0/10
with the cloud's metadata address 100.100.100.200. Sources: the IANA special-purpose address registries, and RFC 4291:
of IPv6, only 2000::/3 is global unicast.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from worker.domain.callback_url import callback_target

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DENIED_V4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
# All but 2000::/3, and in it Teredo with other protocol assignments, documentation (twice) and 6to4.
_DENIED_V6 = "::/3 4000::/2 8000::/1 2001::/23 2001:db8::/32 2002::/16 3fff::/20"
DENIED: tuple[Network, ...] = tuple(ip_network(text) for text in f"{_DENIED_V4} {_DENIED_V6}".split())

#: Clouds hand out credentials there: Alibaba Cloud, the link-local address of most others, Amazon's containers and
#: its IPv6, Oracle, Google's IPv6.
_METADATA = (
    "100.100.100.200 169.254.169.254 169.254.170.2 169.254.170.23 192.0.0.192 fd00:ec2::254 fd00:ec2::23 fd20:ce::254"
)
METADATA: frozenset[Address] = frozenset(ip_address(text) for text in _METADATA.split())
_MAPPED = ip_network("::ffff:0:0/96")
_V4_IN_LAST_BITS = tuple(ip_network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
_ISATAP = (0x00005EFE, 0x02005EFE)
_LOOPBACK = ("127.0.0.1", "::1")
_LEADS_INSIDE = "leads into a private or special network (see AXN_CALLBACK_ALLOW_NETS)"


class CallbackRefusedError(OSError):
    """The address behind a callback URL is one that must not be called."""


@dataclass(frozen=True, slots=True)
class ReceiverRules:
    """What the settings allow.

    Attributes:
        allow_http: http:// as well as https://.
        allow_nets: networks of one's own in which receivers may be. Each opens what it says and no more: not the same
            IPv4 address behind a translator (NAT64, 6to4, Teredo), and a cloud's metadata address only where it is
            named by itself, as a /32 or /128.
        ports: the ports a URL may name; empty for any.
    """

    allow_http: bool = False
    allow_nets: Sequence[Network] = ()
    ports: Sequence[int] = (80, 443, 8080, 8443)

    def address_is_denied(self, text: str) -> bool:
        """Whether this literal address, with or without a zone, must not be called.

        An address that holds another one must be free to be called, and the other one too: with 64:ff9b::/96 allowed,
        public IPv4 receivers can be reached through NAT64, private ones cannot.

        Raises:
            ValueError: no address.
        """
        return self._leads_inside(ip_address(text.partition("%")[0]))

    def _leads_inside(self, address: Address) -> bool:
        return any(self._is_denied(inner) for inner in _addresses_in(address))

    def _is_denied(self, address: Address) -> bool:
        if address in METADATA:
            return not any(net.num_addresses == 1 and address in net for net in self.allow_nets)
        if any(address in net for net in self.allow_nets):
            return False
        return any(address in net for net in DENIED)

    def port_is_denied(self, port: int) -> bool:
        """Whether no URL may name this port."""
        return bool(self.ports) and port not in self.ports

    def fault_of(self, url: str) -> str:
        """Why this URL may not be called, as far as the URL itself tells; empty if it may."""
        try:
            target = callback_target(url)
        except ValueError as malformed:
            return str(malformed)
        if target.scheme == "http" and not self.allow_http:
            return "must be https:// (AXN_CALLBACK_ALLOW_HTTP=1 allows http)"
        if self.port_is_denied(target.port):
            return f"port {target.port} is not among AXN_CALLBACK_PORTS"
        if target.address is not None:
            return _LEADS_INSIDE if self._leads_inside(target.address) else ""
        # RFC 6761: always this machine. Any other name is judged at the dial.
        is_local = target.host == "localhost" or target.host.endswith(".localhost")
        return _LEADS_INSIDE if is_local and all(self.address_is_denied(address) for address in _LOOPBACK) else ""


def guarded_socket_factory(rules: ReceiverRules) -> Callable[[tuple[Any, ...]], socket.socket]:
    """For aiohttp's connector: makes the socket of each dial, unless its address or port is denied."""

    def make_socket(addr_info: tuple[Any, ...]) -> socket.socket:
        family, type_, proto, _, address = addr_info
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise CallbackRefusedError("the receiver's address is not of the internet")
        if rules.address_is_denied(address[0]):
            raise CallbackRefusedError("the receiver's address is in a private or special network")
        if rules.port_is_denied(address[1]):
            raise CallbackRefusedError("the receiver's port is not among AXN_CALLBACK_PORTS")
        return socket.socket(family=family, type=type_, proto=proto)

    return make_socket


def _addresses_in(address: Address) -> Iterator[Address]:
    """The address, and every IPv4 address to which a translator or tunnel would pass it on."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    low = IPv4Address(number & 0xFFFF_FFFF)
    if address in _MAPPED:
        yield low  # the kernel itself sends it as IPv4: not another address, but another way to write it
        return
    yield address
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    # :: and ::1 stand at the beginning of the range of IPv4-compatible addresses, and are none.
    is_tail = number > 1 and any(address in net for net in _V4_IN_LAST_BITS)
    if is_tail or (number >> 32) & 0xFFFF_FFFF in _ISATAP:
        yield low
