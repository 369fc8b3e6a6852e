"""HTTP by POST, whose failures tell "nothing was sent" from "it may have arrived".

The interface is httpx's and the connections are aiohttp's (`httpx_aiohttp.AiohttpTransport`); requests go straight to
the transport, past httpx's client layer, which costs more CPU than the connection itself.

What proves that nothing was sent is not an exception's type (the transport reports a server that hung up *after* the
request as `httpx.ConnectTimeout`) but the place where it happened: the connector never handed out a connection.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial

import aiohttp
import httpx
from aiohappyeyeballs import AddrInfoType
from aiohttp.client import ClientTimeout
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport

SocketFactory = Callable[[AddrInfoType], socket.socket]

#: Idle connections are closed after so many seconds: sooner than servers do, for a request that goes out on a
#: connection the server is just closing ends in doubt.
_KEEPALIVE_S = 15.0
_USER_AGENT = "axn-bind-worker"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A complete answer of any status. Header names are in lower case; repeated ones are joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpError(Exception):
    """No complete answer.

    Attributes:
        kind: a short, stable name, given at each subclass.
        detail: host and cause for a log; never a URL's query and never a body.
    """

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        self.detail = detail
        super().__init__(f"{kind}: {detail}")


class NotSentError(HttpError):
    """Proven: not one byte of the request left this machine.

    Kinds: connect_refused (also unreachable), dns, tls, connect_timeout (also: no free connection in time),
    proxy_refused, refused_by_guard, bad_url, closed, unknown. `refusal` is what the socket factory raised, for
    refused_by_guard.
    """

    def __init__(self, kind: str, detail: str, refusal: Exception | None = None) -> None:
        super().__init__(kind, detail)
        self.refusal = refusal


class MaybeSentError(HttpError):
    """The request may have arrived, and may have been acted upon.

    Kinds: timeout, disconnected, reset, bad_answer (cut short, or not HTTP), answer_too_large, unknown.
    """


class _AnswerTooLargeError(Exception):
    """The body is longer than allowed."""


class _Phase(Enum):
    """How far a request came. Only CONNECTING proves anything, so that a path not foreseen counts as sent."""

    UNKNOWN = auto()
    CONNECTING = auto()
    CONNECTED = auto()


@dataclass(slots=True)
class _Progress:
    """What the connector notes about the request it is asked for."""

    phase: _Phase = _Phase.UNKNOWN
    sockets: int = 0
    refusal: Exception | None = None


_progress: ContextVar[_Progress] = ContextVar("http_progress")


class _Connector(aiohttp.TCPConnector):
    """Notes whether a connection was handed out: before that no request can write a byte."""

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109 - aiohttp's signature
        progress = _progress.get()
        if progress.phase is _Phase.UNKNOWN:
            progress.phase = _Phase.CONNECTING
        connection = await super().connect(req, traces, timeout)
        progress.phase = _Phase.CONNECTED
        return connection


class HttpClient:
    """One pool of connections, made in the event loop that first posts. Not for several loops.

    No redirects, cookies or environment variables; TLS is always verified.

    Args:
        max_connections: connections open at a time; further requests wait, within their own deadline.
        max_answer_bytes: the longest body read.
        connect_timeout_ms: for TCP and TLS together, per address tried.
        read_timeout_ms: longest silence of a server that owes an answer; None leaves it to the total.
        socket_factory: makes the socket for one resolved address, or raises to refuse it.
        ca_file: certificates (PEM) to trust instead of the public ones.
        proxy: `http://[user:password@]host:port` for every request; https goes through its tunnel unread,
            and the login is for such tunnels only.

    Raises:
        OSError: `ca_file` cannot be read (`ssl.SSLError`: or holds no certificate).
    """

    def __init__(
        self,
        *,
        max_connections: int,
        max_answer_bytes: int,
        connect_timeout_ms: int,
        read_timeout_ms: int | None = None,
        socket_factory: SocketFactory | None = None,
        ca_file: str | None = None,
        proxy: str | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._max_answer_bytes = max_answer_bytes
        self._timeouts_s = {"connect": connect_timeout_ms / 1000}
        if read_timeout_ms is not None:
            self._timeouts_s["read"] = read_timeout_ms / 1000
        self._socket_factory = socket_factory
        self._ssl = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=False)
        self._proxy = _proxy(proxy) if proxy else None
        self._transport: AiohttpTransport | None = None
        self._closed = False

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes = b"",
        total_timeout_ms: int,
    ) -> HttpAnswer:
        """Send once, and read the whole answer. Never sends a second time.

        Args:
            url: http or https.
            headers: sent as given; `accept-encoding: identity` and a user agent are added where missing.
            content: the body.
            total_timeout_ms: one deadline over waiting for a connection, connecting, headers and body.

        Raises:
            NotSentError: nothing was sent.
            MaybeSentError: everything else.
        """
        request = self._build(url, headers, content)
        progress = _Progress()
        token = _progress.set(progress)
        try:
            async with asyncio.timeout(total_timeout_ms / 1000):
                return await self._exchange(request)
        except Exception as error:  # noqa: BLE001 - what is not known counts as "maybe sent"
            failure = _failure(error, progress, request.url.host)
        finally:
            _progress.reset(token)
        # Raised out here so that no library's error, whose text may quote the URL, hangs on as its context.
        raise failure

    async def aclose(self) -> None:
        """Close every connection. What is posted afterwards is refused."""
        self._closed = True
        if self._transport is not None:
            await self._transport.aclose()

    def _build(self, url: str, headers: Mapping[str, str], content: bytes) -> httpx.Request:
        if self._closed:
            raise NotSentError("closed", "this client was closed")
        request = _request(url, headers, content, self._timeouts_s)
        if request is None:
            raise NotSentError("bad_url", "not a URL of scheme http or https with a host, or headers that are not text")
        return request

    async def _exchange(self, request: httpx.Request) -> HttpAnswer:
        response = await self._open_transport().handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        return HttpAnswer(response.status_code, _headers(response), body)

    async def _read(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_answer_bytes:
                raise _AnswerTooLargeError
        return bytes(body)

    def _open_transport(self) -> AiohttpTransport:
        if self._transport is None:
            connector = _Connector(
                limit=self._max_connections,
                ssl=self._ssl,
                keepalive_timeout=_KEEPALIVE_S,
                socket_factory=partial(_guarded_socket, self._socket_factory) if self._socket_factory else None,
            )
            # What httpx has not set shall not be added by aiohttp: the caller's headers are the request's headers.
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                skip_auto_headers=("Content-Type", "User-Agent", "Accept"),
            )
            self._transport = AiohttpTransport(verify=self._ssl, trust_env=False, client=session, proxy=self._proxy)
        return self._transport


def _guarded_socket(factory: SocketFactory, address: AddrInfoType) -> socket.socket:
    """The factory's socket. A refusal becomes the OSError by which the connector goes on to the next address."""
    progress = _progress.get()
    try:
        made = factory(address)
    except Exception as refusal:
        progress.refusal = refusal
        raise PermissionError(errno.EACCES, "refused by the socket factory") from refusal
    progress.sockets += 1
    return made


