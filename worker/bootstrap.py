"""The only place where the parts are put together: settings in, services out. Tests pass their own parts in here."""

import asyncio
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from celery import Celery
from redis.asyncio import Redis

from worker import __version__
from worker.attempt.assembly import attempt_rules
from worker.attempt.attempt import Attempts
from worker.attempt.binding_effects import BindingEffects
from worker.attempt.found_bindings import FoundBindingsDesk
from worker.attempt.leases import Leases
from worker.attempt.paced_provider import PacedProvider
from worker.attempt.replacements import RecordedReplacements
from worker.attempt.resolution import Resolutions
from worker.attempt.stopping import Stop
from worker.batches.assembly import build_batch_retention, build_feeder
from worker.batches.feeding import Feeder
from worker.batches.retention import REMOVE_EVERY_MS
from worker.bootstrap_callbacks import (
    callback_http,
    callback_keys,
    callback_lease_ms,
    callback_sender,
    delivery_rules,
    receiver_rules,
)
from worker.callbacks.pinging import Pinger
from worker.callbacks.rotation import Rotations
from worker.callbacks.sender import CallbackSender
from worker.clock import Clock, SystemClock
from worker.delivery.assembly import build_delivery, order_look_ms
from worker.delivery.delivery import Delivery
from worker.domain.callback_secret import SecretOwner
from worker.domain.durations import duration_ms
from worker.error_reports import CHECK_IN_LOOK_MS, CheckIns
from worker.http import HttpClient
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.intake.intake import Intake
from worker.intake.traced import TracedIntake
from worker.ledger.assembly import build_bindings, build_durable_opening, build_ledger, build_seal
from worker.ledger.audit import Audit
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_secrets import CallbackSecrets
from worker.ledger.closed_orders import ClosedOrders
from worker.ledger.durable import DurableOpening
from worker.ledger.endings import Endings
from worker.ledger.formats import LedgerFormats
from worker.ledger.ledger import Ledger
from worker.ledger.renewals import Renewals
from worker.ledger.seal import Seal
from worker.ledger.timetable import Timetable
from worker.observation.assembly import Observation, build_observation
from worker.observation.health import Pulse
from worker.observation.metered import MeteredCaller, MeteredLedger, MeteredRenewals, MeteredSender
from worker.observation.meters import Meters
from worker.pace.assembly import build_paces
from worker.pace.desk import PaceDesk
from worker.pace.keys import account_of
from worker.progress import Progress
from worker.provider.assembly import build_provider, credentials_of, provider_http
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
from worker.tracing import Tracer, build_tracer, check_traces

_DUE_PER_PARTITION = 500
"""A script that takes so many keeps Redis busy for about 4 ms (benchmarks/timetable.py)."""
_SWEEP_EVERY_MS = 60_000
_FORMATS_EVERY_MS = 300_000


@dataclass
class ProducerServices:
    """What a producer needs: to submit, to read, to wait."""

    settings: Settings
    redis: Redis
    seal: Seal
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
    traces: Tracer

    async def aclose(self) -> None:
        """Close connections."""
        await self.endings.aclose()
        await self.durable.aclose()
        await self.redis.aclose()
        await self.traces.aclose()
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
    observation: Observation
    feeder: Feeder
    background: set["asyncio.Task[None]"] = field(default_factory=set)

    def start(self) -> None:
        """Look at the timetable, renew leases and watch over the renewals from now on."""
        if not gc.get_freeze_count():
            # What is there by now stays: looked through again and again, it held the loop up for tens of ms at a time.
            gc.collect()
            gc.freeze()
        loop = asyncio.get_running_loop()
        runs = (self.ticker.run(), self.attempts.leases.run(), self.observation.run(), self.alarm.run())
        self.background |= {loop.create_task(run) for run in runs}

    def stop_claiming(self, grace_s: float) -> None:
        """Begin no attempt any more; cut short after the grace time what is then still under way."""
        self.feeder.stop()
        if not self.attempts.stop.is_begun:
            self.attempts.stop.begin()
            self.renewals.stop()
            self.observation.pulse.is_stopping = True
            asyncio.get_running_loop().call_later(grace_s, self.attempts.stop.cut_short)

    async def aclose(self, grace_s: float) -> None:
        """Stop ticking, let callbacks under way end within the grace time, close connections."""
        await end_tasks(self.background)
        await self.feeder.aclose()
        await asyncio.gather(self.renewals.aclose(grace_s), self.delivery.drain(grace_s))
        await self.attempts.provider.aclose()
        for client in self.clients:
            await client.aclose()
        await self.producer.aclose()


