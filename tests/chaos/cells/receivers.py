"""F: the receivers of callbacks answer badly, late or not at all; F4 and F5 are in `strangers`."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

from tests.callbacks.hostile_answers import ANSWERED, FAILED, LENGTH, then_silent
from tests.chaos.bench import Bench, Cell
from tests.chaos.callback_bench import DEFAULT_KEY, CallbackBench, options, receiving, share_of, unix_ms
from tests.chaos.callback_checker import KeySpan, Silence
from tests.chaos.cells.strangers import leading_astray, untrusted
from tests.chaos.checker import WRONG
from tests.chaos.processes import Kept
from tests.chaos.receivers import Answer, Behaviour, Sink, always_plain, healthy, plain
from tests.provider.loopback import Responder, answer

_DAY_MS = 86_400_000
_SHUT_HEEDED_MS = 3_000
"""From a host's being disabled until the last worker knows it, the try under way included."""
_DENIED = "127.66.0.1"
_SILENT = Answer(0, then_silent(b""))
_MOST_GROWTH_KIB = 48 << 10
_LEASE_MS = 4_000
"""Of a try: its longest time and 2 s. What a dead worker took comes again after it, what failed by the schedule."""
_GRACE_S = 7
_OUR_NAMES = {"bad_answer": "answer.malformed"}
_WHILE_DEAD, _AT_ONCE = 64, 3


async def plain_refusals(bench: Bench) -> None:
    """Refused connections and every kind of answer that is no success; each ends as the schedule and the answer say."""
    async with receiving(bench) as at_work:
        add = at_work.sinks.add
        bystander = await add(is_bystander=True)
        shut, broken, gone = await add(is_open=False), await add(always_plain(500)), await add(always_plain(410))
        few = [
            await add(_at_first(lambda: plain(429, "Retry-After: 2\r\n", asks_ms=2_000))),
            await add(_at_first(lambda: plain(503, _dates(3), asks_ms=3_000))),
            await add(_at_first(lambda: plain(429, "Retry-After: -5\r\n"))),
            await add(always_plain(204)),
            await add(always_plain(404), ends="http.404"),
            *[await _leading_to(at_work, status) for status in (301, 302, 303, 307, 308)],
        ]
        for_a_day = plain(429, "Retry-After: 99999999999\r\n", asks_ms=_DAY_MS)
        put_off = await add(lambda _: for_a_day, ends="deadline")

        async def get_well() -> None:
            await asyncio.sleep(3.0)
            await at_work.sinks.open(shut)
            broken.behave = healthy

        share = share_of(bench)
        orders = at_work.mixed(
            at_work.orders(share, bystander),
            at_work.orders(share, shut, broken, gone),
            at_work.orders(3 * len(few), *few),
            at_work.orders(3, put_off, callback_deadline="6s"),
        )
        await bench.run("every answer that is no success", get_well, orders=orders, over_s=5.0)
        await at_work.settled()
        at_work.need(any(one.status == 500 for one in at_work.sinks.arrivals), "nobody met the 500s")
        await _bring_back(at_work, gone)


async def a_few_of_each_kind(at_work: CallbackBench) -> None:
    """All orders from now on have callbacks, to receivers that are good, bad at first, or lead to a denied address."""
    add = at_work.sinks.add
    sinks = [
        await add(),
        await add(_every_third(_then_reset(answer()))),
        await add(_at_first(lambda: plain(404))),
        await _leading_to(at_work, 307),
    ]
    at_work.bench.book.callback_urls = [sink.url for sink in sinks]


def _at_first(bad: Callable[[], Answer]) -> Behaviour:
    """A bad answer to the first try of each callback."""
    return lambda call: bad() if call.try_number == 1 else plain(200)


def _dates(ahead_s: int) -> str:
    now_s = time.time()
    return f"Date: {formatdate(now_s, usegmt=True)}\r\nRetry-After: {formatdate(now_s + ahead_s, usegmt=True)}\r\n"


async def _leading_to(at_work: CallbackBench, status: int) -> Sink:
    """A receiver that redirects to a denied address."""
    port = await at_work.sinks.deny(_DENIED)
    location = f"Location: http://{_DENIED}:{port}/\r\n"
    return await at_work.sinks.add(always_plain(status, location), ends=f"http.{status}")


async def _bring_back(at_work: CallbackBench, gone: Sink) -> None:
    """A person enables a receiver that said 410, and replays what it was given up on."""
    calls = at_work.sinks.calls_of(gone.host)
    at_work.need(calls, "nobody met the 410")
    gone.behave = healthy
    shut_ms = calls[0].at_ms + _SHUT_HEEDED_MS if calls else 0
    at_work.silences.append(Silence(gone.host, shut_ms, max(shut_ms, unix_ms())))
    enabled = (await at_work.axn("callbacks", "enable", gone.host))[0]
    at_work.need(enabled["was_disabled_by"] == "410", "the 410 did not disable its receiver")
    at_work.begun_anew.add(gone.host)
    await at_work.axn("callbacks", "replay", "--host", gone.host, "--since", "1h", "--per-second", "500")


