"""F4, F5: callback URLs that lead where nobody may go, and receivers that cannot prove who they are."""

import asyncio
import json
import sys
import warnings
from collections.abc import Mapping, Sequence
from ssl import PROTOCOL_TLS_SERVER, SSLContext, TLSVersion

from tests.callbacks.certificates import DAY, NOW, Authority, self_signed
from tests.chaos.bench import Bench
from tests.chaos.callback_bench import CallbackBench, receiving, share_of
from tests.chaos.checker import WRONG
from tests.chaos.histories import read_producer
from tests.chaos.orders import Plan
from tests.chaos.receivers import ALLOWED_NET, Answer, Call, always_plain, healthy
from tests.provider.loopback import always, answer

_DENIED, _LOOPBACK = "127.66.0.1", ("127.0.0.1", "::1")
_REFUSED_AT_ONCE = (
    "http://2130706433:{}/", "http://0x7f000001:{}/", "http://0177.0.0.1:{}/", "http://127.1:{}/",
    "http://user@127.66.0.1:{}/", "http://[fe80::1%25lo]:{}/", "http://１２７.66.0.1:{}/", "http:///127.66.0.1:{}/",
    "http://127.66.0.1\\@shop.test:{}/", "http://127。66。0。1:{}/", "ftp://127.66.0.1:{}/",
)  # fmt: skip
"""Odd ways to write a denied address: no producer accepts them, whatever its settings."""
_DENIED_HOSTS = (
    _DENIED, "127.0.0.1", "localhost", "::1", "::ffff:127.66.0.1", "64:ff9b::7f42:1", "2002:7f42:1::",
    "100.100.100.200", "169.254.169.254", "0.0.0.0", "10.0.0.1",
)  # fmt: skip
_NAMES: Mapping[str, Sequence[str]] = {
    "private.test": [_DENIED],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:127.66.0.1"],
    "translated.test": ["64:ff9b::7f42:1"],
    "metadata.test": ["100.100.100.200", "169.254.169.254"],
    "zone.test": ["fe80::1%1"],
    "socket.test": ["/run/docker.sock"],
}
_REBINDS_AFTER_S = 3.5


async def leading_astray(bench: Bench) -> None:
    """Names, literals, redirects and ports that lead to denied addresses, where listeners count who comes."""
    async with receiving(bench) as at_work:
        sinks = at_work.sinks
        bystander = await sinks.add(is_bystander=True)
        port = bystander.port
        rebinding = await sinks.add(_hangs_up, ends="denied", name="rebind.test", port=port)
        mixed = await sinks.add(healthy, name="mixed.test", port=port)
        redirecting = [
            await sinks.add(always_plain(302, f"Location: {to}\r\n"), ends="http.302", port=port)
            for to in (f"http://{_DENIED}:{port}/", f"http://localhost:{port}/", "http://100.100.100.200/")
        ]
        other_port = await sinks.deny(mixed.address)
        for address in (_DENIED, *_LOOPBACK):
            await sinks.deny(address, port)
        names = {**_NAMES, mixed.host: [_DENIED, "::1", mixed.address]}
        await _into_a_world(bench, {**names, rebinding.host: [rebinding.address]}, AXN_CALLBACK_PORTS=str(port))
        orders = [at_work.order(f"http://{host}:{port}/") for host in _NAMES]
        for host in _NAMES:
            at_work.expect(host, "denied")
        for host in _DENIED_HOSTS:
            at_work.expect(host, "denied")
            orders.append(at_work.order(f"http://{f'[{host}]' if ':' in host else host}:{port}/"))
        at_work.expect("127.1.9.9", "denied")
        orders.append(at_work.order(f"http://127.1.9.9:{other_port}/"))

        async def rebind() -> None:
            refusing = asyncio.create_task(_must_be_refused(at_work, [url.format(port) for url in _REFUSED_AT_ONCE]))
            await asyncio.sleep(_REBINDS_AFTER_S)
            _tell_names(bench, {**names, rebinding.host: [_DENIED]})
            await refusing

        orders = at_work.mixed(
            orders,
            at_work.orders(share_of(bench), bystander),
            at_work.orders(9, rebinding, mixed, *redirecting),
        )
        await bench.run("names, literals and redirects to denied addresses", rebind, orders=orders, over_s=3.0)
        await at_work.settled()
        at_work.need(sinks.calls_of(rebinding.host), "the name that rebinds was never called before it did")


