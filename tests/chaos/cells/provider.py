"""C: the provider answers badly, late, or not at all; its answers lag behind what it did."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.bench import Bench, Cell, Fault
from tests.chaos.checker import FAULT
from tests.chaos.orders import CHOSEN_POOL_KEY, POOL_KEY, Order
from tests.chaos.system import SystemOptions

_FAULT_S = 2.5
_SHARE = 0.2
_STORM = 15
_SILENT_MS = 3_000
_READ_LAG_MS = 1_000
_FAILED, _EXPIRED, _IN_DOUBT = frozenset({"failed"}), frozenset({"expired"}), frozenset({"in_doubt"})
_BOUND, _MAYBE = frozenset({"bound"}), frozenset({"bound", "in_doubt"})
_DEADLINE = {"deadline": "6s"}
#: What becomes of an A that meets this outcome at every request, and the fields its order needs to end in time.
ALWAYS: Mapping[str, tuple[frozenset[str], Mapping[str, str]]] = {
    "2001": (_FAILED, {}),
    "2002": (_FAILED, {}),
    "2004": (_EXPIRED, _DEADLINE),
    "2005": (_FAILED, {}),
    "2010": (_IN_DOUBT, {}),
    "2011": (_IN_DOUBT, {}),
    "4000": (_EXPIRED, _DEADLINE),
    "5030": (_IN_DOUBT, {}),
    "5031": (_IN_DOUBT, {}),
    "5020": (_IN_DOUBT, {}),
    "5021": (_IN_DOUBT, {}),
    "6001": (_IN_DOUBT, {}),
    "6002": (_IN_DOUBT, {}),
    "6003": (_IN_DOUBT, {}),
    "7001": (_IN_DOUBT, {}),
    "7002": (_IN_DOUBT, {}),
    "7003": (_IN_DOUBT, {}),
    "7004": (_IN_DOUBT, {}),
}
#: The same where only the first request meets it: what was not done is bound at the next attempt.
ONCE: Mapping[str, frozenset[str]] = {
    "2001": _BOUND,
    "2002": _FAILED,
    "2004": _BOUND,
    "2005": _BOUND,
    "2010": _MAYBE,
    "2011": _MAYBE,
    "4000": _BOUND,
    "5030": _MAYBE,
    "5031": _MAYBE,
    "6001": _BOUND,
    "6002": _MAYBE,
    "7001": _MAYBE,
    "7003": _MAYBE,
}
_ACCOUNT_STOP = "19900012003"


async def _spoil(bench: Bench, faults: Sequence[Mapping[str, Any]]) -> None:
    """One run per fault: it meets a share of the requests while the load lasts."""
    for fault in faults:
        last = await _from_now_on(bench, probability=_SHARE, **fault)
        await bench.run(" ".join(f"{name} {value}" for name, value in fault.items()), last)


async def _from_now_on(bench: Bench, **fault: Any) -> Fault:
    """Switch a fault on, so that the first request may meet it, and return what lets it last and ends it."""
    switched_on = contextlib.AsyncExitStack()
    met = await switched_on.enter_async_context(bench.system.provider_fault(**fault))

    async def last() -> None:
        await asyncio.sleep(_FAULT_S)
        await switched_on.aclose()
        if not sum(met):
            bench.blame("F0", FAULT, f"no request met the fault of run {bench.runs}")

    return last


async def silent(bench: Bench) -> None:
    """No answer: the binding made and nothing said, or the connection closed before anything was done."""
    await _spoil(bench, [
        {"kind": "timeout_after", "hold_ms": _SILENT_MS},
        {"kind": "close_before"},
        {"kind": "close_after"},
    ])  # fmt: skip


async def broken_way(bench: Bench) -> None:
    """The way to the provider: connections reset, answers swallowed after the effect, nothing arrives for a while."""
    way = bench.system.provider_way

    async def reset() -> None:
        for _ in range(_STORM):
            way.reset_all()
            await bench.sleep(0.05, 0.2)

    async def cut_answers() -> None:
        for _ in range(_STORM):
            way.replies_to_cut = bench.rng.randint(1, 3)
            await bench.sleep(0.05, 0.2)
        way.replies_to_cut = 0

    async def swallow() -> None:
        way.black_hole(is_on=True)
        await asyncio.sleep(_FAULT_S)
        way.black_hole(is_on=False)

    await bench.run("RST storm on the way to the provider", reset)
    await bench.run("answers cut off on the way", cut_answers)
    await bench.run("black hole on the way to the provider", swallow)


async def no_answer(bench: Bench) -> None:
    """The provider's silence, and the network's."""
    await silent(bench)
    await broken_way(bench)


async def broken_answers(bench: Bench) -> None:
    """Errors after the effect, broken connections, garbage, half answers, a proxy's page."""
    await _spoil(bench, [
        {"kind": "http_503", "after_effect": True},
        {"kind": "http_503"},
        {"kind": "garbage", "after_effect": True},
        {"kind": "half_answer"},
        {"kind": "html_502", "after_effect": True},
        {"kind": "business", "code": "isp.SYSTEM_ERROR", "after_effect": True},
    ])  # fmt: skip