async def slow_loris(bench: Bench) -> None:
    """Answers drop by drop, silence, and no end: each costs one place until the deadline, and nobody else waits."""
    async with receiving(bench) as at_work:
        add = at_work.sinks.add
        bystander = await add(is_bystander=True)
        drops = [
            # Those of many lines may come to the bound of a head first.
            await add(_always(0, respond), ends="timeout answer.malformed" if "lines" in name else "timeout")
            for name, (respond, kind) in FAILED.items()
            if kind == "timeout"
        ]
        crawls = Answer(200, _dripping(LENGTH % 6, b"x" * 6, pause_s=0.1))
        silent = await add(lambda _: _SILENT)
        in_time = await add(lambda _: crawls)

        async def get_well() -> None:
            await asyncio.sleep(5.0)
            silent.behave = healthy

        share = share_of(bench)
        orders = at_work.mixed(
            at_work.orders(share, bystander),
            at_work.orders(share, silent),
            at_work.orders(10, in_time),
            at_work.orders(len(drops), *drops),
        )
        await bench.run("drop by drop, or silent", get_well, orders=orders, over_s=6.0)
        at_work.need(any(one.host == silent.host and not one.status for one in at_work.sinks.arrivals), "no silence")


def _always(status: int, respond: Responder) -> Behaviour:
    given = Answer(status, respond)
    return lambda _: given


def _dripping(head: bytes, body: bytes, *, pause_s: float) -> Responder:
    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(head)
        for place in range(len(body)):
            await asyncio.sleep(pause_s)
            writer.write(body[place : place + 1])

    return respond


