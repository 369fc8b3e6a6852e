"""What a receiver answers costs one slot until the deadline, and no memory."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.callbacks.hostile_answers import ANSWERED, CHUNKED, FAILED, MUCH, endless, then_silent
from tests.provider.loopback import Responder, always, answer, serving
from worker.callbacks.client import LONGEST_ANSWER_BYTES, receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.http import HttpAnswer, HttpClient, MaybeSentError, NotSentError

ROOT = Path(__file__).parents[2]
LOCAL = ReceiverRules(allow_http=True, allow_nets=[ip_network("127.0.0.1/32")], ports=())
CUT_FOR_THEIR_FRAMING = {"endless chunks of a byte", "an endless chunk extension", "endless chunk lengths"}
DEADLINES_MS = (100, 500, 5_000)
PATIENT_MS = 10_000
MOST_GROWTH_KIB = 24_000


@asynccontextmanager
async def one_slot() -> AsyncIterator[HttpClient]:
    client = receiver_client(LOCAL, max_connections=1, connect_timeout_ms=5_000)
    try:
        yield client
    finally:
        await client.aclose()


async def post(client: HttpClient, url: str, within_ms: int = PATIENT_MS) -> HttpAnswer:
    return await client.post(url, headers={}, content=b"{}", total_timeout_ms=within_ms)


@pytest.mark.parametrize("name", ANSWERED)
async def test_an_answer_is_judged_by_its_status_and_read_no_further_than_allowed(name: str) -> None:
    respond, status, is_cut = ANSWERED[name]
    async with serving(respond) as hostile, serving(always(answer())) as healthy, one_slot() as client:
        got = await post(client, hostile.url)
        assert (got.status, got.is_cut) == (status, is_cut)
        assert len(got.body) <= LONGEST_ANSWER_BYTES
        if is_cut and name not in CUT_FOR_THEIR_FRAMING:
            assert len(got.body) == LONGEST_ANSWER_BYTES
        assert (await post(client, healthy.url)).status == 200


@pytest.mark.parametrize("name", FAILED)
async def test_what_is_no_answer_holds_its_slot_until_the_deadline_at_most(name: str) -> None:
    respond, kind = FAILED[name]
    async with serving(respond) as hostile, serving(always(answer())) as healthy, one_slot() as client:
        failure = await failure_of(client, hostile.url, DEADLINES_MS if kind == "timeout" else (PATIENT_MS,))
        assert failure.kind == kind
        assert (await post(client, healthy.url)).status == 200
        assert len(hostile.requests) == 1


async def failure_of(client: HttpClient, url: str, deadlines_ms: Sequence[int]) -> MaybeSentError:
    """After the first of these deadlines that this machine could connect in."""
    for within_ms in deadlines_ms:
        try:
            got = await post(client, url, within_ms)
        except MaybeSentError as failure:
            return failure
        except NotSentError as failure:
            assert failure.kind == "connect_timeout"  # noqa: PT017
        else:
            pytest.fail(f"answered {got.status}")
    pytest.fail("no connection")


def test_on_the_event_loop_of_a_worker_it_is_the_same() -> None:
    async def all_of_them() -> None:
        slots = asyncio.Semaphore(8)
        cases = [
            *map(test_an_answer_is_judged_by_its_status_and_read_no_further_than_allowed, ANSWERED),
            *map(test_what_is_no_answer_holds_its_slot_until_the_deadline_at_most, FAILED),
            *(test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(*case) for case in BEHIND),
        ]

        async def within(case: Coroutine[Any, Any, None]) -> None:
            async with slots:
                await case

        await asyncio.gather(*map(within, cases))

    uvloop.run(all_of_them())


async def test_no_compression_is_asked_for() -> None:
    async with serving(always(answer())) as receiver, one_slot() as client:
        await post(client, receiver.url)
    assert receiver.requests[0].headers["accept-encoding"] == "identity"


async def test_a_receiver_that_reads_nothing_is_given_up_at_the_deadline() -> None:
    """Also when it answers meanwhile, and when the request does not fit into the socket's buffers."""

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        deaf.append(writer)

    deaf: list[asyncio.StreamWriter] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    server = await asyncio.start_server(accept, sock=listener)
    port = server.sockets[0].getsockname()[1]
    async with one_slot() as client:
        began = time.monotonic()
        with pytest.raises(MaybeSentError, match="timeout"):
            await client.post(f"http://127.0.0.1:{port}/", headers={}, content=bytes(1_000_000), total_timeout_ms=500)
        assert time.monotonic() - began < 5
    for writer in deaf:
        writer.transport.abort()
    server.close()


