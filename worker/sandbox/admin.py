"""The sandbox's own face, under /_sandbox: bindings, effects, statistics, faults, clock, reset.

It is unsigned and never rate limited.
"""

from aiohttp import web

from worker.sandbox.actions import ACTIONS
from worker.sandbox.bindings import Binding, provider_time
from worker.sandbox.faults import parse_fault
from worker.sandbox.gateway import Gateway

GATEWAY = web.AppKey("gateway", Gateway)

_FURTHEST_S = 10**9

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


@routes.get("/_sandbox/effects")
async def effects(request: web.Request) -> web.Response:
    """`{"ever_made": n, "live": n, "bindings": [...]}` of `out_order_id`, which must be given; else 400."""
    if "out_order_id" not in request.query:
        return web.json_response({"error": "out_order_id: name the order, e.g. ?out_order_id=42"}, status=400)
    made = _up_to_date(request).account.bindings.of_order(request.query["out_order_id"])
    live = sum(binding.ended is None for binding in made)
    shown = [_as_dict(binding) for binding in made]
    return web.json_response({"ever_made": len(made), "live": live, "bindings": shown})


@routes.post("/_sandbox/clock")
async def move_clock(request: web.Request) -> web.Response:
    """`{"now": "yyyy-MM-dd HH:mm:ss"}`, Beijing time, after moving by `{"advance_s": n}`.

    Bindings run out by this clock. Signatures go on being checked by the true time, unless `"signatures": true`.
    """
    try:
        advance_s, signatures = _parse_move(await _json(request))
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    request.app[GATEWAY].advance(advance_s, signatures=signatures)
    return web.json_response({"now": provider_time(_up_to_date(request).product_now())})


@routes.post("/_sandbox/reset")
async def reset(request: web.Request) -> web.Response:
    """`{"status": "ok"}`: bindings, bought numbers, locks, faults, counts, nonces and clock are as at the start."""
    request.app[GATEWAY].reset()
    return web.json_response({"status": "ok"})


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


def _parse_move(payload: object) -> tuple[float, bool]:
    given = payload if isinstance(payload, dict) else {}
    advance_s, signatures = given.get("advance_s"), given.get("signatures", False)
    if not isinstance(advance_s, (int, float)) or isinstance(advance_s, bool) or not 0 <= advance_s <= _FURTHEST_S:
        raise ValueError(f"advance_s: must be seconds from 0 to {_FURTHEST_S}, not {advance_s!r}")
    if not isinstance(signatures, bool):
        raise ValueError(f"signatures: must be true or false, not {signatures!r}")  # noqa: TRY004 - as any bad field
    return advance_s, signatures


async def _json(request: web.Request) -> object:
    try:
        return await request.json()
    except ValueError as error:
        raise ValueError('body: send JSON, e.g. {"kind": "latency", "latency_ms": 500}') from error


def _up_to_date(request: web.Request) -> Gateway:
    gateway = request.app[GATEWAY]
    gateway.account.bindings.expire(gateway.product_now())
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
