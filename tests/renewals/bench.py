"""One worker process's renewals, on a real ledger, with the sandbox as the provider.

Redis's clock cannot be moved, so bindings are: they are made due by their entry, and their end by their record.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from tests.attempt.bench import FakeCourier, FakeFoundBindings
from tests.ledger.support import bindings_of, ledger_of, new_job, now_ms, record_of
from worker.attempt.attempt import ACTIONS, AttemptRules, Attempts
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.decisions import RetryRules
from worker.attempt.leases import Leases
from worker.attempt.paced_provider import LaneCaller, PacedProvider
from worker.attempt.replacements import RecordedReplacements
from worker.attempt.stopping import Stop
from worker.clock import SystemClock
from worker.domain.job import JobKind, Lane
from worker.domain.job_ids import PARTITION_COUNT, partition_of
from worker.domain.outcome import Outcome
from worker.domain.renewal import RenewalPolicy
from worker.http import HttpClient
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.expiry_checks import ExpiryCheck, ExpiryChecks, ExpiryState
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.keys import job_keys
from worker.ledger.records import NewJob
from worker.ledger.renewal_keys import renewal_id, renewals_due_key, renewals_key
from worker.ledger.renewals import Place, Renewals
from worker.pace.concurrency import InFlight
from worker.pace.desk import PaceDesk
from worker.pace.keys import PaceKeys
from worker.pace.pace import Pace
from worker.pace.rules import PaceRules, RetryBudget
from worker.progress import Progress
from worker.provider.api import ProviderApi
from worker.provider.client import ProviderClient
from worker.provider.requests import Credentials
from worker.renewals.expiry_guard import ExpiryGuard
from worker.renewals.gone import GoneDesk
from worker.renewals.renewing import Renewer
from worker.renewals.rules import RenewalRules
from worker.renewals.session import RenewalSessions
from worker.renewals.telling import wire_of
from worker.sandbox.admin import GATEWAY
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.faults import Fault
from worker.sandbox.gateway import Gateway
from worker.sandbox.server import build_app

POOL, A, ACCOUNT, URL = "FC123456", "15012345678", "acc", "https://shop.example/axn"
SENT = (*ACTIONS.values(), "QuerySubsId", "QuerySubscriptionDetail")
DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
LEASE_MS = 15_000
Step = Callable[[str], Awaitable[None]]


class Provider:
    """The sandbox over HTTP; keeps what was sent, and lets a test step in before or after a call."""

    def __init__(self, client: ProviderClient) -> None:
        self._client = client
        self.sent: list[tuple[str, dict[str, str], str]] = []
        self.before: Step | None = None
        self.after: Step | None = None

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        self.sent.append((action, dict(parameters), nonce))
        if self.before is not None:
            await self.before(action)
        outcome = await self._client.call(action, parameters, nonce=nonce)
        if self.after is not None:
            await self.after(action)
        return outcome

    def ends(self) -> list[str]:
        """The Expirations of the renewals that were sent."""
        return [parameters["Expiration"] for action, parameters, _ in self.sent if action == "UpdateSubscription"]


class QuietAnnouncer:
    """Remembers what it is to publish."""

    def __init__(self) -> None:
        self.published: list[str] = []

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        self.published += ids
        return True


@dataclass(frozen=True)
class _Latest:
    """A bench's renewer, also after it was remade."""

    bench: "Bench"

    async def renew(self, kept: KeptBinding) -> Place | None:
        return await self.bench.renewer.renew(kept)

    async def unbind(self, binding_id: str) -> Place:
        return await self.bench.renewer.unbind(binding_id)