# --- the next request on a kept connection ---

LIE = answer(b"lie", status=299)


def first_then(first: bytes, behind: bytes, *, is_together: bool) -> Responder:
    """To the first request an answer with more behind it, in one piece or a moment later; later ones get 200."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        if number > 1:
            writer.write(answer())
        elif is_together:
            writer.write(first + behind)
        else:
            writer.write(first)
            await writer.drain()
            await asyncio.sleep(0.02)
            writer.write(behind)
        await writer.drain()

    return respond


BEHIND = [
    (first, behind, is_together)
    for first in (answer(), CHUNKED + b"0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n")
    for behind in (LIE, LIE[:20], b"garbage", b"\x00", LIE * 2_000, b"HTTP/1.1 103 Early\r\n\r\n" + LIE)
    for is_together in (True, False)
]


@pytest.mark.parametrize(("first", "behind", "is_together"), BEHIND)
async def test_what_comes_behind_an_answer_is_no_answer_to_the_next_request(
    first: bytes,
    behind: bytes,
    is_together: bool,
) -> None:
    async with serving(first_then(first, behind, is_together=is_together)) as receiver, one_slot() as client:
        try:
            assert (await post(client, receiver.url)).status in {200, 204}
        except MaybeSentError as failure:
            # What cannot be told apart is tried again.
            assert (failure.kind, is_together) == ("bad_answer", True)  # noqa: PT017
        if not is_together:
            await until(lambda: not idle_connections(client))
        assert (await post(client, receiver.url)).status == 200


def idle_connections(client: HttpClient) -> list[object]:
    connector = client._open_transport().exchange.connector
    idle = [protocol for kept in connector._conns.values() for protocol, _ in kept]
    return [protocol for protocol in idle if protocol.is_connected()]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.005)


async def test_after_an_answer_that_was_cut_the_connection_is_not_used_again() -> None:
    rest_is_a_lie = b"x" * 9 * len(MUCH) + LIE * 2_000
    async with serving(always(answer(rest_is_a_lie))) as receiver, one_slot() as client:
        for connections in (1, 2):
            got = await post(client, receiver.url)
            assert (got.status, got.is_cut, receiver.connections) == (200, True, connections)


async def test_an_answer_read_to_its_end_leaves_its_connection_for_the_next() -> None:
    async with serving(always(answer(MUCH))) as receiver, one_slot() as client:
        for _ in range(3):
            assert not (await post(client, receiver.url)).is_cut
        assert receiver.connections == 1


# --- memory ---


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells a process its peak memory there")
async def test_floods_leave_the_memory_of_the_process_alone() -> None:
    """Another process calls, 24 at a time, all that never ends, also on connections that are idle."""
    floods = [
        *(respond for name, (respond, _, is_cut) in ANSWERED.items() if is_cut or "bomb" in name or "flood" in name),
        *(respond for name, (respond, kind) in FAILED.items() if kind == "bad_answer"),
        then_silent(answer(MUCH)[:-1]),
        endless(answer(), answer(MUCH)),
    ]
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(serving(respond))).url for respond in floods]
        caller = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.callbacks.hostile_caller", *urls, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await caller.communicate()
    growth_kib, answers, failures = (int(figure) for figure in out.split())
    assert answers > 50
    assert failures > 50
    assert growth_kib < MOST_GROWTH_KIB
