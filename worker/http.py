"""HTTP by POST, whose failures tell "nothing was sent" from "it may have arrived".

The interface is httpx's and the connections are aiohttp's, through a transport of ours (`worker.http_exchange`);
requests go straight to the transport, past httpx's client layer, which costs more CPU than the connection itself.

What proves that nothing was sent is not an exception's type (the transport reports a server that hung up *after* the
request as `httpx.ConnectTimeout`) but the place where it happened: the connector never handed out a connection.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import aiohttp
import httpx

from worker.http_connections import (
    AnswerTooLargeError,
    Connector,
    FramingTooLongError,
    Lookup,
    Phase,
    Progress,
    SocketFactory,
    ThreadedResolver,
    failure_detail,
    kind_after_connecting,
    kind_while_connecting,
    noting,
)
from worker.http_connections import progress as progress_of_request
from worker.http_exchange import Answer, Exchange, UnsendableError

#: Idle connections are closed after so many seconds: sooner than servers do, for a request that goes out on a
#: connection the server is just closing ends in doubt.
_KEEPALIVE_S = 15.0
#: aiohttp reads no further ahead of whom it serves than twice this.
_READ_AHEAD_BYTES = 32 << 10
_USER_AGENT = "axn-bind-worker"
_NOWHERE = httpx.URL()
#: They say where a request ends, and who speaks next: ours to write.
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "expect", "upgrade", "te", "trailer"))
#: Of such a query httpx would change nothing: unreserved characters, separators and whole escapes (RFC 3986).
_ENCODED_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~&=]|%[0-9A-F]{2})+")


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer of any status. Header names are in lower case; repeated ones are joined with a comma.

    `body` is as it came over the wire, never decompressed: where `content-encoding` names anything, it is no text.
    `is_cut`: the body went on, and was not read to its end.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    is_cut: bool = False


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
    proxy_refused, refused_by_guard, bad_url, closed, unknown. `refusal` is what the socket factory raised, where
    refused_by_guard is its doing.
    """

    def __init__(self, kind: str, detail: str, refusal: Exception | None = None) -> None:
        super().__init__(kind, detail)
        self.refusal = refusal


class MaybeSentError(HttpError):
    """The request may have arrived, and may have been acted upon.

    Kinds: timeout, disconnected, reset, bad_answer (cut short, or not HTTP), answer_too_large, unknown.
    """


class HttpClient:
    """One pool of connections, made in the event loop that first posts. Not for several loops.

    No redirects, cookies or environment variables; TLS is always verified.

    Args:
        max_connections: connections open at a time; further requests wait, within their own deadline.
        max_answer_bytes: the longest body read. About as much again may be in memory for a moment.
        connect_timeout_ms: for TCP and TLS together, per address tried.
        read_timeout_ms: longest silence of a server that owes an answer; None leaves it to the total.
        socket_factory: makes the socket for one resolved address, or raises to refuse it.
        fault_of_url: why a URL must not be posted to, or empty. Asked before each post.
        is_cutting: a longer body is cut, and the answer returned; otherwise such an answer is a failure.
        lookup: for tests, in place of `socket.getaddrinfo`. Runs in a thread.
        lookup_threads: names looked up at a time.
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
        fault_of_url: Callable[[str], str] | None = None,
        is_cutting: bool = False,
        lookup: Lookup = socket.getaddrinfo,
        lookup_threads: int = 4,
        ca_file: str | None = None,
        proxy: str | None = None,
    ) -> None:
        self._max_connections = max_connections
        self._max_answer_bytes = max_answer_bytes
        self._connect_s = connect_timeout_ms / 1000
        self._read_timeout_ms = read_timeout_ms
        self._socket_factory = socket_factory
        self._fault_of_url = fault_of_url
        self._is_cutting = is_cutting
        self._lookup = lookup
        self._lookup_threads = lookup_threads
        self._ssl = ssl.create_default_context(cafile=ca_file) if ca_file else httpx.create_ssl_context(trust_env=False)
        # Names count where RFC 9525 has them, in the certificate's alternative names.
        self._ssl.hostname_checks_common_name = False
        self._proxy = proxy or ""
        self._transport: Transport | None = None
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
            url: http or https, without a login.
            headers: sent as given, but none that frame the body; `accept-encoding: identity` and a user agent are
                added where missing.
            content: the body.
            total_timeout_ms: one deadline over waiting for a connection, connecting, headers and body.

        Raises:
            NotSentError: nothing was sent.
            MaybeSentError: everything else.
        """
        request = self._build(url, headers, content, total_timeout_ms)
        progress = Progress()
        token = progress_of_request.set(progress)
        try:
            async with asyncio.timeout(total_timeout_ms / 1000):
                return await self._exchange(request)
        except Exception as error:  # noqa: BLE001 - what is not known counts as "maybe sent"
            failure = _failure(error, progress, request.url.host)
        finally:
            progress_of_request.reset(token)
        # Raised out here so that no library's error, whose text may quote the URL, hangs on as its context.
        raise failure

    async def aclose(self) -> None:
        """Close every connection. What is posted afterwards is refused."""
        self._closed = True
        if self._transport is not None:
            await self._transport.exchange.aclose()

    def _build(self, url: str, headers: Mapping[str, str], content: bytes, total_timeout_ms: int) -> httpx.Request:
        if self._closed:
            raise NotSentError("closed", "this client was closed")
        # Silence has a timer of its own only where the deadline would not do as well.
        silence_ms = self._read_timeout_ms or total_timeout_ms
        request = _request(url, headers, content, silence_ms / 1000 if silence_ms < total_timeout_ms else None)
        if request is None:
            raise NotSentError(
                "bad_url", "not a URL of scheme http or https with a host and no login, or headers that cannot be sent"
            )
        if self._fault_of_url and (fault := self._fault_of_url(url)):
            raise NotSentError("refused_by_guard", f"{request.url.host}: {fault}")
        return request

    async def _exchange(self, request: httpx.Request) -> HttpAnswer:
        response = await self._open_transport().handle_async_request(request)
        try:
            body, is_cut = await self._read(response)
        finally:
            # Of an answer not read to its end, this closes the connection.
            await response.aclose()
        return HttpAnswer(response.status_code, _headers(response), body, is_cut)

    async def _read(self, response: httpx.Response) -> tuple[bytes, bool]:
        assert isinstance(response.stream, _Body)  # noqa: S101 - its `aiter_raw` would only count and cut the chunks anew
        body = bytearray()
        try:
            async for chunk in response.stream:
                body += chunk
                if len(body) > self._max_answer_bytes:
                    break
            else:
                return bytes(body), False
        except FramingTooLongError:
            pass  # cut by the connection
        if not self._is_cutting:
            raise AnswerTooLargeError
        return bytes(body[: self._max_answer_bytes]), True

    def _open_transport(self) -> "Transport":
        if self._transport is None:
            connector = Connector(
                most_body_bytes=self._max_answer_bytes,
                limit=self._max_connections,
                ssl=self._ssl,
                keepalive_timeout=_KEEPALIVE_S,
                resolver=ThreadedResolver(self._lookup_threads, self._lookup),
                socket_factory=noting(self._socket_factory) if self._socket_factory else None,
            )
            read_ahead_bytes = min(self._max_answer_bytes, _READ_AHEAD_BYTES)
            self._transport = Transport(
                Exchange(connector, connect_s=self._connect_s, read_ahead_bytes=read_ahead_bytes, proxy=self._proxy)
            )
        return self._transport


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer.chunks()

    async def aclose(self) -> None:
        self._answer.close()


