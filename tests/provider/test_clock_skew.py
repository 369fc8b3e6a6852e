"""A refused timestamp: learnt from, sent again once, remembered."""

import asyncio
import logging
from email.utils import formatdate

import pytest

from tests.provider.loopback import Loopback, Responder, answer, serving
from tests.provider.test_client import BIND, BOUND, NONCE, StandingClock, assert_signature_v3, provider
from worker.domain.outcome import Verdict
from worker.provider.server_time import LARGEST_OFFSET_MS

REFUSAL = b'{"Code":"InvalidTimeStamp.Expired","Message":"m","RequestId":"R"}'
HOUR_MS = 3_600_000


def dated(body: bytes, unix_ms: int | None, *, status: int = 200) -> bytes:
    date = f"Date: {formatdate(unix_ms // 1000, usegmt=True)}\r\n" if unix_ms is not None else ""
    return answer(body, status=status, headers=date)


def refusing(count: int, unix_ms: int | None) -> Responder:
    """Refuse so many timestamps, then bind; every answer is dated with this time."""

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        refusal = dated(REFUSAL, unix_ms, status=400)
        writer.write(refusal if number <= count else dated(BOUND, unix_ms))
        await writer.drain()

    return respond


def stamps(server: Loopback) -> list[str]:
    return [request.headers["x-acs-date"] for request in server.requests]


def nonces(server: Loopback) -> set[str]:
    return {request.headers["x-acs-signature-nonce"] for request in server.requests}


@pytest.mark.parametrize(
    ("ahead_ms", "stamp"), [(8 * HOUR_MS, "2026-01-02T11:04:05Z"), (-HOUR_MS, "2026-01-02T02:04:05Z")]
)
async def test_a_refused_clock_is_corrected_and_the_attempt_sent_again(
    ahead_ms: int, stamp: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = StandingClock()
    with caplog.at_level(logging.WARNING):
        async with (
            serving(refusing(1, clock.now_ms + ahead_ms)) as server,
            provider(server.origin, clock=clock) as client,
        ):
            outcome = await client.call("BindAxn", BIND, nonce=NONCE)
            await client.call("BindAxn", BIND, nonce=NONCE)
    assert outcome.verdict is Verdict.DONE
    assert stamps(server) == ["2026-01-02T03:04:05Z", stamp, stamp]
    assert nonces(server) == {NONCE}
    assert_signature_v3(server.requests[1])
    (warning,) = caplog.records
    assert warning.getMessage() == (
        f"the provider refused this clock: corrected from now on offset_s={-ahead_ms // 1000}"
    )


async def test_v1_is_corrected_too() -> None:
    clock = StandingClock()
    respond = refusing(1, clock.now_ms + HOUR_MS)
    async with serving(respond) as server, provider(server.origin, clock=clock, signature_version="v1") as client:
        assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.DONE
    assert b"Timestamp=2026-01-02T04%3A04%3A05Z" in server.requests[1].body


async def test_a_second_refusal_is_final() -> None:
    clock = StandingClock()
    async with serving(refusing(9, clock.now_ms + HOUR_MS)) as server, provider(server.origin, clock=clock) as client:
        outcome = await client.call("BindAxn", BIND, nonce=NONCE)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "InvalidTimeStamp.Expired")
    assert len(server.requests) == 2


@pytest.mark.parametrize("ahead_ms", [None, 0, 500, LARGEST_OFFSET_MS + 1_000, -LARGEST_OFFSET_MS - 1_000])
async def test_without_a_believable_other_time_nothing_is_sent_again(ahead_ms: int | None) -> None:
    clock = StandingClock()
    date = None if ahead_ms is None else clock.now_ms + ahead_ms
    async with serving(refusing(9, date)) as server, provider(server.origin, clock=clock) as client:
        outcome = await client.call("BindAxn", BIND, nonce=NONCE)
        await client.call("BindAxn", BIND, nonce=NONCE)
    assert outcome.verdict is Verdict.NOT_PROCESSED
    assert stamps(server) == ["2026-01-02T03:04:05Z"] * 2


@pytest.mark.parametrize("date", ["soon", "Fri, 99 Jan 2026 04:04:05 GMT", "Fri, 02 Jan 99999 04:04:05 GMT", ""])
async def test_a_date_that_is_none_teaches_nothing(date: str) -> None:
    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(answer(REFUSAL, status=400, headers=f"Date: {date}\r\n"))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin) as client:
        assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.NOT_PROCESSED
    assert len(server.requests) == 1


async def test_calls_under_way_together_are_each_sent_again() -> None:
    clock = StandingClock()
    both_are_there = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        if number == 2:
            both_are_there.set()
        await both_are_there.wait()
        date = clock.now_ms + HOUR_MS
        writer.write(dated(REFUSAL, date, status=400) if number <= 2 else dated(BOUND, date))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, clock=clock) as client:
        outcomes = await asyncio.gather(*(client.call("BindAxn", BIND, nonce=NONCE) for _ in range(2)))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.DONE] * 2
    assert len(server.requests) == 4


async def test_a_clock_that_was_mended_is_learnt_again() -> None:
    clock = StandingClock()
    right_ms = clock.now_ms + HOUR_MS

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(dated(REFUSAL, right_ms, status=400) if number in (1, 3) else dated(BOUND, right_ms))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, clock=clock) as client:
        await client.call("BindAxn", BIND, nonce=NONCE)
        clock.now_ms = right_ms
        await client.call("BindAxn", BIND, nonce=NONCE)
    assert stamps(server)[2:] == ["2026-01-02T05:04:05Z", "2026-01-02T04:04:05Z"]


async def test_no_time_left_is_no_second_sending() -> None:
    clock = StandingClock()

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        clock.now_ms += 1_000
        writer.write(dated(REFUSAL, clock.now_ms + HOUR_MS, status=400))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, clock=clock, total_timeout_ms=1_000) as client:
        assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.NOT_PROCESSED
    assert len(server.requests) == 1


async def test_a_slow_refusal_with_our_own_time_is_not_our_clock_s_fault() -> None:
    clock = StandingClock()

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        clock.now_ms += 3_000
        writer.write(dated(REFUSAL, clock.now_ms, status=400))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, clock=clock, total_timeout_ms=9_000) as client:
        assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.NOT_PROCESSED
    assert len(server.requests) == 1


async def test_an_old_copy_s_nonce_is_no_success() -> None:
    clock = StandingClock()

    async def respond(writer: asyncio.StreamWriter, number: int) -> None:
        body = REFUSAL if number == 1 else b'{"Code":"SignatureNonceUsed"}'
        writer.write(dated(body, clock.now_ms + HOUR_MS, status=400))
        await writer.drain()

    async with serving(respond) as server, provider(server.origin, clock=clock) as client:
        assert (await client.call("BindAxn", BIND, nonce=NONCE)).verdict is Verdict.NONCE_USED
    assert len(server.requests) == 2
