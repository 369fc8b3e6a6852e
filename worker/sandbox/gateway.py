"""The way of a request, top to bottom: decode, recognise, authenticate, limit, spoil, perform, answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.sandbox.actions import ACTIONS
from worker.sandbox.answers import (
    FLOW_LIMIT,
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
from worker.sandbox.magic import MagicNumbers
from worker.sandbox.refusals import GatewayError, RefusalError, missing
from worker.sandbox.requests import WireRequest, decode, wants_xml
from worker.sandbox.spoiling import ENDINGS, Ending, other_answer
from worker.sandbox.stats import UNKNOWN_ACTION, Stats

VERSION = "2017-05-25"


@dataclass(frozen=True, slots=True)
class Reply:
    """What to do on the connection: wait, then `ending`; `hold_s` is how long a held or slow one takes."""

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
        check_names(config)
        self._config = config
        self._base_now = now
        self.reset()

    def reset(self) -> None:
        """Forget everything since the start: bindings, faults, counts, nonces and moves of the clock."""
        self._ahead_s = 0.0
        self._product_ahead_s = 0.0
        self.account = Account(self._config, self._base_now())
        self.faults = Faults(seed=self._config.seed)
        self.stats = Stats()
        self._magic = MagicNumbers()
        self._limits = RateLimits(self._config.limits)
        self._authenticator = Authenticator(self._config)

    def now(self) -> float:
        """The gateway's clock, which signatures and limits go by, in Unix seconds."""
        return self._base_now() + self._ahead_s

    def product_now(self) -> float:
        """The product's clock, which bindings go by."""
        return self.now() + self._product_ahead_s

    def advance(self, seconds: float, *, signatures: bool) -> None:
        """Move the product's clock forward, and with `signatures` the gateway's too."""
        if signatures:
            self._ahead_s += seconds
        else:
            self._product_ahead_s += seconds

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
            headers={"Content-Type": XML_TYPE if visit.as_xml else JSON_TYPE, **answer.headers},
            body=_body(visit, answer),
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
        try:
            return self._admitted(visit, envelope)
        except RefusalError as refusal:
            if isinstance(refusal, GatewayError) or refusal.code == FLOW_LIMIT:
                self._authenticator.refused(envelope)
            raise

    def _admitted(self, visit: Visit, envelope: Envelope) -> Answer:
        if not self._limits.allow(visit.action, visit.now):
            raise throttled(self._config.throttle_style, self._config.retry_after_ms)
        fate = self._draw_fate(visit, envelope)
        return self._perform(visit, envelope) if fate is None else self._spoil(visit, envelope, fate)

    def _draw_fate(self, visit: Visit, envelope: Envelope) -> Fault | None:
        magic = self._config.magic_numbers and self._magic.outcome(envelope.request.parameters.get("PhoneNoA", ""))
        if magic:
            return magic
        wait_ms, fate = self.faults.draw(visit.action)
        visit.wait_ms += wait_ms
        return fate

    def _spoil(self, visit: Visit, envelope: Envelope, fate: Fault) -> Answer:
        if fate.kind == "close_before":
            # As if it had never arrived.
            self._authenticator.forget(envelope)
        true_answer = self._perform_quietly(visit, envelope) if fate.has_effect else Answer(code=fate.kind)
        visit.ending, visit.hold_ms = ENDINGS.get(fate.kind, "answer"), fate.hold_ms
        if fate.kind in ENDINGS:
            return true_answer
        if fate.kind == "throttle":
            raise throttled(self._config.throttle_style, fate.retry_after_ms or self._config.retry_after_ms)
        return other_answer(fate)

    def _perform_quietly(self, visit: Visit, envelope: Envelope) -> Answer:
        try:
            return self._perform(visit, envelope)
        except RefusalError as refusal:
            return refusal_answer(refusal)

    def _perform(self, visit: Visit, envelope: Envelope) -> Answer:
        now = visit.now + self._product_ahead_s
        self.account.bindings.expire(now)
        call = Call(self.account, envelope.request.parameters, now, visit.request_id, envelope.nonce)
        return ACTIONS[visit.action](call)


def _body(visit: Visit, answer: Answer) -> bytes:
    if answer.raw_body is not None:
        return answer.raw_body
    return render(answer, action=visit.action, request_id=visit.request_id, as_xml=visit.as_xml)


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


def check_names(config: SandboxConfig) -> None:
    """Refuse a configuration that names an action or a pool there is none of.

    Raises:
        ValueError: With the name and what would do.
    """
    unknown = [limit.action for limit in config.limits if limit.action not in ACTIONS]
    if unknown:
        raise ValueError(f"limits: {unknown[0]!r} is not an action of this sandbox; use {', '.join(ACTIONS)}")
    pools = [pool.pool_key for pool in config.pools]
    strangers = [key for key in config.unknowns.strict_city if key not in pools]
    if strangers:
        raise ValueError(f"strict_city: {strangers[0]!r} is not a pool of this sandbox; use {', '.join(pools)}")
