"""Which receiver a callback URL leads to: what callbacks are kept apart by."""

from functools import lru_cache
from urllib.parse import urlsplit


@lru_cache(maxsize=1_024)
def receiver_of(url: str) -> str:
    """The URL's host: in lower case, IDNA, without port and trailing dot. Empty for what is no URL."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:  # no host that any DNS knows: its tries say so
        return host