async def too_much(bench: Bench) -> None:
    """Bodies, heads and chunks without end, bombs, broken framing: each try is judged, and memory stays flat."""
    async with receiving(bench) as at_work:
        add = at_work.sinks.add
        bystander = await add(is_bystander=True)
        hostile = [
            await add(_always(status, respond), ends="delivered" if status // 100 == 2 else f"http.{status}")
            for respond, status, _ in ANSWERED.values()
        ]
        hostile += [
            await add(_always(0, respond), ends=_OUR_NAMES.get(kind, kind))
            for respond, kind in FAILED.values()
            if kind != "timeout"
        ]
        share = share_of(bench)
        await bench.run("only healthy ones", _nothing, orders=at_work.orders(share // 2, bystander), over_s=1.0)
        before = {pid: _peak_kib(pid) for pid in _pids(bench)}
        orders = at_work.mixed(at_work.orders(share // 2, bystander), at_work.orders(len(hostile), *hostile))
        await bench.run("floods and bombs", _nothing, orders=orders, over_s=6.0)
        await at_work.settled()
        growth = max((_peak_kib(pid) - kib for pid, kib in before.items()), default=0)
        bench.figures["peak_memory_growth_kib"] = growth
        if growth > _MOST_GROWTH_KIB:
            bench.blame("I8", WRONG, f"a worker's memory grew by {growth} KiB, at most {_MOST_GROWTH_KIB}")


async def _nothing() -> None:
    """The receivers themselves are the fault."""


def _pids(bench: Bench) -> list[int]:
    return [worker.pid for worker in bench.system.workers.values()]


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


async def answers_lost(bench: Bench) -> None:
    """A 2xx that the worker does not get to read, and workers that die after reading one, before they write it down."""
    async with receiving(bench) as at_work:
        add = at_work.sinks.add
        resetting = await add(_every_third(_then_reset(answer())))
        cutting = await add(_every_third(_then_reset(LENGTH % 9 + b"half")))
        taking = await add()
        armed: list[tuple[Kept, int]] = []
        for worker in bench.system.workers.values():
            await bench.arm(worker, f"callback.answered:{bench.rng.randint(2, 9)}")
            armed.append((worker, worker.deaths))

        async def both_crash() -> None:
            for worker, deaths in armed:
                await bench.crashed(worker, deaths)

        orders = at_work.orders(2 * share_of(bench), resetting, cutting, taking)
        await bench.run("2xx, and the connection or the worker dies", both_crash, orders=orders, over_s=4.0)
        await at_work.settled()
        again = {True: 0, False: 0}
        for one, following in at_work.sinks.repeats():
            again[following.at_ms - one.at_ms > _LEASE_MS / 2] += one.is_taken
        bench.figures |= {"taken_again": again[False], "taken_again_after_a_crash": again[True]}
        at_work.need(again[False], "no 2xx was lost on the way")
        at_work.need(again[True], "no 2xx was lost by a crash")


def _every_third(respond: Responder) -> Behaviour:
    lost = Answer(200, respond)
    return lambda call: lost if call.number % 3 == 0 and call.try_number == 1 else plain(200)


def _then_reset(data: bytes) -> Responder:
    """These bytes, and the connection is reset."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(data)
        await writer.drain()
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    return respond


async def keys_change(bench: Bench) -> None:
    """Two rotations while tries are under way, one with grace and one without; a receiver that is switched off."""
    async with receiving(bench) as at_work:
        add = at_work.sinks.add
        rotated, plain_one = await add(always_plain(404)), await add(always_plain(404))
        removed = await add(always_plain(404), ends="receiver.disabled")
        bystander = await add(is_bystander=True)

        async def rotate_and_remove() -> None:
            disabling = at_work.axn("callbacks", "disable", removed.host)
            await asyncio.gather(disabling, _rotate(at_work, rotated.host, grace_s=_GRACE_S))
            at_work.silences.append(Silence(removed.host, unix_ms() + _SHUT_HEEDED_MS))
            await asyncio.sleep(_GRACE_S + 2)
            await _rotate(at_work, rotated.host, grace_s=0)
            await asyncio.sleep(8)
            rotated.behave = plain_one.behave = healthy

        share = share_of(bench, 30)
        orders = at_work.orders(4 * share, rotated, plain_one, removed, bystander)
        await bench.run("keys rotate, a receiver is switched off", rotate_and_remove, orders=orders, over_s=3.0)


async def _rotate(at_work: CallbackBench, host: str, *, grace_s: int) -> None:
    """`axn callbacks rotate`, and what follows from it for each key."""
    made = (await at_work.axn("callbacks", "rotate", host, "--grace", f"{grace_s}s"))[0]
    known = at_work.keys.get(host) or [KeySpan(DEFAULT_KEY)]
    at_work.need(len(made["keys"]) == (2 if grace_s else 1), f"{len(made['keys'])} keys are live after a rotation")
    # Redis's clock is this machine's; the command itself may take long to start and to end.
    made_ms = next(row["created_at"] for row in made["keys"] if row["fingerprint"] == made["fingerprint"])
    ends_ms = made_ms + grace_s * 1_000
    old = [key if key.ends_ms and key.ends_ms <= made_ms else key.ending(ends_ms, made_ms) for key in known]
    at_work.keys[host] = [*old, KeySpan(made["secret"], begins_ms=made_ms)]


async def dead_receiver(bench: Bench) -> None:
    """One receiver is silent with most of all callbacks; then it is back, and gets them one after the other."""
    async with receiving(bench) as at_work:
        dead = await at_work.sinks.add(lambda _: _SILENT)
        others = [await at_work.sinks.add(is_bystander=True) for _ in range(3)]
        over_s = 12.0

        async def die_and_come_back() -> None:
            await bench.sleep(7.0, 8.0)
            calls = len(at_work.sinks.calls_of(dead.host))
            bench.figures["tries_at_the_dead"] = calls
            if not 0 < calls <= _WHILE_DEAD:
                bench.blame("I9", WRONG, f"{calls} tries at the dead receiver, {_WHILE_DEAD} at most and one at least")
            dead.behave = _always(200, _dripping(LENGTH % 1, b"x", pause_s=0.01))
            before = dead.calls
            await at_work.until(lambda: dead.calls > before, "a try at the receiver that is back", within_s=60.0)
            dead.most_at_a_time = 0
            await asyncio.sleep(1.0)
            bench.figures["most_at_once_when_back"] = dead.most_at_a_time
            if dead.most_at_a_time > _AT_ONCE:
                text = f"{dead.most_at_a_time} tries at a time in the first second, {_AT_ONCE} at most"
                bench.blame("I9", WRONG, text)

        count = bench.jobs_per_run
        orders = at_work.mixed(at_work.orders(count * 3 // 4, dead), at_work.orders(count // 4, *others))
        await bench.run("one receiver is dead, and comes back", die_and_come_back, orders=orders, over_s=over_s)


CELLS = (
    Cell("F1", "receivers refuse: every answer but 2xx", plain_refusals, runs=1, options=options("500ms,1s,2s,4s")),
    Cell("F2", "receivers drip, or keep silent", slow_loris, runs=1, options=options("500ms,1s")),
    Cell("F3", "receivers answer floods, bombs, garbage", too_much, runs=2, options=options("1s")),
    Cell("F4", "callback URLs that lead to denied addresses", leading_astray, runs=1, options=options(
        # The last try comes when the look-up of the second, kept for 10 s, is forgotten; a sixth would meet a circuit.
        "2s,2s,2s,11s",
        # Producers let everything through: it is the workers who must not dial.
        AXN_CALLBACK_ALLOW_NETS="0.0.0.0/0,::/0,100.100.100.200/32,169.254.169.254/32",
    )),
    Cell("F5", "receivers whose TLS proves nothing", untrusted, runs=1, options=options("1s")),
    Cell("F6", "2xx sent, lost on the way or by a crash", answers_lost, runs=1, options=options("500ms," * 3 + "1s")),
    Cell("F7", "keys rotate and receivers go amid tries", keys_change, runs=1, options=options(",".join(["1s"] * 60))),
    Cell("F8", "a dead receiver beside healthy ones", dead_receiver, runs=1, weight=12.0, options=options("1s,2s,4s")),
)  # fmt: skip
