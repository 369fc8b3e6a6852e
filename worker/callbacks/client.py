"""The HTTP client for receivers, who are strangers: guarded at every dial, and bounded in all that they may answer."""

import socket

from worker.callbacks.guard import ReceiverRules, guarded_socket_factory
from worker.http import HttpClient
from worker.http_connections import Lookup

LONGEST_ANSWER_BYTES = 64 << 10
#: Threads, each of which a receiver whose name servers keep silent holds for half a minute.
_LOOKUPS = 16


def receiver_client(
    rules: ReceiverRules,
    *,
    max_connections: int,
    connect_timeout_ms: int,
    ca_file: str | None = None,
    lookup: Lookup = socket.getaddrinfo,
) -> HttpClient:
    """A client that calls no denied address, follows nothing, and reads at most 64 KiB of an answer.

    It asks for answers that are not compressed and decompresses none, so that the bytes read are the bytes kept.

    Args:
        rules: asked for each URL and for each address dialled.
        max_connections: connections open at a time.
        connect_timeout_ms: for TCP and TLS together, per address tried.
        ca_file: certificates (PEM) to trust instead of the public ones.
        lookup: for tests, in place of the system's.
    """
    return HttpClient(
        max_connections=max_connections,
        max_answer_bytes=LONGEST_ANSWER_BYTES,
        connect_timeout_ms=connect_timeout_ms,
        socket_factory=guarded_socket_factory(rules),
        fault_of_url=rules.fault_of,
        is_cutting=True,
        lookup=lookup,
        lookup_threads=_LOOKUPS,
        ca_file=ca_file,
    )
