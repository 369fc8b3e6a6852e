import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.provider.loopback import Loopback, Received, always, answer, serving
from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpClient
from worker.provider.client import ProviderClient
from worker.provider.requests import Credentials
from worker.provider.signing import canonical_query, sign_v1, sign_v3

NONCE = "00112233445566778899aabbccddeeff"
BIND = {"PoolKey": "FC123456", "PhoneNoA": "15000000000", "OutId": "a b*c~d/e+f&g=h%20'(!)", "ExpectCity": "上海"}
BOUND = b'{"Code":"OK","Message":"OK","RequestId":"R","SecretBindDTO":{"SubsId":"1","SecretNo":"17000000000"}}'


class StandingClock:
    """2026-01-02T03:04:05Z until somebody moves it."""

    def __init__(self) -> None:
        self.now_ms = 1_767_323_045_000

    def unix_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> float:
        return float(self.now_ms)

    async def sleep_ms(self, delay_ms: float) -> None:
        self.now_ms += int(delay_ms)


@asynccontextmanager
async def provider(endpoint: str, **overrides: Any) -> AsyncIterator[ProviderClient]:
    http = HttpClient(max_connections=4, max_answer_bytes=10_000, connect_timeout_ms=500)
    options: dict[str, Any] = {
        "credentials": Credentials("testid", "testsecret", "STSTOKEN+/="),
        "signature_version": "v3",
        "answer_format": "json",
        "total_timeout_ms": 1_000,
        "clock": StandingClock(),
    }
    try:
        yield ProviderClient(http, endpoint=endpoint, **(options | overrides))
    finally:
        await http.aclose()


async def bind(endpoint: str, parameters: dict[str, str] | None = None, **overrides: Any) -> Outcome:
    async with provider(endpoint, **overrides) as client:
        return await client.call("BindAxn", BIND if parameters is None else parameters, nonce=NONCE)


def decoded_query(request: Received) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))


def assert_signature_v3(request: Received) -> None:
    """As a server checks it: from the decoded query and the headers that say they are signed."""
    _, _, fields = request.headers["authorization"].partition(" ")
    claimed = dict(field.split("=", 1) for field in fields.split(","))
    signed = {name: request.headers[name] for name in claimed["SignedHeaders"].split(";")}
    query, digest = canonical_query(decoded_query(request)), request.headers["x-acs-content-sha256"]
    expected = sign_v3(method="POST", query=query, headers=signed, content_sha256=digest, secret="testsecret")
    assert claimed["Signature"] == expected


def assert_signature_v1(request: Received) -> None:
    form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    assert form["Signature"] == sign_v1(method="POST", parameters=form, secret="testsecret")


async def test_a_v3_call_arrives_with_a_signature_that_holds_for_what_arrived() -> None:
    async with serving(always(answer(BOUND))) as server:
        outcome = await bind(server.origin)
    assert (outcome.verdict, outcome.request_id) == (Verdict.DONE, "R")
    (request,) = server.requests
    assert (decoded_query(request), request.body) == (BIND, b"")
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["x-acs-date"] == "2026-01-02T03:04:05Z"
    assert request.headers["x-acs-signature-nonce"] == NONCE
    assert_signature_v3(request)


async def test_a_v1_call_arrives_with_a_signature_that_holds_for_what_arrived() -> None:
    async with serving(always(answer(BOUND))) as server:
        outcome = await bind(server.origin, signature_version="v1", answer_format="xml")
    assert outcome.verdict is Verdict.DONE
    (request,) = server.requests
    form = dict(parse_qsl(request.body.decode()))
    assert form.items() >= (BIND | {"Format": "XML", "SignatureNonce": NONCE, "Action": "BindAxn"}).items()
    assert request.target == "/"
    assert_signature_v1(request)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(parameters=st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_text_breaks_the_signature_on_its_way_through_the_http_library(parameters: dict[str, str]) -> None:
    async def both() -> Loopback:
        async with serving(always(answer(BOUND))) as server:
            await bind(server.origin, parameters, signature_version="v3")
            await bind(server.origin, parameters, signature_version="v1")
            return server

    v3, v1 = asyncio.run(both()).requests
    assert decoded_query(v3) == parameters
    assert_signature_v3(v3)
    assert_signature_v1(v1)


async def test_each_call_is_dated_anew() -> None:
    clock = StandingClock()
    async with serving(always(answer(BOUND))) as server, provider(server.origin, clock=clock) as client:
        await client.call("BindAxn", BIND, nonce=NONCE)
        clock.now_ms += 61_000
        await client.call("BindAxn", BIND, nonce=NONCE)
    assert [request.headers["x-acs-date"][-9:] for request in server.requests] == ["03:04:05Z", "03:05:06Z"]


async def test_a_refused_connection_was_not_processed() -> None:
    async with serving(always(b"")) as server:
        port = server.port
    outcome = await bind(f"http://127.0.0.1:{port}")
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "transport.connect_refused")


@pytest.mark.parametrize(
    ("served", "code"),
    [
        (b"", "transport.disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "transport.bad_answer"),
        (answer(b"x" * 10_001), "transport.answer_too_large"),
        (answer(BOUND[:-1]), "answer.unreadable"),
        (answer(b"<html>Bad Gateway</html>", status=502), "answer.unreadable"),
    ],
)
async def test_a_bind_without_a_whole_answer_is_ambiguous_and_is_sent_once(served: bytes, code: str) -> None:
    async with serving(always(served, close=True)) as server:
        outcome = await bind(server.origin)
    assert (outcome.verdict, outcome.code) == (Verdict.AMBIGUOUS, code)
    assert "15000000000" not in repr(outcome)
    assert len(server.requests) == 1


async def test_a_query_without_an_answer_was_not_processed() -> None:
    async with serving(always(b"", close=True)) as server, provider(server.origin) as client:
        outcome = await client.call("QuerySubsId", {"PhoneNoX": "17000000000"}, nonce=NONCE)
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "transport.disconnected")


@pytest.mark.parametrize("signature_version", ["v3", "v1"])
async def test_a_text_that_cannot_be_signed_is_a_wrong_request_and_is_not_sent(signature_version: str) -> None:
    async with serving(always(answer(BOUND))) as server:
        outcome = await bind(server.origin, {"OutId": "\ud800"}, signature_version=signature_version)
    assert (outcome.verdict, outcome.code) == (Verdict.WRONG_REQUEST, "request.unsignable")
    assert server.requests == []


async def test_cancelling_a_call_is_passed_on() -> None:
    async def hang(writer: asyncio.StreamWriter, number: int) -> None:
        await asyncio.Event().wait()

    async with serving(hang) as server, provider(server.origin) as client:
        call = asyncio.create_task(client.call("BindAxn", BIND, nonce=NONCE))
        await server.received(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


def test_an_endpoint_with_a_path_is_refused_at_once() -> None:
    http = HttpClient(max_connections=1, max_answer_bytes=1, connect_timeout_ms=1)
    with pytest.raises(ValueError, match="endpoint"):
        ProviderClient(
            http,
            endpoint="https://dyplsapi.aliyuncs.com/api",
            credentials=Credentials("testid", "testsecret"),
            signature_version="v3",
            answer_format="json",
            total_timeout_ms=1,
            clock=StandingClock(),
        )
