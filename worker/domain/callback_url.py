"""The form of a callback URL. Whether the address behind it may be called is judged at the dial, not here."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_LONGEST = 2048


def check_callback_url(url: str) -> str:
    """The URL, if its form can be called.

    Raises:
        ValueError: not http(s), no host, a user name or fragment in it, a bad port, too long.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://shop.example/axn") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("must be a URL such as https://shop.example/axn")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("must hold neither a user name nor a fragment")
    if len(url) > _LONGEST or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ValueError(f"must be at most {_LONGEST} printable characters without spaces")
    return url


CallbackUrl = Annotated[str, AfterValidator(check_callback_url)]
