"""A ping goes the way of all callbacks and says in words what went wrong."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from standardwebhooks.webhooks import Webhook

from tests.provider.loopback import Responder, always, answer, serving
from worker.callbacks.guard import ReceiverRules, guarded_socket_factory
from worker.callbacks.keyring import FixedKeyring
from worker.callbacks.pinging import Pinger
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import HmacKey
from worker.clock import SystemClock
from worker.http import HttpClient

KEY = bytes(range(24))
LOOPBACK = ReceiverRules(allow_http=True, allow_nets=(ip_network("127.0.0.0/8"),), ports=())


@asynccontextmanager
async def pinger(rules: ReceiverRules = LOOPBACK) -> AsyncIterator[Pinger]:
    http = HttpClient(
        max_connections=1, max_answer_bytes=100, connect_timeout_ms=500, socket_factory=guarded_socket_factory(rules)
    )
    clock = SystemClock()
    made = Pinger(
        http, CallbackSender(http, keyring=FixedKeyring((HmacKey(KEY),)), timeout_ms=500, clock=clock), rules, clock
    )
    yield made
    await made.aclose()


async def test_a_ping_is_signed_as_any_callback_and_says_nothing() -> None:
    async with serving(always(answer(status=202))) as receiver, pinger() as pings:
        sent = await pings.ping(receiver.url)
    (request,) = receiver.requests
    assert (sent.is_delivered, sent.status, sent.error, sent.meaning) == (True, 202, "", "")
    assert sent.webhook_id == request.headers["webhook-id"]
    Webhook(KEY).verify(request.body.decode(), request.headers)
    event = json.loads(request.body)
    assert (event["type"], event["data"]) == ("ping", {"version": 1})


@pytest.mark.parametrize(
    ("respond", "status", "error", "word"),
    [
        (always(answer(status=302, headers="Location: /x\r\n")), 302, "http.302", "redirects are never followed"),
        (always(answer(status=401)), 401, "http.401", "signature"),
        (always(answer(status=410)), 410, "http.410", "disables the receiver"),
        (always(answer(status=503)), 503, "http.503", "not delivered"),
        (always(b"no HTTP at all\r\n\r\n"), 0, "answer.malformed", "no HTTP"),
        (always(answer(b"x" * 200)), 0, "answer.too_large", "longer"),
        (always(b""), 0, "timeout", "AXN_CALLBACK_TIMEOUT"),
    ],
)
async def test_what_a_receiver_answers_is_told_in_words(respond: Responder, status: int, error: str, word: str) -> None:
    async with serving(respond) as receiver, pinger() as pings:
        sent = await pings.ping(receiver.url)
    assert (sent.status, sent.error, sent.is_delivered) == (status, error, False)
    assert word in sent.meaning
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("rules", "url", "error", "word"),
    [
        (ReceiverRules(), "http://shop.example/", "not_allowed", "AXN_CALLBACK_ALLOW_HTTP"),
        (ReceiverRules(), "https://shop.example:22/", "not_allowed", "AXN_CALLBACK_PORTS"),
        (ReceiverRules(), "https://100.100.100.200/", "not_allowed", "private or special network"),
        (ReceiverRules(), "https://localhost/", "not_allowed", "AXN_CALLBACK_ALLOW_NETS"),
        (LOOPBACK, "http://127.0.0.1:1/", "connect.refused", "nothing listens"),
    ],
)
async def test_what_never_reaches_a_receiver_is_told_in_words(
    rules: ReceiverRules, url: str, error: str, word: str
) -> None:
    async with pinger(rules) as pings:
        sent = await pings.ping(url)
    assert (sent.status, sent.error) == (0, error)
    assert word in sent.meaning