async def business_errors(bench: Bench) -> None:
    """Each outcome of the magic numbers ends as the table of outcomes says; then an account that is refused once."""
    orders = bench.book.make(max(0, bench.jobs_per_run - len(ALWAYS) - len(ONCE)))
    may_end: dict[str, frozenset[str]] = {}
    for digits, (ends, fields) in ALWAYS.items():
        orders.append(_magic(bench, f"1990000{digits}", **fields))
        may_end[orders[-1].order] = ends
    for digits, ends in ONCE.items():
        orders.append(_magic(bench, f"1990001{digits}"))
        may_end[orders[-1].order] = ends
    bench.rng.shuffle(orders)
    orders.sort(key=lambda order: order.group)

    async def nothing() -> None:
        await asyncio.sleep(_FAULT_S)

    await bench.run("magic numbers", nothing, orders=orders, may_end=may_end)
    orders = [_magic(bench, _ACCOUNT_STOP), *bench.book.make(bench.jobs_per_run - 1)]
    await bench.run("the account is refused once", nothing, orders=orders, may_end={orders[0].order: _BOUND})


def _magic(bench: Bench, phone_no_a: str, **fields: Any) -> Order:
    return bench.book.one(phone_no_a=phone_no_a, on_doubt="hold", pool_key=POOL_KEY, **fields)


async def late_reads(bench: Bench) -> None:
    """Queries show the state of a second ago, while answers to orders with a chosen X are lost."""
    for fault in ({"kind": "close_after"}, {"kind": "close_before"}, {"kind": "http_503", "after_effect": True}):
        orders = [bench.book.one(**chosen) for chosen in _chosen_fields(bench)]
        last = await _from_now_on(bench, probability=2 * _SHARE, **fault)
        await bench.run(f"{fault['kind']}, queries lag", last, orders=orders)


def _chosen_fields(bench: Bench) -> list[dict[str, Any]]:
    numbers = bench.system.chosen_numbers()
    first = bench.runs * bench.jobs_per_run
    return [
        {"phone_no_x": number, "pool_key": CHOSEN_POOL_KEY, "on_doubt": bench.rng.choice(["hold", "rebind"])}
        for number in numbers[first : first + bench.jobs_per_run]
    ]


async def slow(bench: Bench) -> None:
    """Answers later than an attempt may take, and later than the lease lasts."""
    await _spoil(bench, [{"kind": "latency", "latency_ms": 1_500}, {"kind": "latency", "latency_ms": 5_000}])


CELLS = (
    Cell("C1", "no answer, bound or not", no_answer, runs=6),
    Cell("C2", "broken answers after the effect", broken_answers, runs=6),
    Cell(
        "C4", "business errors, a refused account", business_errors, runs=2,
        options=SystemOptions(tuning={"AXN_RETRY__ATTEMPTS": "4", "AXN_DOUBT__WINDOW": "4s"}),
    ),
    Cell(
        "C5", "look-ups that lag, chosen X", late_reads, runs=3,
        options=SystemOptions(
            sandbox=("--read-lag-ms", str(_READ_LAG_MS)), tuning={"AXN_DOUBT__READ_LAG": f"{_READ_LAG_MS}ms"}
        ),
    ),
    Cell("C6", "provider slower than attempt and lease", slow, runs=2),
)  # fmt: skip
