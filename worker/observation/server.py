"""`/metrics`, `/live` and `/ready` of a worker process. No secret, number or id is in any of them; bind it inside."""

import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from worker.logs import get_log
from worker.observation.health import Health, Pulse
from worker.observation.meters import Meters

_log = get_log(__name__)
_UNWELL = 503


class ObservationServer:
    """Serves until closed.

    Args:
        refresh: reads what stands in Redis, before the metrics are written out.
    """

    def __init__(self, meters: Meters, pulse: Pulse, refresh: Callable[[], Awaitable[None]]) -> None:
        self._meters = meters
        self._pulse = pulse
        self._refresh = refresh
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any that is free. An address that is taken is an error in the log, and no more."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as taken:
            _log.error("AXN_LISTEN cannot be listened at: no metrics", host=host, port=port, error=taken.strerror)
            await runner.cleanup()
            return
        self._runner, self.port = runner, runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        await self._refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._meters.registry), headers={"Content-Type": content_type})

    async def _live(self, _: web.Request) -> web.Response:
        return _answer(self._pulse.live())

    async def _ready(self, _: web.Request) -> web.Response:
        return _answer(self._pulse.ready())


def _answer(health: Health) -> web.Response:
    text = json.dumps({"ok": health.is_good, "faults": health.faults})
    return web.Response(text=text, content_type="application/json", status=200 if health.is_good else _UNWELL)
