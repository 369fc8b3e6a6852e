"""All that stands in a Redis, as somebody sees it who has its dump."""

import contextlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import redis

_DIGEST_BYTES = 16


def everything_in(url: str) -> dict[str, bytes]:
    """Each key's name and its raw content, run together; what is packed is unpacked beside it."""
    client: Any = redis.Redis.from_url(url)
    with client:
        return {key.decode(): b"\0".join([key, *_values(client, key)]) for key in client.scan_iter(count=1000)}


def _values(client: Any, key: bytes) -> Iterator[bytes]:
    match client.type(key):
        case b"string":
            content = client.get(key)
            yield content
            with contextlib.suppress(zlib.error):
                yield zlib.decompress(content[_DIGEST_BYTES:])
        case b"hash":
            for pair in client.hgetall(key).items():
                yield from pair
        case b"zset":
            yield from client.zrange(key, 0, -1)
        case b"set":
            yield from client.smembers(key)
        case b"list":
            yield from client.lrange(key, 0, -1)
        case b"stream":
            for _, fields in client.xrange(key):
                for pair in fields.items():
                    yield from pair
        case kind:
            raise AssertionError(f"{key!r} is a {kind!r}, which nobody looks into")


def found_in(dump: dict[str, bytes], numbers: Iterable[str]) -> dict[str, set[str]]:
    """Which of these numbers stand in the values, in any spelling, and under which keys."""
    found: dict[str, set[str]] = {}
    for number in numbers:
        spelled = re.compile(rb"[ ()-]{0,2}".join(re.escape(digit.encode()) for digit in number))
        keys = {key for key, content in dump.items() if spelled.search(content)}
        if keys:
            found[number] = keys
    return found
