"""Who runs this process, for the audit."""

import getpass
import socket


def whoever_this_is() -> str:
    """user@host."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # no such user in this container
        return socket.gethostname()
