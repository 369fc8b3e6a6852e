"""The receiver's HTTP side: every POST is a callback, except below `/_receiver/`.

    POST any path              204 (or the status asked for) when verified, 401 with the reason when not
    GET  /_receiver/stats      totals, see Events.stats
    GET  /_receiver/events     all events, `?type=` for those of one type
    GET  /_receiver/health     {"status": "ok"}

Bodies hold phone numbers: there is no access log, and nothing of a call is logged elsewhere.
"""

import asyncio
import random
from collections.abc import Callable

from aiohttp import web

from worker.receiver.config import ReceiverConfig
from worker.receiver.events import Events
from worker.receiver.verifier import Verifier

MAX_BODY_BYTES = 1024 * 1024
#: How long open calls may take once the receiver is to end.
SHUTDOWN_TIMEOUT_S = 1.0


class _Receiver:
    def __init__(self, config: ReceiverConfig) -> None:
        self._config = config
        self._verifier = Verifier(config.secrets)
        self._events = Events()
        self._random = random.Random(config.seed)  # noqa: S311 (a choice of faults, no secret)

    async def callback(self, request: web.Request) -> web.Response:
        answer = await self._answer(request)
        # Counted before it is held back: a caller that gives up meanwhile was heard all the same.
        await asyncio.sleep(self._config.delay_ms / 1000)
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        webhook_id = request.headers.get("webhook-id")
        self._events.arrived(webhook_id)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            self._events.refused()
            return web.Response(status=413, text="Body above 1 MiB")
        refusal = self._verifier.refusal(request.headers, body)
        if webhook_id is None or refusal is not None:
            self._events.refused()
            return web.Response(status=401, text=refusal)
        return self._accept(webhook_id, body)

    def _accept(self, webhook_id: str, body: bytes) -> web.Response:
        self._events.authentic(webhook_id, body)
        if self._random.random() < self._config.fail_share:
            return web.Response(status=500, text="Failed on purpose")
        self._events.delivered(webhook_id)
        return web.Response(status=self._config.status)

    async def stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self._events.stats())

    async def events(self, request: web.Request) -> web.Response:
        return web.json_response(self._events.summaries(request.query.get("type")))

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})


def build_app(config: ReceiverConfig) -> web.Application:
    """Return a receiver with nothing received yet.

    Raises:
        ValueError: a secret is empty or not base64.
    """
    receiver = _Receiver(config)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/_receiver/stats", receiver.stats)
    app.router.add_get("/_receiver/events", receiver.events)
    app.router.add_get("/_receiver/health", receiver.health)
    app.router.add_post(r"/{path:(?!_receiver/).*}", receiver.callback)
    return app


async def serve(config: ReceiverConfig, *, on_ready: Callable[[str], None]) -> None:
    """Serve until cancelled; `on_ready` gets the base URL, such as http://127.0.0.1:4123, once calls are taken.

    Raises:
        OSError: the address is taken or not this machine's.
        ValueError: a secret is empty or not base64.
    """
    runner = web.AppRunner(build_app(config), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, config.host, config.port).start()
        on_ready(_base_url(runner))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _base_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
