"""The registry on a real ledger, and the sandbox as the provider, without a network between them."""

import csv
import io
import random
import time
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis

from tests.year.provider import KEY_ID, POOL_KEY, SECRET, YearsProvider
from worker.batches.csv_table import CsvTable
from worker.batches.lines import Lines
from worker.batches.sources import Limits
from worker.callbacks.guard import ReceiverRules
from worker.clock import SystemClock
from worker.domain.binding import BindingName, BoundBinding, NameKind
from worker.http import HttpClient
from worker.ledger.adopted import AdoptedBindings, adopted_id
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingLedger
from worker.ledger.keeping import Keeping
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.renewals import Renewals
from worker.provider.actions import BindAxn
from worker.provider.api import ProviderApi
from worker.provider.client import ProviderClient
from worker.provider.replies import BoundNumber
from worker.provider.requests import Credentials
from worker.registry.adoption import Adoption, AdoptionReport
from worker.registry.adoption_rows import AdoptionRules
from worker.registry.drift import AuditScope, DriftAudit, DriftReport
from worker.registry.provider_truth import Politeness, ProviderTruth
from worker.sandbox.bindings import Binding

ACCOUNT, A = "acc", "15012345678"
HOUR_S, DAY_S = 3_600.0, 86_400.0
DAY_MS = 86_400_000


class Now:
    """The sandbox's clock: this machine's, ahead by so much."""

    ahead_s = 0.0

    def unix_s(self) -> float:
        return time.time() + self.ahead_s


class QuickClock(SystemClock):
    """Waits for nobody, and remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept_ms: list[float] = []

    async def sleep_ms(self, delay_ms: float) -> None:
        self.slept_ms.append(delay_ms)


class Bench:
    """All of it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.now = Now()
        self.provider = YearsProvider(self.now, numbers=50, update_per_second=1_000, latency_ms=0)
        self.clock = QuickClock()
        client = ProviderClient(
            cast(HttpClient, self.provider),
            endpoint="https://dyplsapi.example",
            credentials=Credentials(KEY_ID, SECRET),
            signature_version="v3",
            answer_format="json",
            total_timeout_ms=5_000,
            clock=SystemClock(),
        )
        self.api = ProviderApi(client)
        self.bindings = BindingLedger(redis, keep_ms=DAY_MS, result_ttl_ms=DAY_MS)
        self.renewals = Renewals(redis)
        self.adopted = AdoptedBindings(redis, result_ttl_ms=DAY_MS)
        self.truth = ProviderTruth(self.api, Politeness(1_000, self.clock), self.clock)

    async def bound(self, *, hours: float = 48, **given: Any) -> Binding:
        """A binding that somebody else made."""
        fields = {"pool_key": POOL_KEY, "phone_no_a": A, "expiration": wire_s(time.time() + hours * HOUR_S)} | given
        reply = await self.api.bind_axn(BindAxn(**fields))
        assert isinstance(reply.content, BoundNumber), reply.outcome
        binding = self.provider.gateway.account.bindings.get(reply.content.subs_id)
        assert binding is not None
        return binding

    def asked(self) -> int:
        """How many queries the provider has had."""
        actions: Any = self.provider.gateway.stats.as_dict(self.now.unix_s())
        return sum(counts["total"] for name, counts in actions.items() if name.startswith("Query"))

    async def adopt(self, rows: Sequence[dict[str, str]], sink: Any = None, **defaults: Any) -> AdoptionReport:
        """Adopt the rows of a CSV file that says this."""
        report = AdoptionReport()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        stream = io.BufferedReader(cast(Any, io.BytesIO(text.getvalue().encode())))
        table = CsvTable(Lines(stream, None, Limits()), frozenset())
        adoption = Adoption(
            self.bindings, self.adopted, self.renewals, self.truth, ACCOUNT, "", "somebody@here", self.clock
        )
        rules = AdoptionRules(ReceiverRules(), {"pool_key": POOL_KEY} | defaults)
        await adoption.adopt(rules.judged(table, most_rows=1_000), report, sink=sink, tell=lambda _rows: None)
        return report

    async def adopted_binding(self, binding: Binding, **more: str) -> BoundBinding:
        """One that is in the registry now."""
        report = await self.adopt([row_of(binding) | more])
        assert report.adopted == 1, report.by_reason
        return await self.known(binding)

    async def known(self, binding: Binding) -> BoundBinding:
        """As the registry has it."""
        (found,) = await self.bindings.read([adopted_id(ACCOUNT, binding.subs_id)])
        assert found is not None
        return found

    async def kept(self, binding: Binding) -> KeptBinding | str:
        """As its renewals see it."""
        (kept,) = await self.renewals.read([adopted_id(ACCOUNT, binding.subs_id)])
        return kept

    async def audit(self, *, queue: BindingQueue | None = None, **scope: Any) -> DriftReport:
        """Compare everything in this scope."""
        report = DriftReport()
        queue = queue or BindingQueue(self.redis, ttl_ms=DAY_MS)
        found = DriftAudit(
            self.bindings, self.renewals, Keeping(self.redis), queue, self.truth, self.clock, random.random
        )
        await found.run(AuditScope(**scope), report, lambda _looked_at: None)
        return report


def row_of(binding: Binding) -> dict[str, str]:
    """The least that names it."""
    return {"SubsId": binding.subs_id, "PhoneNoX": binding.phone_no_x}


def by_subs_id(binding: Binding) -> BindingName:
    return BindingName(NameKind.SUBS_ID, binding.subs_id)


def wire_s(unix_s: float) -> str:
    """As on the wire, Beijing time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(unix_s + 8 * HOUR_S))
