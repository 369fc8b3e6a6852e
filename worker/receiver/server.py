"""The receiver's HTTP side: every POST is a callback, except below `/_receiver/`.

    POST any path              204 (or what was asked for) when verified, 401 with the reason when not
    GET  /_receiver/stats      totals, see Events.stats
    GET  /_receiver/events     all events, `?type=` for those of one type
    GET  /_receiver/health     {"status": "ok"}

Bodies hold phone numbers: there is no access log, and nothing of a call is logged elsewhere.
"""

import asyncio
import random
import time
from collections.abc import Callable

from aiohttp import web

from worker.receiver.config import ReceiverConfig
from worker.receiver.events import Call, Events
from worker.receiver.verifier import Verifier

MAX_BODY_BYTES = 1024 * 1024
#: How long open calls may take once the receiver is to end.
SHUTDOWN_TIMEOUT_S = 1.0


class Receiver:
    """Answers calls and counts them.

    Args:
        config: how it behaves.
        on_call: told of each call before it is answered.

    Raises:
        ValueError: a secret cannot verify anything.
    """

    def __init__(self, config: ReceiverConfig, on_call: Callable[[Call], None] = lambda _: None) -> None:
        self._config = config
        self._on_call = on_call
        self._verifier = Verifier(config.secrets)
        self._events = Events()
        self._random = random.Random(config.seed)  # noqa: S311 (a choice of faults, no secret)

    @property
    def stats(self) -> dict[str, int]:
        """See `Events.stats`."""
        return self._events.stats()

    async def callback(self, request: web.Request) -> web.Response:
        """Any POST."""
        answer = await self._answer(request)
        # Counted before it is held back: a caller that gives up meanwhile was heard all the same.
        await asyncio.sleep(self._config.delay_ms / 1000)
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        at_ms = time.time_ns() // 1_000_000
        webhook_id = request.headers.get("webhook-id", "")
        number = self._events.arrived(webhook_id)
        try:
            body = await request.read()
            refusal, status = self._verifier.refusal(request.headers, body), 401
        except web.HTTPRequestEntityTooLarge:
            body, refusal, status = b"", "Body above 1 MiB", 413
        if refusal is not None:
            self._events.refused()
            self._on_call(Call(at_ms, webhook_id, number, refusal, status))
            return web.Response(status=status, text=refusal)
        event = self._events.authentic(webhook_id, body)
        status, text = self._chosen_answer()
        if not text:
            self._events.delivered(webhook_id)
        has_other_body = len(event.body_digests) > 1
        self._on_call(Call(at_ms, webhook_id, number, "", status, event.type, event.data, has_other_body))
        return web.Response(status=status, text=text, headers=self._config.headers_of(status))

    def _chosen_answer(self) -> tuple[int, str | None]:
        """The status; with a text where it fails on purpose."""
        if self._random.random() < self._config.fail_share:
            return 500, "Failed on purpose"
        return self._config.answer_status, None

    async def show_stats(self, _request: web.Request) -> web.Response:
        """The totals."""
        return web.json_response(self.stats)

    async def show_events(self, request: web.Request) -> web.Response:
        """The events."""
        return web.json_response(self._events.summaries(request.query.get("type")))

    async def health(self, _request: web.Request) -> web.Response:
        """It runs."""
        return web.json_response({"status": "ok"})


def build_app(receiver: Receiver) -> web.Application:
    """Return the receiver's HTTP side."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/_receiver/stats", receiver.show_stats)
    app.router.add_get("/_receiver/events", receiver.show_events)
    app.router.add_get("/_receiver/health", receiver.health)
    app.router.add_post(r"/{path:(?!_receiver/).*}", receiver.callback)
    return app


async def serve(config: ReceiverConfig, *, on_ready: Callable[[str], None], receiver: Receiver | None = None) -> None:
    """Serve until cancelled; `on_ready` gets the base URL, such as http://127.0.0.1:4123, once calls are taken.

    Args:
        config: where to listen, and how the receiver behaves.
        on_ready: see above.
        receiver: made of the same config by a caller who listens in; else one is made here.

    Raises:
        OSError: the address is taken or not this machine's.
        ValueError: a secret cannot verify anything.
    """
    runner = web.AppRunner(
        build_app(receiver or Receiver(config)), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S
    )
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