def build_acceptance(settings: Settings, clock: Clock) -> Acceptance:
    """What is checked when a request is accepted."""
    return Acceptance(AcceptanceRules(settings.pool_key, settings.expiration_margin, receiver_rules(settings)), clock)


def build_producer(
    settings: Settings, app: Celery, clock: Clock | None = None, meters: Meters | None = None
) -> ProducerServices:
    """Call inside the loop that will use it. With meters its ledger counts what goes through it."""
    clock, traces = clock or SystemClock(), build_tracer(settings)
    redis = connect(settings.redis_url, timeout_ms=duration_ms(settings.redis_timeout))
    look_ms, seal = order_look_ms(callback_lease_ms(settings)), build_seal(settings)
    ledger = build_ledger(
        redis, settings, order_look_ms=look_ms, traces=traces, seal=seal,
        make=partial(MeteredLedger, meters=meters) if meters else Ledger,
    )  # fmt: skip
    renewals = build_renewals(
        redis, settings, order_look_ms=look_ms, seal=seal,
        make=partial(MeteredRenewals, meters=meters) if meters else Renewals,
    )  # fmt: skip
    bindings = build_bindings(redis, settings, renewals, seal)
    executor = ThreadPoolExecutor(1, thread_name_prefix="axn-publish")
    announcer = Announcer(Publisher(app), executor, clock=clock, traces=traces)
    durable = build_durable_opening(settings, ledger)
    secrets = CallbackSecrets(redis)
    make_intake = partial(TracedIntake, traces=traces) if settings.traces.enabled else Intake
    intake = make_intake(build_acceptance(settings, clock), ledger, durable, announcer, secrets, bindings=bindings)
    full_a = settings.callback_full_phone_no_a
    found_bindings = FoundBindingsDesk(ledger, clock, settings.lease_ms, full_a)
    return ProducerServices(
        settings, redis, seal, ledger, intake, Endings(redis, ledger), announcer, executor, clock, found_bindings,
        Resolutions(ledger, found_bindings, Audit(redis), RecordedReplacements(bindings),
                    clock, settings.lease_ms, full_a), durable,
        PaceDesk(redis, account=account_of(settings.access_key_id), endpoint=urlsplit(settings.endpoint).netloc,
                 per_second=settings.pace.per_second),
        Rotations(secrets), bindings, renewals,
        Closing(bindings, renewals, ClosedOrders(redis, keep_ms=duration_ms(settings.result_ttl)), intake, clock),
        traces,
    )  # fmt: skip


def build_worker(settings: Settings, app: Celery, clock: Clock | None = None) -> WorkerServices:
    """Call inside the loop that will use it.

    Raises:
        SettingsError: credentials are missing, or the callback secret is malformed.
    """
    meters = Meters()
    producer = build_producer(settings, app, clock, meters)
    provider_connections, receivers_http = provider_http(settings), callback_http(settings)
    pulse = Pulse(producer.clock, meters, lambda: len(attempts.leases))
    progress = Progress(pulse.took)
    delivery = _delivery(settings, producer, receivers_http, progress, meters)
    attempts = Attempts(
        ledger=producer.ledger,
        provider=_paced(producer, provider_connections, meters),
        bindings=BindingQueue(producer.redis, ttl_ms=duration_ms(settings.result_ttl)),
        effects=BindingEffects(producer.bindings),
        courier=delivery,
        found_bindings=producer.found_bindings,
        replacements=RecordedReplacements(producer.bindings),
        rules=attempt_rules(settings, callback_lease_ms=callback_lease_ms(settings)),
        clock=producer.clock,
        slots=asyncio.Semaphore(settings.in_flight),
        leases=Leases(producer.ledger, lease_ms=settings.lease_ms, clock=producer.clock),
        progress=progress,
        stop=Stop(),
        traces=producer.traces,
    )
    pulse.in_flight_by_lane = attempts.leases.by_lane
    renewals = build_sessions(settings, producer.renewals, attempts, producer.announcer)
    feeder = build_feeder(
        producer.redis, producer.ledger, producer.intake.acceptance, bindings=producer.intake.named_bindings,
        secrets=producer.rotations.secrets, announcer=producer.announcer, clock=producer.clock,
        give_up_ms=duration_ms(settings.callback_give_up), seal=producer.seal,
    )  # fmt: skip
    ticker = _ticker(settings, producer, progress)
    alarm = build_alarm(settings, producer.renewals, producer.pace_desk, producer.clock)
    observation = build_observation(
        producer.redis, producer.pace_desk, producer.announcer.backlogs, pulse, address=settings.listen_address,
        risk=lambda: alarm.seen,
    )  # fmt: skip
    clients = (provider_connections, receivers_http)
    return WorkerServices(producer, attempts, delivery, renewals, ticker, alarm, clients, observation, feeder)


