"""The sandbox's own face, under /_sandbox: bindings, statistics, faults, health. Unsigned, and never rate limited."""

from aiohttp import web

from worker.sandbox.actions import ACTIONS
from worker.sandbox.bindings import Binding, provider_time
from worker.sandbox.faults import parse_fault
from worker.sandbox.gateway import Gateway

GATEWAY = web.AppKey("gateway", Gateway)

routes = web.RouteTableDef()


@routes.get("/_sandbox/health")
async def health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@routes.get("/_sandbox/bindings")
async def bindings(request: web.Request) -> web.Response:
    """`{"bindings": [...]}`, oldest first; `out_id` and `out_order_id` in the query narrow it to exact matches."""
    book = _up_to_date(request).account.bindings
    wanted = [(name, request.query[name]) for name in ("out_id", "out_order_id") if name in request.query]
    found = [binding for binding in book if all(getattr(binding, name) == value for name, value in wanted)]
    return web.json_response({"bindings": [_as_dict(binding) for binding in found]})


@routes.get("/_sandbox/stats")
async def stats(request: web.Request) -> web.Response:
    """`{"actions": {name: {total, codes, per_second}}, "bindings": {ever_made, live}}`."""
    gateway = _up_to_date(request)
    book = gateway.account.bindings
    counts = {"ever_made": book.ever_made, "live": book.live}
    return web.json_response({"actions": gateway.stats.as_dict(gateway.now()), "bindings": counts})


@routes.get("/_sandbox/faults")
async def list_faults(request: web.Request) -> web.Response:
    """`{"faults": [...]}`, each with its id, settings, requests left (`count`) and requests met (`applied`)."""
    return web.json_response({"faults": request.app[GATEWAY].faults.as_list()})


@routes.post("/_sandbox/faults")
async def add_fault(request: web.Request) -> web.Response:
    """201 and `{"id": n}`, or 400 and `{"error": "field: what would do"}`."""
    try:
        fault = parse_fault(await _json(request), ACTIONS)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"id": request.app[GATEWAY].faults.add(fault)}, status=201)


@routes.delete("/_sandbox/faults")
async def clear_faults(request: web.Request) -> web.Response:
    """`{"removed": n}`."""
    return web.json_response({"removed": request.app[GATEWAY].faults.clear()})


async def _json(request: web.Request) -> object:
    try:
        return await request.json()
    except ValueError as error:
        raise ValueError('body: send JSON, e.g. {"kind": "latency", "latency_ms": 500}') from error


def _up_to_date(request: web.Request) -> Gateway:
    gateway = request.app[GATEWAY]
    gateway.account.bindings.expire(gateway.now())
    return gateway


def _as_dict(binding: Binding) -> dict[str, object]:
    return {
        "SubsId": binding.subs_id,
        "PhoneNoA": binding.phone_no_a,
        "PhoneNoX": binding.phone_no_x,
        "PhoneNoB": binding.phone_no_b,
        "PoolKey": binding.pool_key,
        "OutId": binding.out_id,
        "OutOrderId": binding.out_order_id,
        "ExpireDate": provider_time(binding.expires_at),
        "GmtCreate": provider_time(binding.created_at),
        "live": binding.ended is None,
        "ended": binding.ended,
        "RequestId": binding.request_id,
        "SignatureNonce": binding.nonce,
    }