def _hangs_up(_: Call) -> Answer:
    """So that each try dials anew."""
    return Answer(404, always(answer(status=404), close=True))


async def _must_be_refused(at_work: CallbackBench, urls: Sequence[str]) -> None:
    """A producer with the loosest settings is told at once."""
    bench, name = at_work.bench, "refused"
    orders = [at_work.order(url) for url in urls]
    producer = await bench.system.start_producer(Plan(50.0, orders), name)
    await at_work.until(producer.is_done.is_set, "the end of the producer that is refused")
    history = read_producer(bench.system.history_of(name))
    for order, url in zip(orders, urls, strict=True):
        if history.refused.get(order.order) != "InvalidRequestError":
            bench.blame("I7", WRONG, f"an order was not refused whose callback goes to {url.partition(':')[2][:24]}")


async def untrusted(bench: Bench) -> None:
    """Certificates with a fault, old TLS, no TLS, a handshake that stalls: nothing is told, nothing is downgraded."""
    async with receiving(bench) as at_work:
        folder, add = bench.system.folder, at_work.sinks.add
        known, stranger = Authority(folder, name="known"), Authority(folder, name="stranger")
        good = await add(name="good.test", tls=known.server("good.test"), is_bystander=True)
        bad = {
            "expired.test": known.server("expired.test", begins=NOW - 2 * DAY, ends=NOW - DAY),
            "early.test": known.server("early.test", begins=NOW + DAY, ends=NOW + 2 * DAY),
            "other.test": known.server("good.test"),
            "stranger.test": stranger.server("stranger.test"),
            "self.test": self_signed(folder, "self.test"),
            "old.test": _of_tls_1_0(known.server("old.test")),
        }
        sinks = [await add(name=name, tls=tls, ends="tls", is_told=False) for name, tls in bad.items()]
        stalling = await add(name="stall.test", ends="connect.timeout", is_told=False)
        unencrypted = await add(name="plain.test", ends="tls", is_told=False)
        unencrypted_answers = await asyncio.start_server(_answer_at_once, unencrypted.address, 0)
        names = {sink.host: [sink.address] for sink in (good, stalling, unencrypted, *sinks)}
        await _into_a_world(bench, names, CHAOS_AUTHORITY=str(known.file))
        port = unencrypted_answers.sockets[0].getsockname()[1]
        orders = at_work.mixed(
            at_work.orders(share_of(bench), good),
            at_work.orders(2 * len(sinks), *sinks),
            [at_work.order(f"https://{stalling.host}:{stalling.port}/") for _ in range(2)],
            [at_work.order(f"https://{unencrypted.host}:{port}/") for _ in range(2)],
        )
        async with unencrypted_answers:
            await bench.run("certificates with a fault, old TLS, stalls", _nothing, orders=orders, over_s=3.0)
            await at_work.settled()


async def _nothing() -> None:
    """The receivers themselves are the fault."""


async def _answer_at_once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


def _of_tls_1_0(context: SSLContext) -> SSLContext:
    assert context.protocol == PROTOCOL_TLS_SERVER
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = TLSVersion.TLSv1
        context.maximum_version = TLSVersion.TLSv1
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    return context


async def _into_a_world(bench: Bench, names: Mapping[str, Sequence[str]], **env: str) -> None:
    """Start the workers anew where these names exist."""
    _tell_names(bench, names)
    system = bench.system
    lanes_of = {"checkout": "checkout", "batch": "batch,renewal,callback"}
    await asyncio.gather(*(system.retire_worker(name) for name in lanes_of))
    world = {"CHAOS_NAMES": str(system.folder / "names.json"), "AXN_CALLBACK_ALLOW_NETS": ALLOWED_NET, **env}
    strange = [
        sys.executable,
        "-m",
        "tests.chaos.strange_worker",
        "worker",
        "--log-level",
        system.options.log_level,
        "--lanes",
    ]
    starts = (system.start_worker(name, lanes, command=[*strange, lanes], **world) for name, lanes in lanes_of.items())
    await asyncio.gather(*starts)


def _tell_names(bench: Bench, names: Mapping[str, Sequence[str]]) -> None:
    """At once or not at all: workers read it at any moment."""
    file = bench.system.folder / "names.json"
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps(names), encoding="utf-8")
    draft.replace(file)
