"""The form of a callback URL, read strictly, so that no two parsers can read it differently.

What this module does not understand is refused: the libraries that dial (httpx, yarl, the system's resolver) are more
forgiving, each in its own way, and a host that one of them reads as a name and another as an address gets past any
guard. Whether the host may be called is judged elsewhere, and again at each dial.

Sources: RFC 3986 for the parts, RFC 1123 for host names (and the `_` of container networks), RFC 5891 for others,
and the URL standard's rule that a host whose last label is a number is an IPv4 address.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated

import idna
from pydantic import AfterValidator

_LONGEST = 2048
_LONGEST_HOST = 253
_MOST_PORT = 65_535
_REMEMBERED = 256
"""URLs: an order system has few. Reading one takes as long as all other checks of its request."""
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^\[\]:]*)(?::(?P<port>[0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_NO_URL = "must be a URL such as https://shop.example/axn"
_NO_HOST = "must name a host such as shop.example (letters, digits, - and dots; other scripts as xn--…)"
_NO_IPV4 = "must have an IPv4 address as four decimal numbers, such as https://47.74.0.1/, without a dot at its end"
_NO_IPV6 = "must have an IPv6 address such as https://[2606:4700::1]/, without a zone"
_NO_PORT = f"must have a port from 1 to {_MOST_PORT}, or none"


@dataclass(frozen=True, slots=True)
class CallbackTarget:
    """Where a callback URL leads.

    Attributes:
        scheme: http or https.
        host: in lower case and ASCII, without a trailing dot; an IPv6 address without brackets.
        address: the host, where it is an address.
        port: as written, or the scheme's own.
    """

    scheme: str
    host: str
    address: IPv4Address | IPv6Address | None
    port: int


@lru_cache(_REMEMBERED)
def callback_target(url: str) -> CallbackTarget:
    """Take a URL apart.

    Raises:
        ValueError: says what it must be: http(s), with a host, without a user name or fragment, at most 2,048 printable
            characters without spaces and backslashes.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not parts["authority"]:
        raise ValueError(_NO_URL)
    if "@" in parts["authority"] or "#" in parts["rest"]:
        raise ValueError("must hold neither a user name nor a fragment")
    if len(url) > _LONGEST or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError(f"must be at most {_LONGEST} printable characters without spaces")
    if "\\" in url:
        raise ValueError(r"must hold no \ (written %5C in a path)")
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None:
        raise ValueError(_NO_URL)
    scheme = parts["scheme"].lower()
    port = int(authority["port"]) if authority["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port <= _MOST_PORT:
        raise ValueError(_NO_PORT)
    host, address = _host(authority["host"])
    return CallbackTarget(scheme, host, address, port)


def check_callback_url(url: str) -> str:
    """The URL as it was given, if its form can be called.

    Raises:
        ValueError: as `callback_target`.
    """
    callback_target(url)
    return url


def _host(written: str) -> tuple[str, IPv4Address | IPv6Address | None]:
    if written.startswith("["):
        return _ipv6(written[1:-1])
    name = _ascii(written.lower())
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(name)
    if len(name) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(_NO_HOST)
    return name.removesuffix("."), None


def _ipv6(written: str) -> tuple[str, IPv6Address]:
    try:
        address = IPv6Address(written)
    except ValueError:
        raise ValueError(_NO_IPV6) from None
    if address.scope_id is not None:
        raise ValueError(_NO_IPV6)
    return str(address), address


def _ipv4(written: str) -> tuple[str, IPv4Address]:
    try:
        return written, IPv4Address(written)
    except ValueError:
        raise ValueError(_NO_IPV4) from None


def _ascii(name: str) -> str:
    """Names of other scripts in ASCII. No mapping: full-width digits and the ideographic full stop are no letters."""
    if name.isascii():
        return name
    try:
        return idna.encode(name, strict=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise ValueError(_NO_HOST) from None


CallbackUrl = Annotated[str, AfterValidator(check_callback_url)]
