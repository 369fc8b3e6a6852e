"""`axn` in a world whose name servers, and authorities of certificates, are a test's.

    CHAOS_NAMES=FILE [CHAOS_AUTHORITY=FILE] python -m tests.chaos.strange_worker worker --lanes checkout

CHAOS_NAMES holds {"name": [address, …]} and is read at each look-up, so that a name can come to mean something else.
Any other name does not exist; numbers are what the system takes them for. CHAOS_AUTHORITY is trusted instead of the
public authorities.
"""

import json
import os
import socket
from pathlib import Path
from typing import Any

import certifi

from tests.callbacks.dialling import Names

_lookup_of_the_system = socket.getaddrinfo


def mislead() -> None:
    """Change what names and certificates mean in this process."""
    file = Path(os.environ["CHAOS_NAMES"])

    def lookup(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        names = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(host, str) or host.rstrip(".") not in names:
            options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
            return _lookup_of_the_system(host, port, *args, **options)
        return Names({name: [addresses] for name, addresses in names.items()})(host, port)

    socket.getaddrinfo = lookup
    if authority := os.environ.get("CHAOS_AUTHORITY"):
        certifi.where = lambda: authority


def main() -> None:
    """Mislead first: modules may keep a reference to the functions that they find."""
    mislead()
    from worker.cli.main import main as axn  # noqa: PLC0415 - after the names are other ones

    axn()


if __name__ == "__main__":
    main()
