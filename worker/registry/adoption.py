"""Takes bindings into the registry that were made elsewhere, reading the truth from the provider, one by one.

What is in the registry already costs no question, so a file that was stopped half-way is simply given again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from worker.batches.checking import BadRow, BadRowsSink
from worker.clock import Clock
from worker.domain.binding import BindingName, BindingStatus, BoundBinding, NameKind
from worker.domain.durations import duration_ms
from worker.domain.expiration import PROVIDER_MINIMUM, WIRE_FORMAT
from worker.domain.renewal import RenewalPolicy
from worker.errors import FieldFault
from worker.ledger.adopted import AdoptedBindings, FoundBinding, adopted_id
from worker.ledger.bindings import BindingChange
from worker.ledger.callback_records import CallbackWishes
from worker.ledger.kept_binding import KeptBinding
from worker.provider.replies import SubscriptionDetail
from worker.registry.adoption_rows import AdoptRow
from worker.registry.at_once import each
from worker.registry.provider_truth import ProviderTruth, Truth, UnansweredError

_ROWS_PER_LOOK = 200
_MOST_SHOWN = 20


class Registry(Protocol):
    """Which bindings are known: `worker.ledger.bindings`."""

    async def look_up(self, names: Sequence[BindingName]) -> list[list[BoundBinding]]:
        """The bindings with these names."""

    async def change(self, binding_id: str, change: BindingChange) -> bool:
        """Write a change, once. False where there is no such binding."""


class Renewals(Protocol):
    """Who keeps bindings: `worker.ledger.renewals`."""

    async def keep(self, binding_id: str, policy: RenewalPolicy) -> int | None:
        """Keep a binding from now on; Unix ms of its first renewal, or None where there is nothing to renew."""

    async def reschedule(self, binding_id: str) -> int | None:
        """Give the next renewal its time anew."""

    async def read(self, binding_ids: Sequence[str]) -> list[KeptBinding | str]:
        """These bindings, or why they are not kept."""


@dataclass(slots=True)
class AdoptionReport:
    """What a file came to.

    Attributes:
        adopted: taken in, those that had ended in the registry among them.
        known: of them nothing was written: they were in the registry, with a policy or without need of one.
        kept: bindings that get a policy now, new and known ones.
        corrected: of those adopted, how many last until another time than their row says.
        bad: not taken in.
        by_reason: of the bad ones.
        first_bad: some of them.
        stopped_by: why what follows was not done; else empty.
    """

    adopted: int = 0
    known: int = 0
    kept: int = 0
    corrected: int = 0
    bad: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    first_bad: list[BadRow] = field(default_factory=list)
    stopped_by: str = ""

    @property
    def rows(self) -> int:
        """Done so far."""
        return self.adopted + self.known + self.bad

    def add_bad(self, row: BadRow, sink: BadRowsSink | None) -> None:
        """Count one that is not taken in."""
        self.bad += 1
        for fault in row.faults:
            self.by_reason[f"{fault.field}: {fault.rule}"] += 1
        if len(self.first_bad) < _MOST_SHOWN:
            self.first_bad.append(row)
        if sink is not None:
            sink.add(row.line, row.reason, row.cells)


@dataclass(frozen=True, slots=True)
class Adoption:
    """Adopts.

    Attributes:
        account: whose bindings these are.
        pool_key: of rows that name no pool.
        by: who adopts.
        clock: tells how far ahead an end is.
    """

    registry: Registry
    adopted: AdoptedBindings
    renewals: Renewals
    truth: ProviderTruth
    account: str
    pool_key: str
    by: str
    clock: Clock

    async def adopt(
        self,
        rows: Iterable[AdoptRow | BadRow],
        report: AdoptionReport,
        *,
        sink: BadRowsSink | None,
        tell: Callable[[int], None],
    ) -> None:
        """Adopt all of them; the report is true at any moment, also when this is cut short.

        Args:
            rows: judged.
            report: counts what is done.
            sink: for the bad rows.
            tell: called now and then with the rows done so far.

        Raises:
            AccountRefusedError: the provider refuses the account; the rows of this look are to be given again.
            BatchInputError: what follows cannot be read.
            RedisError: or OSError: Redis cannot be asked.
        """
        for window in _windows(rows):
            good = [row for row in window if isinstance(row, AdoptRow)]
            for row in window:
                if isinstance(row, BadRow):
                    report.add_bad(row, sink)
            known = await self.registry.look_up([_name_of(row) for row in good])
            await self._all(good, known, report, sink)
            tell(report.rows)

    async def _all(
        self, rows: list[AdoptRow], known: list[list[BoundBinding]], report: AdoptionReport, sink: BadRowsSink | None
    ) -> None:
        async def one(pair: tuple[AdoptRow, list[BoundBinding]]) -> None:
            row, bindings = pair
            active = [binding for binding in bindings if binding.is_active]
            if active:
                await self._keep_known(row, active[-1], report)
            elif (fault := await self._take_in(row, bindings[-1:], report)) is not None:
                report.add_bad(BadRow(row.line, [fault], row.cells), sink)

        await each(one, zip(rows, known, strict=True))

    async def _keep_known(self, row: AdoptRow, binding: BoundBinding, report: AdoptionReport) -> None:
        if row.request.renew is not None and not await self._is_kept(binding.binding_id):
            await self._keep(row, binding.binding_id, report)
        report.known += 1

    async def _take_in(self, row: AdoptRow, ended: list[BoundBinding], report: AdoptionReport) -> FieldFault | None:
        """Nothing, or why it cannot be. `ended`: what is known of the binding, which should have ended."""
        request = row.request
        pool_key = request.pool_key or self.pool_key
        if not pool_key:
            return FieldFault("pool_key", "", "is required (or AXN_POOL_KEY, or --pool)")
        try:
            truth = await self.truth.of(subs_id=request.subs_id, phone_no_x=request.phone_no_x, pool_key=pool_key)
        except UnansweredError as unanswered:
            return FieldFault("subs_id", "", str(unanswered))
        if fault := self._fault_of(truth):
            return fault
        assert truth.detail is not None  # noqa: S101 - that would have been a fault
        found = self._found(row, pool_key, truth.detail)
        binding_id = ended[0].binding_id if ended else found.binding_id
        if ended:
            by = f"adopted-{truth.expires_at}"
            change = BindingChange(
                by=by, of_subs_id=found.subs_id, status=BindingStatus.ACTIVE, parameters=dict(found.parameters)
            )
            await self.registry.change(binding_id, change)
            await self.renewals.reschedule(binding_id)
        elif not await self.adopted.adopt(found):  # somebody else adopts it just now
            report.known += 1
            return None
        report.adopted += 1
        report.corrected += request.expiration is not None and _differs(request.expiration, truth.detail)
        if request.renew is not None and not await self._is_kept(binding_id):
            await self._keep(row, binding_id, report)
        return None

    def _fault_of(self, truth: Truth) -> FieldFault | None:
        if truth.detail is None:
            return FieldFault("subs_id", "", "there is no such binding with this X in this pool, or no more")
        if not truth.expires_at or not truth.detail.phone_no_a:
            return FieldFault("subs_id", "", "the provider does not tell its A, or its ExpireDate")
        if not truth.is_active or truth.expires_at <= self.clock.unix_ms() + duration_ms(PROVIDER_MINIMUM):
            return FieldFault("subs_id", "", "has run out; bind anew instead")
        return None

    def _found(self, row: AdoptRow, pool_key: str, detail: SubscriptionDetail) -> FoundBinding:
        request = row.request
        parameters = {
            "PoolKey": pool_key,
            "PhoneNoA": detail.phone_no_a,
            "PhoneNoB": detail.phone_no_b,
            "Expiration": detail.expire_date,
            "IsRecordingEnabled": "true" if detail.need_record else "",
            "CallRestrict": detail.call_restrict,
            "OutId": request.out_id or "",
            "OutOrderId": request.out_order_id or "",
        }
        return FoundBinding(
            binding_id=adopted_id(self.account, request.subs_id),
            subs_id=request.subs_id,
            phone_no_x=request.phone_no_x,
            parameters={name: value for name, value in parameters.items() if value},
            adopted_by=self.by,
            callback_url=request.callback_url or "",
            callback_secret_name=request.callback_secret_name or "",
            callback=CallbackWishes(order_key=request.callback_order_key or ""),
        )

    async def _is_kept(self, binding_id: str) -> bool:
        (kept,) = await self.renewals.read([binding_id])
        return not isinstance(kept, str)

    async def _keep(self, row: AdoptRow, binding_id: str, report: AdoptionReport) -> None:
        assert row.request.renew is not None  # noqa: S101 - whoever calls has looked
        await self.renewals.keep(binding_id, row.request.renew.policy)
        report.kept += 1


def _windows(rows: Iterable[AdoptRow | BadRow]) -> Iterator[list[AdoptRow | BadRow]]:
    left = iter(rows)
    while window := list(islice(left, _ROWS_PER_LOOK)):
        yield window


def _name_of(row: AdoptRow) -> BindingName:
    return BindingName(NameKind.SUBS_ID, row.request.subs_id)


def _differs(expiration: object, detail: SubscriptionDetail) -> bool:
    return f"{expiration:{WIRE_FORMAT}}" != detail.expire_date
