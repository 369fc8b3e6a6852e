"""Compares the registry with the provider: what has lapsed or gone there, what is other than we know, what is nobody's.

A binding is asked for by its SubsId and X, and an X for the SubsIds bound on it; the provider has no list of all
bindings. So bindings that we know nothing of are found on the numbers that we know: those of bindings that have ended
here, and those that the operator names.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import StrEnum

from worker.clock import Clock
from worker.domain.binding import BindingName, BindingStatus, BoundBinding, NameKind
from worker.domain.renewal import untold_target
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingChange, BindingLedger
from worker.ledger.index_walk import in_batches
from worker.ledger.keeping import Keeping
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.registration import expires_at_of
from worker.ledger.renewal_keys import renewal_holder
from worker.ledger.renewals import Renewals
from worker.provider.replies import SubscriptionDetail
from worker.registry.at_once import each
from worker.registry.provider_truth import ProviderTruth, Truth, UnansweredError

_PER_READ = 200
_LOOKS = 3
_FOR_EVER_MS = 2**52


class Drift(StrEnum):
    """What is found."""

    LAPSED = "lapsed"
    """Active here; the provider says that it has run out."""
    GONE = "gone"
    """Active here; the provider knows no such binding, or no more."""
    CHANGED = "changed"
    """Active on both sides, with other values."""
    ORPHAN = "orphan"
    """Bound on one of our numbers, and not in the registry."""
    UNANSWERED = "unanswered"
    """The provider did not tell."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        binding_id: in the registry; empty for an orphan.
        fields: what differs, by the wire's names; for an unanswered question the code.
        is_fixed: the registry has been mended, or the binding's renewal brought forward to see to it.
    """

    drift: Drift
    binding_id: str
    subs_id: str
    phone_no_x: str = field(repr=False)
    pool_key: str = ""
    fields: tuple[str, ...] = ()
    is_fixed: bool = False


@dataclass(slots=True)
class DriftReport:
    """What an audit came to.

    Attributes:
        checked: bindings compared.
        numbers: X that were asked for bindings nobody knows.
        counts: findings of each kind.
        fixed: of all findings.
        findings: in the order in which they were found.
        stopped_by: why it is not complete; else empty.
    """

    checked: int = 0
    numbers: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    fixed: int = 0
    findings: list[Finding] = field(default_factory=list)
    stopped_by: str = ""

    def add(self, finding: Finding) -> None:
        """Note one."""
        self.counts[finding.drift.value] += 1
        self.fixed += finding.is_fixed
        self.findings.append(finding)


@dataclass(frozen=True, slots=True)
class AuditScope:
    """What is looked at.

    Attributes:
        pool_key: only bindings of this pool; empty: all.
        share: of the bindings, 0 to 1, drawn at random.
        numbers: further X to ask for bindings, with their pools.
        fix: mend the registry.
    """

    pool_key: str = ""
    share: float = 1.0
    numbers: Sequence[tuple[str, str]] = ()
    fix: bool = False

    def holds(self, binding: BoundBinding) -> bool:
        """Whether a binding is in it: those of old accounts, without pools, cannot be asked for."""
        return bool(binding.pool_key) and self.pool_key in ("", binding.pool_key)


@dataclass(frozen=True, slots=True)
class DriftAudit:
    """Audits.

    Attributes:
        draw: a number in [0, 1) for each binding.
    """

    bindings: BindingLedger
    renewals: Renewals
    keeping: Keeping
    queue: BindingQueue
    truth: ProviderTruth
    clock: Clock
    draw: Callable[[], float]

    async def run(self, scope: AuditScope, report: DriftReport, tell: Callable[[int], None]) -> None:
        """Look at all of them; the report is true at any moment, also when this is cut short.

        Args:
            scope: what to look at.
            report: notes what is found.
            tell: called now and then with how many were looked at so far.

        Raises:
            AccountRefusedError: the provider refuses the account.
            RedisError: or OSError: Redis cannot be asked.
        """
        async with aclosing(self.bindings.expiring_before(_FOR_EVER_MS)) as active:
            async for ids in in_batches(active, _PER_READ):
                drawn = [binding_id for binding_id in ids if self.draw() < scope.share]
                found = [one for one in await self.bindings.read(drawn) if one is not None and one.is_active]
                await each(lambda one: self._compare(one, scope, report), filter(scope.holds, found))
                tell(report.checked)
        for numbers in _batches([*await self._numbers_of_ended(scope), *scope.numbers]):
            await self._ask_numbers(numbers, report)
            tell(report.checked + report.numbers)

    async def _compare(self, binding: BoundBinding, scope: AuditScope, report: DriftReport) -> None:
        """What changed here while the provider was asked is no drift: then it is asked again."""
        seen: BoundBinding | None = binding
        for _ in range(_LOOKS):
            if seen is None or not seen.is_active:
                break
            binding = seen
            try:
                truth = await self.truth.of(
                    subs_id=binding.subs_id, phone_no_x=binding.phone_no_x, pool_key=binding.pool_key
                )
            except UnansweredError as unanswered:
                report.add(_finding(Drift.UNANSWERED, binding, (unanswered.code,)))
                break
            (seen,) = await self.bindings.read([binding.binding_id])
            if seen == binding:
                await self._judge(binding, truth, scope, report)
                break
        report.checked += 1

    async def _judge(self, binding: BoundBinding, truth: Truth, scope: AuditScope, report: DriftReport) -> None:
        if truth.detail is None or not truth.is_active:
            drift = Drift.GONE if truth.detail is None else Drift.LAPSED
            report.add(_finding(drift, binding, is_fixed=scope.fix and await self._end(binding, truth.detail)))
            return
        changed = _changed(binding, truth.detail)
        if changed:
            is_fixed = scope.fix and await self._take_over(binding, changed)
            report.add(_finding(Drift.CHANGED, binding, tuple(changed), is_fixed=is_fixed))

    async def _end(self, binding: BoundBinding, detail: SubscriptionDetail | None) -> bool:
        """A kept binding is seen to by its renewal: that finds it gone and does as its policy says."""
        (kept,) = await self.renewals.read([binding.binding_id])
        if isinstance(kept, KeptBinding) and not kept.is_closed:
            await self.keeping.expect(binding.binding_id, kept.read_at)
            return True
        if detail is None:
            return await self._write(binding, status=BindingStatus.UNBOUND)
        return bool(detail.expire_date) and await self._write(binding, {"Expiration": detail.expire_date})

    async def _take_over(self, binding: BoundBinding, changed: dict[str, str | None]) -> bool:
        if "Expiration" in changed and await self._is_left_to_its_renewal(binding, changed["Expiration"]):
            changed = {name: value for name, value in changed.items() if name != "Expiration"}
            if not changed:
                return True
        is_written = await self._write(binding, changed)
        if is_written and "Expiration" in changed:
            await self.renewals.reschedule(binding.binding_id)
        return is_written

    async def _is_left_to_its_renewal(self, binding: BoundBinding, expiration: str | None) -> bool:
        """An end that a renewal has set and nobody has written: that makes it again, writes it and tells of it."""
        (kept,) = await self.renewals.read([binding.binding_id])
        if not isinstance(kept, KeptBinding) or kept.is_closed or kept.step:
            return False
        if expires_at_of({"Expiration": expiration or ""}) != untold_target(kept.policy, kept.expires_at):
            return False
        await self.keeping.expect(binding.binding_id, kept.read_at)
        return True

    async def _write(
        self,
        binding: BoundBinding,
        parameters: dict[str, str | None] | None = None,
        status: BindingStatus | None = None,
    ) -> bool:
        """Unless somebody is changing the binding just now, or has changed it since it was read."""
        # Not the renewal's own name, or its place would be left with ours. Nobody waits for this one: see `has_ended`.
        holder = f"{renewal_holder(binding.binding_id)}.audit"
        if await self.queue.enlist(binding.subs_id, holder, self.clock.unix_ms()):
            await self.queue.leave(binding.subs_id, holder)
            return False
        try:
            change = BindingChange(
                by=f"audit-{secrets.token_hex(8)}", of_subs_id=binding.subs_id, status=status,
                parameters=parameters or {}, compared=binding.parameters,
            )  # fmt: skip
            return await self.bindings.change(binding.binding_id, change)
        finally:
            await self.queue.leave(binding.subs_id, holder)

    async def _numbers_of_ended(self, scope: AuditScope) -> list[tuple[str, str]]:
        """The X of bindings that have ended here, as far as they are still known."""
        numbers: dict[tuple[str, str], None] = {}
        async with aclosing(self.bindings.expiring_before(self.clock.unix_ms(), since_ms=0)) as ended:
            async for ids in in_batches(ended, _PER_READ):
                for binding in await self.bindings.read(ids):
                    if binding is not None and scope.holds(binding) and self.draw() < scope.share:
                        numbers[binding.phone_no_x, binding.pool_key] = None
        return list(numbers)

    async def _ask_numbers(self, numbers: Sequence[tuple[str, str]], report: DriftReport) -> None:
        names = [BindingName(NameKind.PHONE_NO_X, phone_no_x) for phone_no_x, _ in numbers]
        known = await self.bindings.look_up(names)

        async def ask(at: int) -> None:
            phone_no_x, pool_key = numbers[at]
            try:
                bound = await self.truth.ids_on(phone_no_x, pool_key)
            except UnansweredError as unanswered:
                report.add(Finding(Drift.UNANSWERED, "", "", phone_no_x, pool_key, (unanswered.code,)))
                bound = ()
            ours = {binding.subs_id for binding in known[at] if binding.is_active}
            for subs_id in bound:
                if subs_id and subs_id not in ours and not await self._is_ours_by_now(subs_id):
                    report.add(Finding(Drift.ORPHAN, "", subs_id, phone_no_x, pool_key))
            report.numbers += 1

        await each(ask, range(len(numbers)))

    async def _is_ours_by_now(self, subs_id: str) -> bool:
        """Whether it was bound while we asked."""
        (found,) = await self.bindings.look_up([BindingName(NameKind.SUBS_ID, subs_id)])
        return any(binding.is_active for binding in found)


def _changed(binding: BoundBinding, detail: SubscriptionDetail) -> dict[str, str | None]:
    """BindAxn's parameters that the provider tells otherwise than we know them, as it tells them."""
    known = binding.parameters
    told: dict[str, str | None] = {
        "PhoneNoA": detail.phone_no_a or known.get("PhoneNoA"),
        "Expiration": detail.expire_date or known.get("Expiration"),
        "CallRestrict": detail.call_restrict or None,
    }
    if "PhoneNoB" in known and detail.phone_no_b:  # where none was given, the provider may show one that it made up
        told["PhoneNoB"] = detail.phone_no_b
    if detail.need_record is not None and detail.need_record != (known.get("IsRecordingEnabled") == "true"):
        told["IsRecordingEnabled"] = "true" if detail.need_record else "false"
    return {name: value for name, value in told.items() if value != known.get(name)}


def _finding(drift: Drift, binding: BoundBinding, fields: tuple[str, ...] = (), *, is_fixed: bool = False) -> Finding:
    return Finding(
        drift, binding.binding_id, binding.subs_id, binding.phone_no_x, binding.pool_key, fields, is_fixed
    )  # fmt: skip


def _batches(numbers: Sequence[tuple[str, str]]) -> Iterable[Sequence[tuple[str, str]]]:
    return (numbers[at : at + _PER_READ] for at in range(0, len(numbers), _PER_READ))