class Transport(httpx.AsyncBaseTransport):
    """httpx's requests over our exchange. Errors come as aiohttp raises them: it is not their type that counts here."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once; the body is still to be read, and the response to be closed."""
        url = request.url
        answer = await self.exchange.send(
            f"{url.scheme}://{url.netloc.decode()}",
            url.raw_path,
            request.headers.raw,
            request.content,
            read_s=request.extensions["timeout"]["read"],
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), request=request)


class _WithQuery(httpx.URL):
    """A URL that is known, and a query that needs no encoding: only `str` and `raw_path` tell it."""

    def __init__(self, known: httpx.URL, query: str) -> None:
        super().__init__(known)
        self._known = known
        self._query = query

    def __str__(self) -> str:
        return f"{self._known}?{self._query}"

    @property
    def raw_path(self) -> bytes:
        return b"%b?%b" % (self._known.raw_path, self._query.encode())


@lru_cache(maxsize=1_024)
def _parsed(url: str) -> httpx.URL:
    return httpx.URL(url)


def request_url(url: str) -> httpx.URL:
    """As httpx reads it, letter by letter; so what does not change is read once, and of a signed call no query.

    Raises:
        httpx.InvalidURL: it is no URL.
    """
    target, mark, query = url.partition("?")
    is_encoded = mark and _ENCODED_QUERY.fullmatch(query)
    return _WithQuery(_parsed(target), query) if is_encoded else _parsed(url)


def _request(url: str, headers: Mapping[str, str], content: bytes, read_s: float | None) -> httpx.Request | None:
    defaults = {"accept-encoding": "identity", "user-agent": _USER_AGENT}
    given = {name.lower(): value for name, value in headers.items()}
    if not _FRAMING.isdisjoint(given):
        return None
    try:
        # A body as a stream: httpx then adds no headers; those that frame it, the exchange writes.
        request = httpx.Request(
            "POST",
            _NOWHERE,
            headers=defaults | given,
            stream=httpx.ByteStream(content),
            extensions={"timeout": {"read": read_s}},
        )
        request.url = request_url(url)
        request.read()
    except (httpx.InvalidURL, ValueError, TypeError):
        return None
    is_whole = request.url.scheme in {"http", "https"} and request.url.host and not request.url.userinfo
    return request if is_whole else None


def _headers(response: httpx.Response) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in response.headers.raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _failure(error: Exception, progress: Progress, host: str) -> HttpError:
    if progress.phase is Phase.UNKNOWN and isinstance(error, aiohttp.InvalidURL | UnsendableError):
        return NotSentError("bad_url", failure_detail(error, host))
    if progress.phase is not Phase.CONNECTING:
        return MaybeSentError(kind_after_connecting(error), failure_detail(error, host))
    if progress.refusal is not None and not progress.sockets:
        detail = f"{host}: every address was refused ({type(progress.refusal).__name__})"
        return NotSentError("refused_by_guard", detail, progress.refusal)
    return NotSentError(kind_while_connecting(error), failure_detail(error, host))
