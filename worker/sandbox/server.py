"""The sandbox on the network."""

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from worker.sandbox import admin
from worker.sandbox.admin import GATEWAY
from worker.sandbox.config import SandboxConfig
from worker.sandbox.gateway import Gateway
from worker.sandbox.recording import Recording
from worker.sandbox.requests import WireRequest
from worker.sandbox.transport import end_badly

RECORDING = web.AppKey("recording", Recording)
_SHUTDOWN_S = 1.0


def build_app(config: SandboxConfig, *, now: Callable[[], float] = time.time) -> web.Application:
    """The sandbox as an application. `now` is the provider's clock, Unix seconds.

    Raises:
        ValueError: The configuration asks for too many numbers, or names an action or a pool there is none of.
        OSError: The file to record to cannot be written.
    """
    app = web.Application()
    app[GATEWAY] = Gateway(config, now)
    if config.record is not None:
        app[RECORDING] = Recording(config.record, app[GATEWAY].now)
        app.on_cleanup.append(_end_recording)
    app.add_routes(admin.routes)
    app.router.add_route("*", "/{path:.*}", _provider)
    return app


async def serve(config: SandboxConfig, *, on_ready: Callable[[str], None]) -> None:
    """Serve until cancelled. `on_ready` gets the base URL, e.g. `http://127.0.0.1:41233`, once it can be called.

    Raises:
        OSError: The address cannot be listened on.
        ValueError: As `build_app`.
    """
    # No access log: request lines hold phone numbers. Handlers end with their connection, so a held one is let go.
    runner = web.AppRunner(build_app(config), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        on_ready(_base_url(config.host, runner.addresses[0][1]))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _base_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _end_recording(app: web.Application) -> None:
    app[RECORDING].close()


async def _provider(request: web.Request) -> web.StreamResponse:
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    wire = WireRequest(request.method, request.raw_path, headers, await request.read())
    # The effect comes first, the wait after: whoever gives up during the wait has left a binding behind.
    reply = request.app[GATEWAY].reply(wire)
    if RECORDING in request.app:
        request.app[RECORDING].add(wire, reply)
    if reply.wait_s:
        await asyncio.sleep(reply.wait_s)
    response = web.Response(status=reply.status, headers=reply.headers, body=reply.body)
    if reply.ending != "answer":
        await end_badly(request, reply)
    return response
