"""Every exchange as a line of JSON. The file holds phone numbers and tokens, so only its owner may read it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from worker.sandbox.gateway import Reply
from worker.sandbox.requests import WireRequest

_OWNER_ONLY = 0o600


class Recording:
    """A file that grows by a line per exchange: when, the request as received, the reply as meant."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
        # A file that was there before may have been readable by others.
        os.fchmod(descriptor, _OWNER_ONLY)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)

    def add(self, wire: WireRequest, reply: Reply) -> None:
        """Add one exchange; bytes that are not UTF-8 are shown escaped."""
        line = {
            "unix_s": self._now(),
            "method": wire.method,
            "target": wire.target,
            "headers": dict(wire.headers),
            "body": wire.body.decode(errors="backslashreplace"),
            "ending": reply.ending,
            "status": reply.status,
            "reply_headers": dict(reply.headers),
            "reply_body": reply.body.decode(errors="backslashreplace"),
        }
        self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._file.close()