@dataclass
class Bench:
    """Everything of one worker process that renewals touch."""

    redis: Redis
    gateway: Gateway
    provider: Provider
    per_second: float = 2_000.0
    width: int = 16
    lease_ms: int = LEASE_MS
    hold_ms: int = 2_000
    endpoint: str = ""
    announcer: QuietAnnouncer = field(default_factory=QuietAnnouncer)
    courier: FakeCourier = field(default_factory=FakeCourier)

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.retry = RetryRules(
            base_ms=20, cap_ms=200, slow_base_ms=1_000, slow_cap_ms=10_000, attempts=3, probe_after_ms=1_000,
            probe_window_ms=600_000,
        )  # fmt: skip
        self.rules = RenewalRules(self.lease_ms, self.width, self.hold_ms, 0.1, 300, self.retry)
        self.ledger = ledger_of(self.redis)
        self.renewals = Renewals(self.redis)
        self.bindings = bindings_of(self.redis)
        self.queue = BindingQueue(self.redis, ttl_ms=60_000)
        self.checks = ExpiryChecks(self.redis, ACCOUNT)
        self.renewer = self.remade()
        self.sessions = RenewalSessions(self.renewals, _Latest(self), self.rules, clock=self.clock, progress=Progress())

    def remade(self) -> Renewer:
        """A renewer that knows nothing yet: of the pace, of the account."""
        self.paced = self._paced()
        api = ProviderApi(LaneCaller(self.paced, Lane.RENEWAL))
        gone = GoneDesk(self.renewals, self.ledger, api, self.announcer, self.rules, self.clock)
        guard = ExpiryGuard(self.checks, api, self.clock, read_lag_ms=self.rules.read_lag_ms)
        return Renewer(self.renewals, self.queue, self.ledger, self.paced, guard, gone, self.rules, self.clock)

    def _paced(self) -> PacedProvider:
        in_flight = InFlight(1_000, self.clock)
        depths = {Lane.CHECKOUT: 50_000, Lane.RENEWAL: 40_000, Lane.BATCH: 30_000}
        paces = {
            action: Pace(
                self.redis,
                keys=PaceKeys(ACCOUNT, action, "endpoint"),
                rules=PaceRules(self.per_second, depths, retries=RetryBudget()),
                in_flight=in_flight,
                clock=self.clock,
            )
            for action in SENT
        }
        return PacedProvider(self.provider, paces, 2_000, self.clock)

    def attempts(self) -> Attempts:
        return Attempts(
            ledger=self.ledger,
            provider=self.paced,
            bindings=self.queue,
            effects=BindingEffects(self.bindings),
            replacements=RecordedReplacements(self.bindings),
            courier=self.courier,
            found_bindings=FakeFoundBindings(),
            rules=AttemptRules(
                lease_ms=30_000, attempt_timeout_ms=10_000, callback_lease_ms=7_000,
                expiration_margin=timedelta(seconds=30), retry=self.retry, short_wait_ms=0,
            ),
            clock=self.clock,
            slots=asyncio.Semaphore(10),
            leases=Leases(self.ledger, lease_ms=30_000, clock=self.clock),
            progress=Progress(),
            stop=Stop(),
        )  # fmt: skip

    # --- Bindings ---

    async def checked(self) -> None:
        """The account's ExpireDate was read back before."""
        await self.checks.write(ExpiryCheck(ExpiryState.OK, at_ms=1))

    async def bound(
        self, key: str = "1", *, policy: RenewalPolicy | None = None, lasts_ms: int = HOUR, **overrides: Any
    ) -> str:
        """A kept binding, made by a job. Returns its id."""
        end = (await now_ms(self.redis) + lasts_ms) // 1000 * 1000
        parameters = {"PhoneNoA": A, "PoolKey": POOL, "Expiration": wire_of(end), "OutOrderId": f"order-{key}"}
        renew = (policy or RenewalPolicy(extend_by_ms=DAY)).as_json()
        job = new_job(key, **({"parameters": parameters, "renew": renew, "callback_url": URL} | overrides))
        await self.ledger.open(job)
        assert await self.work_on(job.job_id) == "bound"
        return job.job_id

    async def work_on(self, job_id: str) -> str:
        """One attempt at a job."""
        return await self.attempts().attempt(Lane.CHECKOUT, job_id)

    async def change(self, binding_id: str, key: str, **parameters: str) -> NewJob:
        """File an unbind of a binding, or an update where parameters are given."""
        kept = await self.read(binding_id)
        named = {"SubsId": kept.subs_id, "PoolKey": POOL}
        kind = JobKind.UPDATE if parameters else JobKind.UNBIND
        x = {"PhoneNoX": kept.phone_no_x} if parameters else {"SecretNo": kept.phone_no_x}
        job = new_job(key, kind=kind, parameters=named | x | parameters, is_confirmed=True, binding_id=binding_id)
        await self.ledger.open(job)
        return job

    async def read(self, binding_id: str) -> KeptBinding:
        (kept,) = await self.renewals.read([binding_id])
        assert isinstance(kept, KeptBinding), kept
        return kept

    async def make_due(self, *binding_ids: str) -> None:
        """Their time has come."""
        client: Any = self.redis
        for binding_id in binding_ids:
            await client.zadd(renewals_key(partition_of(binding_id)), {binding_id: 1})

    async def end_at(self, binding_id: str, unix_ms: int) -> None:
        """The record says that the binding ends then."""
        record = await record_of(self.redis, binding_id)
        request = json.loads(record["request"]) | {"Expiration": wire_of(unix_ms)}
        client: Any = self.redis
        await client.hset(job_keys(binding_id).job, "request", json.dumps(request))

    async def due_at(self, binding_id: str) -> float | None:
        """When it is looked at next; None: never."""
        client: Any = self.redis
        partition = partition_of(binding_id)
        assert await client.zscore(renewals_due_key(partition), binding_id) is None, "it is still taken up"
        at: float | None = await client.zscore(renewals_key(partition), binding_id)
        return at

    async def renew(self, *binding_ids: str) -> None:
        """Their time has come, and a session deals with all that is due, in all partitions."""
        await self.make_due(*binding_ids)
        self.sessions.begin([renewal_id(partition) for partition in range(PARTITION_COUNT)])
        await asyncio.wait_for(self.sessions.idle(), 20)

    async def events(self, binding_id: str) -> list[dict[str, Any]]:
        """The callbacks that this binding owes, or owed: those of the ledger."""
        client: Any = self.redis
        keys = [key async for key in client.scan_iter(f"*:callback:{binding_id}-*")]
        found = [json.loads(await client.hget(key, "body")) for key in keys]
        return sorted(found, key=lambda event: event["timestamp"])

    def desk(self) -> PaceDesk:
        """The operator's hand on the pace."""
        return PaceDesk(self.redis, account=ACCOUNT, endpoint="endpoint", per_second=dict.fromkeys(SENT, 1.0))

    async def clear_pace(self) -> None:
        """Let the pace forget throttling and stops."""
        await self.paced.aclose()
        client: Any = self.redis
        keys = [key async for key in client.scan_iter("*{pace:*")]
        await client.delete(*keys, "no-such-key")
        self.renewer = self.remade()

    async def deliver(self, binding_id: str) -> None:
        """Its callbacks are delivered: nothing of them stays."""
        client: Any = self.redis
        async for key in client.scan_iter(f"*:callback:{binding_id}-*"):
            await client.delete(key)

    # --- The provider's side ---

    def live(self) -> list[Any]:
        """All bindings that the provider has."""
        return [binding for binding in self.gateway.account.bindings if binding.ended is None]

    def at_provider(self, subs_id: str) -> Any:
        return self.gateway.account.bindings.get(subs_id)

    def fault(self, **fault: Any) -> None:
        self.gateway.faults.add(Fault(**fault))


