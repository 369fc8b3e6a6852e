"""The connections under `worker.http`: whom to dial, how names are looked up, and what a server may send.

aiohttp trusts a server further than a stranger should be: it parses interim answers (1xx) for as long as they come, and
keeps in memory whatever arrives on an idle connection, to hand it to the next request as that request's answer.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any, cast

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.tracing import Trace

SocketFactory = Callable[[AddrInfoType], socket.socket]
#: As `socket.getaddrinfo`, which it is but in tests.
Lookup = Callable[..., Sequence[tuple[Any, ...]]]

#: Status lines and headers of one answer, its interim answers included.
_MOST_HEAD_BYTES = 64 << 10
#: What chunks' lengths, extensions and trailers may add to a body. Each chunk costs time, however short it is.
_MOST_FRAMING_BYTES = 64 << 10


class Phase(Enum):
    """How far a request came. Only CONNECTING proves anything, so that a path not foreseen counts as sent."""

    UNKNOWN = auto()
    CONNECTING = auto()
    CONNECTED = auto()


@dataclass(slots=True)
class Progress:
    """What the connector notes about the request it is asked for."""

    phase: Phase = Phase.UNKNOWN
    sockets: int = 0
    refusal: Exception | None = None


#: The request that the running task makes.
progress: ContextVar[Progress] = ContextVar("http_progress")


class FramingTooLongError(Exception):
    """The body's chunks take more than they carry."""


class BoundedHandler(ResponseHandler):
    """Takes from a server what one answer can need, and nothing while no answer is owed.

    Bytes beyond that end the connection, so that they cost neither memory nor time, and are never taken for the answer
    to a later request.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, most_body_bytes: int) -> None:
        super().__init__(loop)
        self._most_body_bytes = most_body_bytes
        self.begin()

    def begin(self) -> None:
        """A request is about to be sent, also the CONNECT to a proxy."""
        self._is_owed = True
        self._head_left = _MOST_HEAD_BYTES
        self._body_left = self._most_body_bytes + _MOST_FRAMING_BYTES

    def rest(self) -> None:
        """The answer is complete, or given up."""
        self._is_owed = False

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with what came, and by aiohttp with nothing, to parse on."""
        was_owed = self._is_owed
        if not data:
            super().data_received(data)
        elif not was_owed:
            self._hang_up()
        elif self._in_body:
            self._take_body(data)
        else:
            self._take_head(data)
        if was_owed and not self._is_owed and self.should_close:
            # The answer ended in these bytes, and the connection was released. What came behind belongs to no request.
            self._hang_up()

    @property
    def _in_body(self) -> bool:
        return self._payload is not None and not self._payload.is_eof()

    def _take_head(self, data: bytes) -> None:
        head, more = data[: self._head_left], data[self._head_left :]
        self._head_left -= len(head)
        super().data_received(head)
        if more and self._in_body:
            self._take_body(more)
        elif more:
            self._give_up(BadHttpMessage("the head is too long"))

    def _take_body(self, data: bytes) -> None:
        taken = data[: self._body_left]
        self._body_left -= len(taken)
        super().data_received(taken)
        if len(taken) < len(data):
            self._give_up(FramingTooLongError())

    def _give_up(self, fault: Exception) -> None:
        self.set_exception(fault)
        if self._payload is not None:
            self._payload.set_exception(fault)
        self._hang_up()

    def _hang_up(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()


class Connector(aiohttp.TCPConnector):
    """Notes whether a connection was handed out: before that no request can write a byte."""

    def __init__(self, *, most_body_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no public place for this; the tests of unasked answers tell if it moves.
        self._factory = cast(
            "partial[ResponseHandler]", partial(BoundedHandler, most_body_bytes=most_body_bytes, loop=self._loop)
        )

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109 - aiohttp's signature
        """A connection of the pool, or a new one."""
        noted = progress.get()
        if noted.phase is Phase.UNKNOWN:
            noted.phase = Phase.CONNECTING
        connection = await super().connect(req, traces, timeout)
        noted.phase = Phase.CONNECTED
        if isinstance(connection.protocol, BoundedHandler):
            connection.protocol.begin()
            connection.add_callback(connection.protocol.rest)
        return connection


class ThreadedResolver(AbstractResolver):
    """Looks names up in threads of its own: a name server that keeps silent holds up no other client's names."""

    def __init__(self, threads: int, lookup: Lookup) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="axn-names")
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """All addresses of a name.

        Raises:
            OSError: it has none.
        """
        look = partial(
            self._lookup, host, port, family=family, type=socket.SOCK_STREAM, flags=getattr(socket, "AI_ADDRCONFIG", 0)
        )
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, look)
        except UnicodeError:  # a label too long, or empty
            raise OSError(errno.EINVAL, "no host name") from None
        if not found:
            raise OSError(errno.EADDRNOTAVAIL, "no address")
        return [
            ResolveResult(
                hostname=host,
                host=_with_zone(address),
                port=port,
                family=family_,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for family_, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """End the threads that look nothing up."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _with_zone(address: tuple[Any, ...]) -> str:
    zone = address[3] if len(address) > 3 else 0  # noqa: PLR2004 - IPv6: address, port, flow, zone
    return f"{address[0]}%{zone}" if zone else str(address[0])


def noting(factory: SocketFactory) -> SocketFactory:
    """The factory, noting what it did. A refusal becomes the OSError by which aiohttp goes on to the next address."""

    def make(address: AddrInfoType) -> socket.socket:
        noted = progress.get()
        try:
            made = factory(address)
        except Exception as refusal:
            noted.refusal = refusal
            raise PermissionError(errno.EACCES, "refused by the socket factory") from refusal
        noted.sockets += 1
        return made

    return make


class AnswerTooLargeError(Exception):
    """The body is longer than allowed."""


def kind_while_connecting(cause: BaseException) -> str:  # noqa: PLR0911 - one return per kind
    """What `NotSentError` calls this."""
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientHttpProxyError():
            return "proxy_refused"
        case aiohttp.InvalidURL():  # a host that is neither an address in plain notation nor a name
            return "bad_url"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls"
        # A connection made and then lost before it was handed out was lost in the TLS handshake.
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError() | ConnectionAbortedError()):
            return "tls"
        case TimeoutError():
            return "connect_timeout"
        case aiohttp.ClientConnectorError():
            return "connect_refused"
        case _:
            return "unknown"


def kind_after_connecting(cause: BaseException) -> str:
    """What `MaybeSentError` calls this."""
    match cause:
        case AnswerTooLargeError():
            return "answer_too_large"
        case TimeoutError():
            return "timeout"
        case aiohttp.ServerDisconnectedError():
            return "disconnected"
        case ConnectionError() | aiohttp.ClientOSError():
            return "reset"
        case (
            aiohttp.ClientPayloadError() | aiohttp.ClientResponseError() | aiohttp.http_exceptions.HttpProcessingError()
        ):
            return "bad_answer"
        case _:
            return "unknown"


def failure_detail(cause: BaseException, host: str) -> str:
    """Host and class; the system's words for its error number. The libraries' own texts may quote the URL."""
    number = cause.errno if isinstance(cause, OSError) else None
    words = f": {os.strerror(number)}" if number is not None and number > 0 else ""
    return f"{host}: {type(cause).__name__}{words}"