def _paced(producer: ProducerServices, http: HttpClient, meters: Meters) -> PacedProvider:
    settings, clock = producer.settings, producer.clock
    caller = MeteredCaller(build_provider(settings, http, clock), meters, clock)
    return PacedProvider(
        caller,
        build_paces(producer.redis, settings, clock),
        duration_ms(settings.pace.patience),
        clock,
        producer.traces,
    )


@asynccontextmanager
async def paced_provider(producer: ProducerServices) -> AsyncIterator[PacedProvider]:
    """The provider behind the shared pace, for a command that asks it; raises SettingsError without credentials."""
    async with aclosing(provider_http(producer.settings)) as http, aclosing(_paced(producer, http, Meters())) as paced:
        yield paced


def check_worker_settings(settings: Settings) -> None:
    """What a worker cannot start without.

    Raises:
        SettingsError: names the variable and the fix.
    """
    credentials_of(settings, SystemClock())
    check_traces(settings)
    provider_http(settings)
    callback_keys(settings)
    build_seal(settings)


async def join_ledger(settings: Settings) -> None:
    """Say in the ledger which versions a worker of this release writes. A Redis that is away is not waited for.

    Raises:
        NewerFormatError: the ledger holds what this release cannot read.
    """
    timeout_ms = duration_ms(settings.redis_timeout)
    async with aclosing(connect(settings.redis_url, timeout_ms=timeout_ms)) as redis:
        await LedgerFormats(redis, __version__).join_if_there(within_ms=timeout_ms)


def _delivery(
    settings: Settings, producer: ProducerServices, http: HttpClient, progress: Progress, meters: Meters
) -> Delivery:
    sender = MeteredSender(_callback_sender(producer, http), meters, producer.clock)
    return build_delivery(
        producer.redis, sender, delivery_rules(settings), clock=producer.clock, progress=progress,
        traces=producer.traces, seal=producer.seal,
    )  # fmt: skip


def build_pinger(producer: ProducerServices, owner: SecretOwner | None = None) -> Pinger:
    """Sends pings as a worker of the same settings sends callbacks, signed with this owner's keys if one is given."""
    http, rules = callback_http(producer.settings), receiver_rules(producer.settings)
    return Pinger(http, _callback_sender(producer, http, owner), rules, producer.clock)


def _callback_sender(producer: ProducerServices, http: HttpClient, owner: SecretOwner | None = None) -> CallbackSender:
    secrets = producer.rotations.secrets
    return callback_sender(producer.settings, http, secrets, clock=producer.clock, traces=producer.traces, owner=owner)


def _ticker(settings: Settings, producer: ProducerServices, progress: Progress) -> Ticker:
    timetable = Timetable(
        producer.redis, next_look_ms=duration_ms(settings.first_look), most_per_partition=_DUE_PER_PARTITION
    )
    chores = [Chore("sweep of bindings", producer.bindings.sweep_some, _SWEEP_EVERY_MS)]
    chores.append(Chore("versions in the ledger", LedgerFormats(producer.redis, __version__).look, _FORMATS_EVERY_MS))
    if settings.sentry_dsn.get_secret_value():
        chores.append(Chore("check-in at Sentry", CheckIns(producer.redis).tell, CHECK_IN_LOOK_MS))
    if old := build_batch_retention(settings, producer.redis, producer.seal, producer.clock):
        chores.append(Chore("removal of old batches", old.remove_old, REMOVE_EVERY_MS))
    return Ticker(
        timetable,
        producer.announcer,
        progress=progress,
        tick_ms=duration_ms(settings.tick),
        heartbeat_file=settings.heartbeat_file,
        clock=producer.clock,
        chores=chores,
    )
