"""Rebind jobs on a real ledger, before the sandbox's bindings: what it does is real, what is heard of it is chosen."""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.ledger.support import lapse, put, record_of
from worker.attempt import attempt as attempt_module
from worker.domain.job import JobKind, JobState, Lane
from worker.domain.outcome import Outcome, Verdict
from worker.domain.rebinding import RebindMode
from worker.http import HttpAnswer
from worker.ledger.keys import job_keys
from worker.ledger.rebind_record import Rebinding
from worker.ledger.records import NewJob
from worker.pace.rules import CircuitRules, RetryBudget
from worker.provider.outcomes import judge_answer
from worker.sandbox.actions import ACTIONS
from worker.sandbox.answers import refusal_answer, render
from worker.sandbox.bindings import Binding
from worker.sandbox.calls import Account, Call
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.refusals import RefusalError
from worker.sandbox.unknowns import Unknowns

from .bench import AMBIGUOUS, NONCE_USED, Bench

POOL = "FC1"
A, NEW_A, STRANGER = "15012345678", "15099990000", "15055550000"
EXPIRATION = "2099-01-01 00:00:00"
QUERIES = ("QuerySubscriptionDetail", "QuerySubsId")
_OF_THE_PRODUCT = (Verdict.WRONG_REQUEST, Verdict.NOT_PROCESSED, Verdict.CONFLICT, Verdict.NO_NUMBER)
Fate = Outcome | str
"""`done` performs and answers, `lost` performs and the answer is lost, `unheard` is never heard of, `killed` and
`killed unsent` end the worker, `taken` lets a stranger have X first; an outcome is answered without an effect."""


class KilledError(BaseException):
    """As by SIGKILL: nothing is written or handed back after it."""


class SandboxCaller:
    """The sandbox without its sockets: its actions, its answers and its memory of nonces, read as any answer is."""

    def __init__(self, **unknowns: Any) -> None:
        config = SandboxConfig(
            pools=(parse_pool(f"{POOL}=4"),),
            access_keys=(parse_access_key("testid:testsecret"),),
            unknowns=Unknowns(**unknowns),
        )
        self.account = Account(config, time.time())
        self.fates: dict[str, list[Fate]] = defaultdict(list)
        self.any_fates: list[Fate] = []
        self.actions: list[str] = []
        self.sent: list[Mapping[str, str]] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self._nonces: set[str] = set()

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        self.actions.append(action)
        self.sent.append(parameters)
        fates = self.fates[action] or self.any_fates
        fate = fates.pop(0) if fates else "done"
        if isinstance(fate, Outcome):
            return self._answered(fate, nonce)
        if fate == "killed unsent":
            raise KilledError
        if fate == "unheard":
            return AMBIGUOUS
        if fate == "taken" and action == "BindAxn" and "PhoneNoX" in parameters:
            self.perform("BindAxn", {**parameters, "PhoneNoA": STRANGER}, nonce="stranger")
        outcome = NONCE_USED if nonce in self._nonces else self.perform(action, parameters, nonce)
        self._nonces.add(nonce)
        if self.meanwhile is not None:
            await self.meanwhile()
        if fate == "killed":
            raise KilledError
        return AMBIGUOUS if fate == "lost" else outcome

    def _answered(self, outcome: Outcome, nonce: str) -> Outcome:
        """The product's refusals come after the gateway has looked at the nonce."""
        if outcome.verdict not in _OF_THE_PRODUCT:
            return outcome
        is_used = nonce in self._nonces
        self._nonces.add(nonce)
        return NONCE_USED if is_used else outcome

    def perform(self, action: str, parameters: Mapping[str, str], nonce: str = "") -> Outcome:
        now = time.time()
        self.account.bindings.expire(now)
        try:
            answer = ACTIONS[action](Call(self.account, parameters, now, "R1", nonce))
        except RefusalError as refusal:
            answer = refusal_answer(refusal)
        body = render(answer, action=action, request_id="R1", as_xml=False)
        return judge_answer(action, HttpAnswer(answer.status, {}, body))

    def live(self) -> list[Binding]:
        """But strangers' ones."""
        return [one for one in self.account.bindings if one.ended is None and one.phone_no_a != STRANGER]


class RebindBench(Bench):
    """One old binding at the sandbox, and one job that makes it anew."""

    def __init__(self, redis: Redis, **unknowns: Any) -> None:
        super().__init__(redis)
        self.sandbox = SandboxCaller(**unknowns)
        self.provider = self.sandbox  # type: ignore[assignment]
        self.read_lag_ms = 0
        self.retries, self.circuit = RetryBudget(per_second=100_000), CircuitRules(least=100_000)
        bound = self.sandbox.perform(
            "BindAxn",
            {"PoolKey": POOL, "PhoneNoA": A, "Expiration": EXPIRATION, "OutId": "o", "PhoneNoB": "057112345678"},
        )
        assert bound.verdict is Verdict.DONE
        (self.old,) = self.sandbox.live()

    async def filed(self, mode: RebindMode, wishes: Mapping[str, str] | None = None, **overrides: Any) -> NewJob:
        old = self.old
        rebind = Rebinding(mode, old.subs_id, old.phone_no_x, old_pool_key=POOL)
        parameters = {"PhoneNoA": NEW_A} if wishes is None else wishes
        return await self.opened(kind=JobKind.REBIND, parameters=parameters, rebind=rebind, **overrides)

    async def step(self, job: NewJob) -> str:
        """One attempt, all times having come; a killed worker's is `killed`."""
        if (await self.record(job)).get("refused_since", "0") != "0":
            await put(self.redis, job_keys(job.job_id).job, refused_since=1)
        if (await self.record(job))["state"] in {"submitting", "waiting"}:
            await lapse(self.redis, job.job_id)
        try:
            return await self.attempts().attempt(Lane.CHECKOUT, job.job_id)
        except KilledError:
            return "killed"

    async def to_its_end(self, job: NewJob, look: Callable[[], Any] = lambda: None) -> dict[str, str]:
        """Attempts until there is nothing more to do; the record then."""
        for _ in range(80):
            await self.step(job)
            look()
            record = await self.record(job)
            if JobState(record["state"]).is_end:
                return record
        raise AssertionError(f"it does not end: {await self.record(job)}")

    async def record(self, job: NewJob) -> dict[str, str]:
        return await record_of(self.redis, job.job_id)

    def live_xs(self) -> Counter[str]:
        """By X, how many bindings of ours are live."""
        return Counter(one.phone_no_x for one in self.sandbox.live())


@contextmanager
def reaching(see: Callable[[str], None]) -> Iterator[None]:
    """Have each boundary that an attempt reaches told."""

    def reached(step: str, *_: Any, **__: Any) -> None:
        see(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt_module, "reached", reached)
        yield
