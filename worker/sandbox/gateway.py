"""The way of a request, top to bottom: decode, recognise, authenticate, limit, spoil, perform, answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from worker.sandbox.actions import ACTIONS
from worker.sandbox.answers import (
    JSON_TYPE,
    XML_TYPE,
    Answer,
    new_request_id,
    refusal_answer,
    render,
    throttled,
)
from worker.sandbox.authentication import Authenticator
from worker.sandbox.calls import Account, Call
from worker.sandbox.config import SandboxConfig
from worker.sandbox.envelopes import Envelope, read_envelope
from worker.sandbox.faults import Fault, Faults
from worker.sandbox.limits import RateLimits
from worker.sandbox.refusals import GatewayError, RefusalError, missing
from worker.sandbox.requests import WireRequest, decode, wants_xml
from worker.sandbox.stats import UNKNOWN_ACTION, Stats

VERSION = "2017-05-25"

Ending = Literal["answer", "close", "hold"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What to do on the connection: wait, then answer, close it, or hold it silently for `hold_s` and close it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wait_s: float
    ending: Ending
    hold_s: float


@dataclass(slots=True)
class Visit:
    """What is known of a request so far; an answer needs some of it however early the request is refused."""

    now: float
    request_id: str = field(default_factory=new_request_id)
    action: str = UNKNOWN_ACTION
    as_xml: bool = False
    wait_ms: int = 0
    ending: Ending = "answer"
    hold_ms: int = 0


class Gateway:
    """The provider without its network: one request in, one reply out, in one step that nothing can cut in two."""

    def __init__(self, config: SandboxConfig, now: Callable[[], float]) -> None:
        _check_limits(config)
        self.now = now
        self.account = Account(config.pools, seed=config.seed)
        self.faults = Faults(seed=config.seed)
        self.stats = Stats()
        self._config = config
        self._limits = RateLimits(config.limits)
        self._authenticator = Authenticator(
            config.access_keys, clock_skew_s=config.clock_skew_s, nonce_memory_s=config.nonce_memory_s
        )

    def reply(self, wire: WireRequest) -> Reply:
        """Do what a request asks, and say how it is to be answered."""
        visit = Visit(self.now(), wait_ms=self._config.latency_ms)
        try:
            answer = self._answer(visit, wire)
        except RefusalError as refusal:
            answer = refusal_answer(refusal)
        self.stats.record(visit.action, answer.code, visit.now)
        return Reply(
            status=answer.status,
            headers={**answer.headers, "Content-Type": XML_TYPE if visit.as_xml else JSON_TYPE},
            body=render(answer, action=visit.action, request_id=visit.request_id, as_xml=visit.as_xml),
            wait_s=visit.wait_ms / 1000,
            ending=visit.ending,
            hold_s=visit.hold_ms / 1000,
        )

    def _answer(self, visit: Visit, wire: WireRequest) -> Answer:
        request = decode(wire)
        visit.as_xml = wants_xml(wire, request.parameters)
        envelope = read_envelope(request)
        _check_api(visit, envelope)
        envelope.check_complete()
        self._authenticator.check(envelope, visit.now)
        self._check_rate(visit)
        fate = self._draw_fate(visit)
        if fate is not None and fate.kind == "close_before":
            # As if it had never arrived.
            self._authenticator.forget(envelope)
            return Answer(code=fate.kind)
        return self._perform(visit, envelope)

    def _check_rate(self, visit: Visit) -> None:
        if not self._limits.allow(visit.action, visit.now):
            raise throttled(self._config.throttle_style, self._config.retry_after_ms)

    def _draw_fate(self, visit: Visit) -> Fault | None:
        wait_ms, fate = self.faults.draw(visit.action)
        visit.wait_ms += wait_ms
        if fate is None:
            return None
        if fate.kind == "throttle":
            raise throttled(self._config.throttle_style, fate.retry_after_ms or self._config.retry_after_ms)
        if fate.kind == "http_503":
            raise GatewayError(503, "ServiceUnavailable", "The request has failed due to a temporary failure.")
        visit.ending = "hold" if fate.kind == "timeout_after" else "close"
        visit.hold_ms = fate.hold_ms
        return fate

    def _perform(self, visit: Visit, envelope: Envelope) -> Answer:
        self.account.bindings.expire(visit.now)
        parameters = envelope.request.parameters
        return ACTIONS[visit.action](Call(self.account, parameters, visit.now, visit.request_id, envelope.nonce))


def _check_api(visit: Visit, envelope: Envelope) -> None:
    if envelope.request.path != "/":
        raise GatewayError(404, "InvalidApi.NotFound", "Specified api is not found, please check your url and method.")
    if not envelope.action:
        raise missing("Action")
    if envelope.action not in ACTIONS:
        raise GatewayError(404, "InvalidAction.NotFound", "Specified action is not found in this sandbox.")
    visit.action = envelope.action
    if envelope.version != VERSION:
        raise _wrong_version(envelope.version)
    if envelope.request.wire.method not in {"GET", "POST"}:
        raise GatewayError(400, "UnsupportedHTTPMethod", "This http method is not supported.")


def _wrong_version(version: str) -> GatewayError:
    return (
        GatewayError(400, "InvalidVersion", f"Specified Version must be {VERSION}.") if version else missing("Version")
    )


def _check_limits(config: SandboxConfig) -> None:
    unknown = [limit.action for limit in config.limits if limit.action not in ACTIONS]
    if unknown:
        raise ValueError(f"limits: {unknown[0]!r} is not an action of this sandbox; use {', '.join(ACTIONS)}")
