"""The endings that are not an answer: hang up, hold, break off half-way, or drip."""

import asyncio
from http import HTTPStatus

from aiohttp import web

from worker.sandbox.gateway import Reply

_DRIPS = 50


async def end_badly(request: web.Request, reply: Reply) -> None:
    """End the connection as the reply says, and close it."""
    transport = request.transport
    if transport is None:
        return
    if reply.ending == "hold":
        await asyncio.sleep(reply.hold_s)
    if reply.ending == "half":
        transport.write(_head(reply) + reply.body[: len(reply.body) // 2])
    if reply.ending == "slow":
        await _drip(transport, _head(reply), reply.hold_s)
        transport.write(reply.body)
    transport.close()


async def _drip(transport: asyncio.Transport, head: bytes, seconds: float) -> None:
    size = len(head) // _DRIPS + 1
    for start in range(0, len(head), size):
        if transport.is_closing():
            return
        transport.write(head[start : start + size])
        await asyncio.sleep(seconds * size / len(head))


def _head(reply: Reply) -> bytes:
    headers = {**reply.headers, "Content-Length": str(len(reply.body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
