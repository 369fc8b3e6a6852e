"""The only place where the parts are put together: settings in, services out. Tests pass their own parts in here."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from celery import Celery
from redis.asyncio import Redis

from worker.attempt.assembly import attempt_rules
from worker.attempt.attempt import Attempts
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.leases import Leases
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.resolution import Resolutions
from worker.attempt.stopping import Stop
from worker.callbacks.client import receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.callbacks.keyring import SharedKeyring
from worker.callbacks.pinging import OwnersKeyring, Pinger
from worker.callbacks.rotation import Rotations
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import SigningKey, decode_secrets
from worker.clock import Clock, SystemClock
from worker.delivery.assembly import DeliveryRules, build_delivery, order_look_ms
from worker.delivery.delivery import Delivery
from worker.domain.callback_secret import SecretOwner
from worker.domain.durations import duration_ms
from worker.errors import SettingsError
from worker.http import HttpClient
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.intake import Intake
from worker.ledger.audit import Audit
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.durable import DurableOpening
from worker.ledger.endings import Endings
from worker.ledger.ledger import Ledger
from worker.ledger.renewals import Renewals
from worker.ledger.timetable import Timetable
from worker.pace.assembly import build_paces
from worker.pace.desk import PaceDesk
from worker.pace.keys import account_of
from worker.progress import Progress
from worker.provider.client import ProviderClient
from worker.provider.credentials import ChainCredentials, CredentialsSource, StaticCredentials, official_chain
from worker.provider.requests import Credentials
from worker.publisher import Announcer, Publisher
from worker.redis_scripts import connect
from worker.registry.alarm import RenewalAlarm
from worker.registry.assembly import build_alarm
from worker.renewals.assembly import build_renewals, build_sessions
from worker.renewals.closing import Closing
from worker.renewals.session import RenewalSessions
from worker.runtime import end_tasks
from worker.settings import Settings
from worker.ticker import Chore, Ticker

_LARGEST_ANSWER_BYTES = 1 << 20
_DUE_PER_PARTITION = 500
"""A script that takes so many keeps Redis busy for about 4 ms (benchmarks/timetable.py)."""
_LEASE_SLACK_MS = 2_000
_SWEEP_EVERY_MS = 60_000
_WAITING_CONNECTIONS = 256
"""Each holds one `submit` that waits for a disk, up to a second with `appendfsync everysec`."""


@dataclass
class ProducerServices:
    """What a producer needs: to submit, to read, to wait."""

    settings: Settings
    redis: Redis
    ledger: Ledger
    intake: Intake
    endings: Endings
    announcer: Announcer
    executor: ThreadPoolExecutor
    clock: Clock
    found_bindings: FoundBindingsDesk
    resolutions: Resolutions
    durable: DurableOpening
    pace_desk: PaceDesk
    rotations: Rotations
    bindings: BindingLedger
    renewals: Renewals
    closing: Closing

    async def aclose(self) -> None:
        """Close connections."""
        await self.endings.aclose()
        await self.durable.aclose()
        await self.redis.aclose()
        self.executor.shutdown(wait=False)


@dataclass
class WorkerServices:
    """What a worker process needs beside that."""

    producer: ProducerServices
    attempts: Attempts
    delivery: Delivery
    renewals: RenewalSessions
    ticker: Ticker
    alarm: RenewalAlarm
    clients: tuple[HttpClient, ...]
    background: set["asyncio.Task[None]"] = field(default_factory=set)

    def start(self) -> None:
        """Look at the timetable, renew leases and watch over the renewals from now on."""
        works = (self.ticker.run(), self.attempts.leases.run(), self.alarm.run())
        self.background |= {asyncio.create_task(work) for work in works}

    def stop_claiming(self, grace_s: float) -> None:
        """Begin no attempt any more; cut short after the grace time what is then still under way."""
        if not self.attempts.stop.is_begun:
            self.attempts.stop.begin()
            self.renewals.stop()
            asyncio.get_running_loop().call_later(grace_s, self.attempts.stop.cut_short)

    async def aclose(self, grace_s: float) -> None:
        """Stop ticking, let callbacks under way end within the grace time, close connections."""
        await end_tasks(self.background)
        await asyncio.gather(self.renewals.aclose(grace_s), self.delivery.drain(grace_s))
        await self.attempts.provider.aclose()
        for client in self.clients:
            await client.aclose()
        await self.producer.aclose()


def receiver_rules(settings: Settings) -> ReceiverRules:
    """Where callbacks may go."""
    return ReceiverRules(settings.callback_allow_http, settings.callback_allow_nets, settings.callback_ports)


def build_acceptance(settings: Settings, clock: Clock) -> Acceptance:
    """What is checked when a request is accepted."""
    return Acceptance(AcceptanceRules(settings.pool_key, settings.expiration_margin, receiver_rules(settings)), clock)


def build_producer(settings: Settings, app: Celery, clock: Clock | None = None) -> ProducerServices:
    """Call inside the loop that will use it."""
    clock = clock or SystemClock()
    redis = connect(settings.redis_url, timeout_ms=duration_ms(settings.redis_timeout))
    ledger = Ledger(
        redis,
        result_ttl_ms=duration_ms(settings.result_ttl),
        first_look_ms=duration_ms(settings.first_look),
        rescues=settings.rescues,
        give_up_ms=duration_ms(settings.callback_give_up),
        order_look_ms=order_look_ms(_callback_lease_ms(settings)),
        renewal_spread=settings.renewal.spread,
    )
    renewals = build_renewals(redis, settings, order_look_ms=order_look_ms(_callback_lease_ms(settings)))
    bindings = BindingLedger(
        redis,
        keep_ms=duration_ms(settings.binding_keep),
        result_ttl_ms=duration_ms(settings.result_ttl),
        renewals=renewals,
    )
    executor = ThreadPoolExecutor(1, thread_name_prefix="axn-publish")
    announcer = Announcer(Publisher(app), executor, clock=clock)
    durable = _durable_opening(settings, ledger)
    secrets = CallbackSecrets(redis)
    intake = Intake(build_acceptance(settings, clock), ledger, durable, announcer, secrets, bindings=bindings)
    full_a = settings.callback_full_phone_no_a
    found_bindings = FoundBindingsDesk(ledger, clock, settings.lease_ms, full_a)
    return ProducerServices(
        settings, redis, ledger, intake, Endings(redis, ledger), announcer, executor, clock, found_bindings,
        Resolutions(ledger, found_bindings, Audit(redis), clock, settings.lease_ms, full_a), durable,
        PaceDesk(redis, account=account_of(settings.access_key_id), endpoint=urlsplit(settings.endpoint).netloc,
                 per_second=settings.pace.per_second),
        Rotations(secrets), bindings, renewals, Closing(bindings, renewals, intake),
    )  # fmt: skip


def _durable_opening(settings: Settings, ledger: Ledger) -> DurableOpening:
    timeout_ms = duration_ms(settings.durability_timeout)
    return DurableOpening(
        connect(
            settings.redis_url,
            timeout_ms=duration_ms(settings.redis_timeout) + timeout_ms,
            connections=_WAITING_CONNECTIONS,
        ),
        ledger,
        replicas=settings.durability_replicas,
        timeout_ms=timeout_ms,
    )


def build_worker(settings: Settings, app: Celery, clock: Clock | None = None) -> WorkerServices:
    """Call inside the loop that will use it.

    Raises:
        SettingsError: credentials are missing, or the callback secret is malformed.
    """
    producer = build_producer(settings, app, clock)
    provider_http, callback_http = _provider_http(settings), _callback_http(settings)
    progress = Progress()
    delivery = _delivery(settings, producer, callback_http, progress)
    attempts = Attempts(
        ledger=producer.ledger,
        provider=_paced(producer, provider_http),
        bindings=BindingQueue(producer.redis, ttl_ms=duration_ms(settings.result_ttl)),
        effects=BindingEffects(producer.bindings),
        courier=delivery,
        found_bindings=producer.found_bindings,
        rules=attempt_rules(settings, callback_lease_ms=_callback_lease_ms(settings)),
        clock=producer.clock,
        slots=asyncio.Semaphore(settings.in_flight),
        leases=Leases(producer.ledger, lease_ms=settings.lease_ms, clock=producer.clock),
        progress=progress,
        stop=Stop(),
    )
    renewals = build_sessions(settings, producer.renewals, attempts, producer.announcer)
    ticker = _ticker(settings, producer, progress)
    alarm = build_alarm(settings, producer.renewals, producer.pace_desk, producer.clock)
    return WorkerServices(producer, attempts, delivery, renewals, ticker, alarm, (provider_http, callback_http))


def _paced(producer: ProducerServices, http: HttpClient) -> PacedProvider:
    settings, clock = producer.settings, producer.clock
    paces = build_paces(producer.redis, settings, clock)
    return PacedProvider(_provider(settings, http, clock), paces, duration_ms(settings.pace.patience), clock)


@asynccontextmanager
async def paced_provider(producer: ProducerServices) -> AsyncIterator[PacedProvider]:
    """The provider behind the shared pace, for a command that asks it; raises SettingsError without credentials."""
    async with aclosing(_provider_http(producer.settings)) as http, aclosing(_paced(producer, http)) as paced:
        yield paced


def check_worker_settings(settings: Settings) -> None:
    """What a worker cannot start without.

    Raises:
        SettingsError: names the variable and the fix.
    """
    _credentials(settings, SystemClock())
    _provider_http(settings)
    callback_keys(settings)


def _provider_http(settings: Settings) -> HttpClient:
    try:
        return HttpClient(
            max_connections=settings.provider_connections or settings.in_flight,
            max_answer_bytes=_LARGEST_ANSWER_BYTES,
            connect_timeout_ms=duration_ms(settings.connect_timeout),
            read_timeout_ms=duration_ms(settings.read_timeout),
            ca_file=settings.ca_file or None,
            proxy=settings.http_proxy.get_secret_value() or None,
        )
    except OSError as unreadable:
        raise SettingsError(f"AXN_CA_FILE: no certificates (PEM) in it ({type(unreadable).__name__})") from None


def _callback_http(settings: Settings) -> HttpClient:
    return receiver_client(
        receiver_rules(settings),
        max_connections=2 * max(settings.callback_in_flight, 1),
        connect_timeout_ms=duration_ms(settings.connect_timeout),
    )


def _credentials(settings: Settings, clock: Clock) -> CredentialsSource:
    if settings.credentials == "chain":
        return ChainCredentials(official_chain(), clock)
    secret = settings.access_key_secret.get_secret_value()
    if not settings.access_key_id or not secret:
        raise SettingsError(
            "AXN_ACCESS_KEY_ID and AXN_ACCESS_KEY_SECRET (or ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET) must be set, "
            "or AXN_CREDENTIALS=chain"
        )
    return StaticCredentials(Credentials(settings.access_key_id, secret, settings.security_token.get_secret_value()))


def callback_keys(settings: Settings) -> tuple[SigningKey, ...]:
    """The keys of hosts without their own; raises SettingsError where AXN_CALLBACK_SECRET is malformed."""
    try:
        return decode_secrets(settings.callback_secret.get_secret_value())
    except ValueError as malformed:
        raise SettingsError(str(malformed)) from None


def _provider(settings: Settings, http: HttpClient, clock: Clock) -> ProviderClient:
    return ProviderClient(
        http,
        endpoint=settings.endpoint,
        credentials=_credentials(settings, clock),
        signature_version=settings.signature,
        answer_format=settings.answer_format,
        total_timeout_ms=duration_ms(settings.attempt_timeout),
        clock=clock,
    )


def _callback_lease_ms(settings: Settings) -> int:
    return duration_ms(settings.callback_timeout) + _LEASE_SLACK_MS


def _delivery(settings: Settings, producer: ProducerServices, http: HttpClient, progress: Progress) -> Delivery:
    rules = DeliveryRules(
        schedule_ms=[duration_ms(delay) for delay in settings.callback_schedule],
        lease_ms=_callback_lease_ms(settings),
        give_up_ms=duration_ms(settings.callback_give_up),
        dead_ttl_ms=duration_ms(settings.dead_callback_ttl),
        in_flight=settings.callback_in_flight,
        per_receiver=settings.callback_per_receiver,
    )
    sender = _callback_sender(settings, producer, http)
    return build_delivery(producer.redis, sender, rules, clock=producer.clock, progress=progress)


def _callback_sender(
    settings: Settings, producer: ProducerServices, http: HttpClient, owner: SecretOwner | None = None
) -> CallbackSender:
    shared = SharedKeyring(producer.rotations.secrets, default=callback_keys(settings), clock=producer.clock)
    keyring = OwnersKeyring(shared, owner) if owner else shared
    timeout_ms = duration_ms(settings.callback_timeout)
    return CallbackSender(http, keyring=keyring, timeout_ms=timeout_ms, clock=producer.clock)


def build_pinger(producer: ProducerServices, owner: SecretOwner | None = None) -> Pinger:
    """Sends pings as a worker of the same settings sends callbacks, signed with this owner's keys if one is given."""
    http, rules = _callback_http(producer.settings), receiver_rules(producer.settings)
    return Pinger(http, _callback_sender(producer.settings, producer, http, owner), rules, producer.clock)


def _ticker(settings: Settings, producer: ProducerServices, progress: Progress) -> Ticker:
    timetable = Timetable(
        producer.redis, next_look_ms=duration_ms(settings.first_look), most_per_partition=_DUE_PER_PARTITION
    )
    return Ticker(
        timetable,
        producer.announcer,
        progress=progress,
        tick_ms=duration_ms(settings.tick),
        heartbeat_file=settings.heartbeat_file,
        clock=producer.clock,
        chores=[Chore("sweep of bindings", producer.bindings.sweep_some, _SWEEP_EVERY_MS)],
    )