@asynccontextmanager
async def sandbox(numbers: int = 40) -> AsyncIterator[tuple[Gateway, str]]:
    """The provider, and where it answers."""
    config = SandboxConfig(
        pools=(parse_pool(f"{POOL}={numbers}"),), access_keys=(parse_access_key("testid:testsecret"),)
    )
    app = build_app(config)
    async with TestServer(app, access_log=None) as server:
        yield app[GATEWAY], str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def process_at(
    redis: Redis, endpoint: str, gateway: Gateway | None = None, **changes: Any
) -> AsyncIterator[Bench]:
    """One process; where the sandbox runs elsewhere, without a look into it."""
    http = HttpClient(max_connections=50, max_answer_bytes=1 << 20, connect_timeout_ms=2_000, read_timeout_ms=5_000)
    client = ProviderClient(
        http,
        endpoint=endpoint,
        credentials=Credentials("testid", "testsecret"),
        signature_version="v3",
        answer_format="json",
        total_timeout_ms=5_000,
        clock=SystemClock(),
    )
    bench = Bench(redis, gateway, Provider(client), **changes)  # type: ignore[arg-type]
    try:
        yield bench
    finally:
        await bench.sessions.aclose(0)
        await bench.paced.aclose()
        await http.aclose()


@asynccontextmanager
async def benches(redis: Redis, *, count: int = 1, **changes: Any) -> AsyncIterator[list[Bench]]:
    """So many processes of one account, with one sandbox."""
    async with AsyncExitStack() as stack:
        gateway, endpoint = await stack.enter_async_context(sandbox())
        made = [await stack.enter_async_context(process_at(redis, endpoint, gateway, **changes)) for _ in range(count)]
        for bench in made:
            bench.endpoint = endpoint
        yield made
