"""Where a callback may go.

Judged twice: on the URL when a request is accepted, and on the concrete address of every dial, after DNS has answered,
so that a name cannot lead into a private network.

The list is written out because Python's `is_private` and `is_global` change between releases, and miss 100.64.0.0/10
with the cloud's metadata address 100.100.100.200. Sources: the IANA special-purpose address registries.
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_DENIED_V4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
)
_DENIED_V6 = (
    "::/96 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 "
    "fc00::/7 fe80::/10 fec0::/10 ff00::/8"
)
DENIED: tuple[Network, ...] = tuple(ipaddress.ip_network(text) for text in f"{_DENIED_V4} {_DENIED_V6}".split())
_DEFAULT_PORTS = {"http": 80, "https": 443}


class CallbackRefusedError(OSError):
    """The address behind a callback URL is one that must not be called."""


@dataclass(frozen=True, slots=True)
class ReceiverRules:
    """What the settings allow.

    Attributes:
        allow_http: http:// as well as https://.
        allow_nets: networks of one's own in which receivers may be.
        ports: the ports a URL may name; empty for any.
    """

    allow_http: bool = False
    allow_nets: Sequence[Network] = ()
    ports: Sequence[int] = (80, 443, 8080, 8443)

    def address_is_denied(self, text: str) -> bool:
        """Whether this literal address, with or without a zone, must not be called."""
        address: Address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        if any(address in network for network in self.allow_nets):
            return False
        return any(address in network for network in DENIED)

    def fault_of(self, url: str) -> str:
        """Why this URL may not be called, as far as the URL itself tells; empty if it may."""
        parts = urlsplit(url)
        if parts.scheme == "http" and not self.allow_http:
            return "must be https:// (AXN_CALLBACK_ALLOW_HTTP=1 allows http)"
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
        if self.ports and port not in self.ports:
            return f"port {port} is not among AXN_CALLBACK_PORTS"
        try:
            is_denied = self.address_is_denied(parts.hostname or "")
        except ValueError:
            return ""  # a name: judged at the dial
        return "leads into a private or special network (see AXN_CALLBACK_ALLOW_NETS)" if is_denied else ""


def guarded_socket_factory(rules: ReceiverRules) -> Callable[[tuple[Any, ...]], socket.socket]:
    """For aiohttp's connector: makes the socket of each dial, unless its address is denied."""

    def make_socket(addr_info: tuple[Any, ...]) -> socket.socket:
        family, type_, proto, _, address = addr_info
        if rules.address_is_denied(address[0]):
            raise CallbackRefusedError("the receiver's address is in a private or special network")
        return socket.socket(family=family, type=type_, proto=proto)

    return make_socket
