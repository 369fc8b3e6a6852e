"""The operator's face of kept bindings: how renewals stand, and the registry held against the provider.

As in `worker.producers`, one background loop and one set of connections per process; all functions block their thread.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.batches.checking import BadRow, BadRowsSink
from worker.bootstrap import ProducerServices, paced_provider
from worker.domain.durations import duration_ms
from worker.domain.job import JobState, Lane
from worker.errors import SettingsError
from worker.ledger.adopted import AdoptedBindings
from worker.ledger.assembly import build_retention
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.expiry_checks import ExpiryCheck
from worker.ledger.keeping import Keeping
from worker.ledger.renewal_views import RenewalCounts, RenewalViews
from worker.pace.keys import account_of
from worker.producer_process import ask_to_its_end
from worker.provider.api import ProviderApi
from worker.registry.adoption import Adoption, AdoptionReport
from worker.registry.adoption_rows import AdoptRow
from worker.registry.alarm import Risk
from worker.registry.assembly import build_risk_view
from worker.registry.drift import AuditScope, DriftAudit, DriftReport
from worker.registry.outlook import ACTION, HourAhead, RenewalPace, hours_ahead, renewal_pace
from worker.registry.provider_truth import Politeness, ProviderTruth
from worker.renewals.assembly import build_expiry_checks
from worker.settings import load_settings


@dataclass(frozen=True, slots=True)
class RenewalState:
    """How renewals stand.

    Attributes:
        expiry: whether this account's ExpireDate reads as it is set.
        risk: what will end before it can be renewed.
    """

    account: str
    counts: RenewalCounts
    expiry: ExpiryCheck
    risk: Risk


@dataclass(frozen=True, slots=True)
class Forecast:
    """What falls due, hour by hour, and what the pace has room for."""

    account: str
    pace: RenewalPace
    hours: list[HourAhead]


def renewal_state() -> RenewalState:
    """Raises LedgerUnavailableError where Redis did not answer, SettingsError where no setting names the account."""

    async def look(services: ProducerServices) -> RenewalState:
        settings = services.settings
        view = build_risk_view(settings, services.renewals, services.pace_desk)
        return RenewalState(
            account_of(settings.access_key_id),
            await RenewalViews(services.renewals).counts(),
            await build_expiry_checks(services.redis, settings).read(),
            await view.risk(),
        )

    _check_account()
    return ask_to_its_end(look)


def renewal_forecast(hours: int) -> Forecast:
    """What the next hours bring; raises as `renewal_state`."""

    async def look(services: ProducerServices) -> Forecast:
        settings = services.settings
        pace = renewal_pace(await services.pace_desk.read([ACTION]), settings.pace.assured_share)
        due = await RenewalViews(services.renewals).forecast(hours)
        return Forecast(account_of(settings.access_key_id), pace, hours_ahead(due, pace.per_second))

    _check_account()
    return ask_to_its_end(look)


def check_expiry_again() -> None:
    """Forget what ExpireDate read as: the account's next renewal reads it back anew. Raises as `renewal_state`."""
    _check_account()
    ask_to_its_end(lambda services: build_expiry_checks(services.redis, services.settings).check_again())


def forget_binding(binding_id: str) -> bool:
    """Take a binding out of the registry; False where it is not in it. At the provider it stays as it is."""
    return ask_to_its_end(lambda services: _adopted(services).forget(binding_id))


def adopt_bindings(
    rows: Iterable[AdoptRow | BadRow],
    report: AdoptionReport,
    *,
    by: str,
    per_second: float,
    pool_key: str = "",
    sink: BadRowsSink | None = None,
    tell: Callable[[int], None] = lambda _rows: None,
) -> None:
    """Take bindings in: see `worker.registry.adoption.Adoption.adopt`. The report is true also when this is cut short.

    Args:
        rows: judged.
        report: counts what is done.
        by: who adopts.
        per_second: questions to the provider at most.
        pool_key: of rows that name no pool; default AXN_POOL_KEY.
        sink: for the bad rows.
        tell: called now and then with the rows done so far.

    Raises:
        SettingsError: there are no credentials.
        AccountRefusedError: the provider refuses the account.
        BatchInputError: what follows cannot be read.
        LedgerUnavailableError: Redis did not answer.
    """

    async def adopt(services: ProducerServices) -> None:
        settings = services.settings
        async with _truth(services, per_second) as truth:
            adoption = Adoption(
                services.bindings, _adopted(services), services.renewals, truth, account_of(settings.access_key_id),
                pool_key or settings.pool_key, by, services.clock,
            )  # fmt: skip
            await adoption.adopt(rows, report, sink=sink, tell=tell)

    ask_to_its_end(adopt)


def audit_bindings(
    scope: AuditScope, report: DriftReport, *, per_second: float, tell: Callable[[int], None] = lambda _looked_at: None
) -> None:
    """Compare the registry with the provider: see `worker.registry.drift.DriftAudit.run`.

    Args:
        scope: what to look at.
        report: notes what is found; true also when this is cut short.
        per_second: questions to the provider at most.
        tell: called now and then with how many were looked at so far.

    Raises:
        SettingsError: there are no credentials.
        AccountRefusedError: the provider refuses the account.
        LedgerUnavailableError: Redis did not answer.
    """

    async def audit(services: ProducerServices) -> None:
        settings = services.settings
        async with _truth(services, per_second) as truth:
            queue = BindingQueue(services.redis, ttl_ms=duration_ms(settings.result_ttl))
            keeping = Keeping(services.redis, spread=settings.renewal.spread)
            found = DriftAudit(
                services.bindings, services.renewals, keeping, queue, truth, services.clock, random.random
            )
            await found.run(scope, report, tell)

    ask_to_its_end(audit)


@asynccontextmanager
async def _truth(services: ProducerServices, per_second: float) -> AsyncIterator[ProviderTruth]:
    async with paced_provider(services) as provider:
        api = ProviderApi(provider.for_lane(Lane.BATCH))
        yield ProviderTruth(api, Politeness(per_second, services.clock), services.clock)


def _check_account() -> None:
    """Another account's renewals may be well while this one's stand still."""
    settings = load_settings()
    if settings.credentials == "static" and not settings.access_key_id:
        raise SettingsError(
            "AXN_ACCESS_KEY_ID (or ALIBABA_CLOUD_ACCESS_KEY_ID): must be the workers' key id, "
            "renewals are looked at for its account"
        )


def _adopted(services: ProducerServices) -> AdoptedBindings:
    result_ttl_ms = build_retention(services.settings).ms(JobState.BOUND)
    return AdoptedBindings(services.redis, result_ttl_ms=result_ttl_ms, seal=services.seal)
