"""One request over one connection of aiohttp's pool, and its answer: what `worker.http` needs, and nothing else.

aiohttp's own session looks at cookies, redirects, logins, traces, middleware and uploads for each request, and httpx's
transports over it make its objects anew; together that costs twice as much CPU as all the rest of a call. The pool,
the dialling, TLS, proxies and the parser stay aiohttp's.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.streams import StreamReader
from yarl import URL

from worker.http_connections import Connector

Header = tuple[bytes, bytes]

_MOST_ORIGINS = 1_024
_INTERIM = range(100, 200)
_SWITCHING = 101


class UnsendableError(ValueError):
    """What was to be sent holds what would end its line."""


class Answer:
    """An answer whose head has come. Close it: not read to its end, its connection is given up.

    Attributes:
        headers: in their order, as they came.
    """

    __slots__ = ("_connection", "_payload", "headers", "status")

    def __init__(self, status: int, headers: Sequence[Header], payload: StreamReader, connection: Connection) -> None:
        self.status = status
        self.headers = headers
        self._payload = payload
        self._connection = connection
        # The pool has the connection back as soon as the last byte is here: what then follows belongs to no request.
        payload.on_eof(connection.release)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        while chunk := await self._payload.readany():
            yield chunk

    def close(self) -> None:
        """Give the connection up, unless the answer has come to its end."""
        self._connection.close()


class Exchange:
    """Sends requests over a pool of connections. What goes wrong is aiohttp's errors, as they are.

    Args:
        connector: the pool; closed with this.
        connect_s: for TCP and TLS together, per address tried.
        read_ahead_bytes: the parser holds no more of a body than twice this.
        proxy: `http://[user:password@]host:port`; the login is for tunnels alone.
    """

    def __init__(self, connector: Connector, *, connect_s: float, read_ahead_bytes: int, proxy: str = "") -> None:
        self.connector = connector
        self._timeout = aiohttp.ClientTimeout(sock_connect=connect_s)
        self._read_ahead_bytes = read_ahead_bytes
        self._proxy: URL | None = None
        self._proxy_headers: dict[str, str] | None = None
        if proxy:
            self._proxy, self._proxy_headers = _proxy(proxy)
        self._dials: dict[str, ClientRequest] = {}

    async def send(
        self, origin: str, target: bytes, headers: Sequence[Header], body: bytes, *, read_s: float | None
    ) -> Answer:
        """POST once. Nothing is written before the connector hands out a connection.

        Args:
            origin: `scheme://host[:port]`.
            target: path and query, encoded.
            headers: without those that frame the body. `host` goes first, made from the origin where it is missing.
            body: all of it.
            read_s: longest silence of a server that owes an answer; None: any.

        Raises:
            UnsendableError: nothing is sent.
            aiohttp.InvalidURL: the origin is none that can be dialled.
        """
        dial = self._dial(origin)
        if self._proxy is not None and not dial.is_ssl():
            target = origin.encode() + target
        message = _message(dial.headers["host"].encode(), target, headers, body)
        connection = await self.connector.connect(dial, [], self._timeout)
        try:
            return await self._exchange(connection, message, read_s)
        except BaseException:
            connection.close()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self.connector.close()

    async def _exchange(self, connection: Connection, message: bytes, read_s: float | None) -> Answer:
        protocol = connection.protocol
        transport = protocol.transport if protocol is not None else None
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("closed before the request was written")
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=read_s,
            read_bufsize=self._read_ahead_bytes,
        )
        transport.write(message)
        protocol.start_timeout()
        head, payload = await protocol.read()
        while head.code in _INTERIM and head.code != _SWITCHING:
            head, payload = await protocol.read()
        return Answer(head.code, head.raw_headers, payload, connection)

    def _dial(self, origin: str) -> ClientRequest:
        """What aiohttp's connector wants to know of an origin. Through a proxy it writes into it: then made anew."""
        dial = self._dials.get(origin)
        if dial is not None:
            return dial
        try:
            url = URL(origin)
        except ValueError:
            raise aiohttp.InvalidURL(origin) from None
        loop = asyncio.get_running_loop()
        dial = ClientRequest("POST", url, loop=loop, proxy=self._proxy, proxy_headers=self._proxy_headers)
        if self._proxy is None:
            self._dials[origin] = dial
            if len(self._dials) > _MOST_ORIGINS:
                del self._dials[next(iter(self._dials))]
        return dial


def _message(host: bytes, target: bytes, headers: Sequence[Header], body: bytes) -> bytes:
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"host"]
    host = next((value for name, value in headers if name == b"host"), host)
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\n%bcontent-length: %d\r\n\r\n" % (target, host, b"".join(lines), len(body))
    # One end for each line, and nothing that some server takes for one.
    if head.count(b"\n") != len(lines) + 4 or head.count(b"\r") != len(lines) + 4 or b"\0" in head:
        raise UnsendableError("a header holds a control character")
    return head + body


def _proxy(address: str) -> tuple[URL, dict[str, str]]:
    url = URL(address)
    # As a header, not as the connector's own login: that one uses what aiohttp is about to drop.
    login = aiohttp.encode_basic_auth(url.user or "", url.password or "") if url.user or url.password else ""
    return url.with_user(None), {"proxy-authorization": login} if login else {}
