"""One call on the wire, as lean as it can be: what is measured is the way to a permit, not an HTTP client.

The project's own ProviderClient costs 0.5 ms of CPU per call and the sandbox 0.4 ms: at 2,000 calls/s nothing of two
cores would be left for whoever hands out the permits.
"""

import asyncio
import itertools
import os
import re
import socket
import time
from dataclasses import dataclass

from worker.provider.requests import Call, Credentials, Endpoint, build_v3, timestamp_text

KEY_ID, KEY_SECRET, POOL_KEY = "testid", "testsecret", "FC123456"
_EXPIRATION = "2035-01-01 00:00:00"
_NUMBERS = 10**8
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HTTP_OK, _HTTP_REFUSED = 200, 400
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Address:
    """Where the provider listens, and whether it wants its requests signed (the sandbox does)."""

    port: int
    is_signed: bool
    host: str = "127.0.0.1"


class Requests:
    """The bytes of one BindAxn request after the other; signed as the engine signs them where that is wanted."""

    def __init__(self, address: Address, *, first_number: int) -> None:
        self._address = address
        self._endpoint = Endpoint.parse(f"http://{address.host}:{address.port}")
        self._credentials = Credentials(KEY_ID, KEY_SECRET)
        self._numbers = itertools.count(first_number)
        self._plain = f"POST / HTTP/1.1\r\nhost: {self._endpoint.host}\r\ncontent-length: 0\r\n\r\n".encode()

    def next(self) -> bytes:
        """Of another customer, with another nonce."""
        if not self._address.is_signed:
            return self._plain
        parameters = {
            "PoolKey": POOL_KEY,
            "PhoneNoA": f"150{next(self._numbers) % _NUMBERS:08d}",
            "Expiration": _EXPIRATION,
        }
        call = Call("BindAxn", parameters, os.urandom(16).hex(), timestamp_text(time.time_ns() // 1_000_000))
        request = build_v3(call, endpoint=self._endpoint, credentials=self._credentials, answer_format="json")
        lines = [f"POST {request.url.removeprefix(self._endpoint.origin)} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        return ("\r\n".join(lines) + "\r\ncontent-length: 0\r\n\r\n").encode()


def read_reply(received: bytes) -> bool | None:
    """Whether the call was done (True) or throttled (False); None while the reply is not complete.

    Raises:
        RuntimeError: it is anything else, and the benchmark is wrong.
    """
    head, end, body = received.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not end or length is None or len(body) < int(length[1]):
        return None
    status = int(head[9:12])
    if status == _HTTP_OK and b'"Code": "OK"' in body:
        return True
    if status == _HTTP_REFUSED and b'"Throttling.User"' in body:
        return False
    raise RuntimeError(f"the provider answered {status}: {body[:200]!r}")


class _Connection(asyncio.Protocol):
    """One request at a time."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._reply: asyncio.Future[bool] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # of a socket it is one

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            is_done = read_reply(self._received)
        except RuntimeError as wrong:
            self._end(wrong)
            return
        if is_done is not None and self._reply is not None and not self._reply.done():
            self._reply.set_result(is_done)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the provider hung up"))

    def _end(self, why: Exception) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(why)

    async def call(self, request: bytes) -> bool:
        self._received, self._reply = b"", asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._reply


class AsyncSender:
    """Calls of one process's loop: as many connections as there are calls under way."""

    def __init__(self, address: Address, requests: Requests) -> None:
        self._address, self._requests = address, requests
        self._idle: list[_Connection] = []

    async def send(self) -> bool:
        """One call; False if it was throttled."""
        connection = self._idle.pop() if self._idle else await self._connect()
        is_done = await connection.call(self._requests.next())
        self._idle.append(connection)
        return is_done

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self._address.host, self._address.port)
        return connection


class BlockingSender:
    """Calls of one thread."""

    def __init__(self, address: Address, requests: Requests) -> None:
        self._requests = requests
        self._socket = socket.create_connection((address.host, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> bool:
        """One call; False if it was throttled."""
        self._socket.sendall(self._requests.next())
        received = b""
        while (is_done := read_reply(received)) is None:
            more = self._socket.recv(_READ_BYTES)
            if not more:
                raise ConnectionError("the provider hung up")
            received += more
        return is_done