def _proxy(address: str) -> httpx.Proxy:
    url = httpx.URL(address)
    # As a header, not as the transport's own login: that one uses what aiohttp is about to drop.
    login = aiohttp.encode_basic_auth(url.username, url.password) if url.userinfo else ""
    headers = {"proxy-authorization": login} if login else {}
    return httpx.Proxy(url.copy_with(userinfo=b""), headers=headers)


def _request(
    url: str, headers: Mapping[str, str], content: bytes, timeouts_s: Mapping[str, float]
) -> httpx.Request | None:
    defaults = {"accept-encoding": "identity", "user-agent": _USER_AGENT}
    given = {name.lower(): value for name, value in headers.items()}
    extensions = {"timeout": dict(timeouts_s)}
    try:
        request = httpx.Request("POST", url, headers=defaults | given, content=content, extensions=extensions)
    except (httpx.InvalidURL, ValueError, TypeError):
        return None
    return request if request.url.scheme in {"http", "https"} and request.url.host else None


def _headers(response: httpx.Response) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _failure(error: Exception, progress: _Progress, host: str) -> HttpError:
    # The transport wraps most of aiohttp's errors, and by no means always in the right class.
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) and error.__cause__ else error
    if progress.phase is _Phase.UNKNOWN and isinstance(cause, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return NotSentError("bad_url", _detail(cause, host))
    if progress.phase is not _Phase.CONNECTING:
        return MaybeSentError(_kind_after_connecting(cause), _detail(cause, host))
    if progress.refusal is not None and not progress.sockets:
        detail = f"{host}: every address was refused ({type(progress.refusal).__name__})"
        return NotSentError("refused_by_guard", detail, progress.refusal)
    return NotSentError(_kind_while_connecting(cause), _detail(cause, host))


def _kind_while_connecting(cause: BaseException) -> str:  # noqa: PLR0911 - one return per kind
    match cause:
        case aiohttp.ClientConnectorDNSError():
            return "dns"
        case aiohttp.ClientHttpProxyError():
            return "proxy_refused"
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


def _kind_after_connecting(cause: BaseException) -> str:
    match cause:
        case _AnswerTooLargeError():
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


def _detail(cause: BaseException, host: str) -> str:
    """Host and class; the system's words for its error number. The libraries' own texts may quote the URL."""
    number = cause.errno if isinstance(cause, OSError) else None
    words = f": {os.strerror(number)}" if number is not None and number > 0 else ""
    return f"{host}: {type(cause).__name__}{words}"
