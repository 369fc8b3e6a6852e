"""What drifts apart between the registry and the provider is found, and mended where it may be."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.ledger.support import ledger_of
from tests.registry.bench import HOUR_S, Bench, by_subs_id, row_of, wire_s
from tests.year.provider import POOL_KEY
from worker.domain.binding import BindingStatus
from worker.domain.expiration import parse_expiration, unix_ms
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.bindings import BindingChange
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.renewal_keys import renewal_holder
from worker.ledger.renewal_views import RenewalViews
from worker.registry.drift import Drift, DriftReport
from worker.registry.provider_truth import Truth
from worker.sandbox.bindings import Binding
from worker.sandbox.faults import Fault


def found(report: DriftReport) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.drift.value, finding.subs_id, finding.fields) for finding in report.findings]


def let_lapse(bench: Bench, binding: Binding) -> None:
    """It has run out at the provider, earlier than anybody knows."""
    bench.provider.gateway.account.bindings.set_expiry(binding, time.time())


async def test_what_agrees_is_no_finding(bench: Bench) -> None:
    for more in (
        {"phone_no_b": "15800000000"},
        {"is_recording_enabled": True},
        {"call_restrict": "CONTROL_AX_DISABLE"},
    ):
        await bench.adopted_binding(await bench.bound(**more))
    report = await bench.audit()
    assert (report.checked, report.findings) == (3, [])


async def test_bindings_that_ended_there_are_found_and_noted(bench: Bench) -> None:
    gone, lapsed, living = await bench.bound(), await bench.bound(), await bench.bound()
    for binding in (gone, lapsed, living):
        await bench.adopted_binding(binding)
    bench.provider.end(gone)
    let_lapse(bench, lapsed)
    expected = [("gone", gone.subs_id, ()), ("lapsed", lapsed.subs_id, ())]
    report = await bench.audit()
    assert sorted(found(report)) == expected
    assert report.fixed == 0
    report = await bench.audit(fix=True)
    assert (sorted(found(report)), report.fixed) == (expected, 2)
    assert (await bench.known(gone)).status is BindingStatus.UNBOUND
    assert (await bench.known(lapsed)).status is BindingStatus.LAPSED
    assert (await bench.audit()).counts["gone"] == 0


async def test_a_kept_binding_that_is_gone_is_left_to_its_renewal_at_once(bench: Bench) -> None:
    made = await bench.bound(hours=240)
    await bench.adopted_binding(made, renew_while="open")
    before = await bench.kept(made)
    bench.provider.end(made)
    report = await bench.audit(fix=True)
    assert (found(report), report.fixed) == ([("gone", made.subs_id, ())], 1)
    after = await bench.kept(made)
    assert isinstance(before, KeptBinding)
    assert isinstance(after, KeptBinding)
    assert after.is_active, "its policy decides, not the audit"
    counts = await RenewalViews(bench.renewals).counts()
    assert (counts.kept, counts.late) == (1, 1)


def _console(binding: Binding, what: str) -> None:
    values: dict[str, Any] = {
        "phone_no_a": "15099998888", "phone_no_b": "15800001111", "call_restrict": "CONTROL_BX_DISABLE",
        "need_record": True,
    }  # fmt: skip
    setattr(binding, what, values[what])


@pytest.mark.parametrize(
    ("what", "name", "value"),
    [
        ("phone_no_a", "PhoneNoA", "15099998888"),
        ("phone_no_b", "PhoneNoB", "15800001111"),
        ("call_restrict", "CallRestrict", "CONTROL_BX_DISABLE"),
        ("need_record", "IsRecordingEnabled", "true"),
    ],
)
async def test_what_was_changed_elsewhere_is_taken_over(bench: Bench, what: str, name: str, value: str) -> None:
    made = await bench.bound(phone_no_b="15800000000")
    await bench.adopted_binding(made)
    _console(made, what)
    assert found(await bench.audit()) == [("changed", made.subs_id, (name,))]
    assert (await bench.audit(fix=True)).fixed == 1
    assert (await bench.known(made)).parameters[name] == value
    assert (await bench.audit()).findings == []


async def test_an_end_that_was_changed_elsewhere_moves_the_renewal(bench: Bench) -> None:
    made = await bench.bound(hours=240)
    await bench.adopted_binding(made, renew_while="open")
    bench.provider.gateway.account.bindings.set_expiry(made, float(round(time.time() + 24 * HOUR_S)))
    report = await bench.audit(fix=True)
    kept = await bench.kept(made)
    assert found(report) == [("changed", made.subs_id, ("Expiration",))]
    assert isinstance(kept, KeptBinding)
    assert kept.expires_at == unix_ms(parse_expiration(wire_s(made.expires_at)))
    (due,) = [due for at in range(16) async for due in _scores(bench, at)]
    assert due / 1000 < made.expires_at


class LateQueue(BindingQueue):
    """Lets somebody step in just before an audit takes its place in line: the last moment at which it can be late."""

    def __init__(self, bench: Bench, step: Callable[[], Awaitable[None]]) -> None:
        super().__init__(bench.redis, ttl_ms=60_000)
        self._step = step

    async def enlist(self, subs_id: str, job_id: str, accepted_at: int) -> str:
        await self._step()
        return await super().enlist(subs_id, job_id, accepted_at)


@pytest.mark.parametrize("what", ["changed", "gone"])
@pytest.mark.parametrize("meanwhile", ["updated", "renewed", "unbound"])
async def test_what_is_changed_after_the_last_look_is_not_overwritten(bench: Bench, what: str, meanwhile: str) -> None:
    made = await bench.bound()
    known = await bench.adopted_binding(made)
    if what == "gone":
        bench.provider.end(made)
    else:
        made.call_restrict = "CONTROL_BX_DISABLE"
    changes = {
        "updated": BindingChange(by="u", parameters={"PhoneNoA": "15099998888"}),
        "renewed": BindingChange(by="r", parameters={"Expiration": "2098-01-01 00:00:00"}),
        "unbound": BindingChange(by="b", status=BindingStatus.UNBOUND),
    }

    async def step_in() -> None:
        assert await bench.bindings.change(known.binding_id, changes[meanwhile])

    report = await bench.audit(fix=True, queue=LateQueue(bench, step_in))
    assert report.fixed == 0
    after = await bench.known(made)
    expected = {name: value or "" for name, value in changes[meanwhile].parameters.items()}
    assert (after.status is BindingStatus.UNBOUND) is (meanwhile == "unbound")
    assert after.parameters == {**known.parameters, **expected}


async def test_nobody_waits_for_an_audit_that_died(bench: Bench) -> None:
    made = await bench.bound()
    known = await bench.adopted_binding(made)
    made.call_restrict = "CONTROL_BX_DISABLE"
    names: list[str] = []

    class DyingQueue(BindingQueue):
        async def enlist(self, subs_id: str, job_id: str, accepted_at: int) -> str:
            names.append(job_id)
            return await super().enlist(subs_id, job_id, accepted_at)

        async def leave(self, subs_id: str, job_id: str) -> str:
            return ""

    assert (await bench.audit(fix=True, queue=DyingQueue(bench.redis, ttl_ms=60_000))).fixed == 1
    queue = BindingQueue(bench.redis, ttl_ms=60_000)
    assert [await queue.enlist(made.subs_id, renewal_holder(known.binding_id), 9)] == names
    assert await ledger_of(bench.redis).has_ended(names[0]), "whoever comes takes it out"


async def test_while_a_renewal_is_under_way_nothing_is_written_and_its_place_stays(bench: Bench) -> None:
    made = await bench.bound()
    known = await bench.adopted_binding(made)
    bench.provider.end(made)
    queue = BindingQueue(bench.redis, ttl_ms=60_000)
    assert not await queue.enlist(made.subs_id, renewal_holder(known.binding_id), 1)
    assert (await bench.audit(fix=True)).fixed == 0
    assert await queue.enlist(made.subs_id, "a job", 2) == renewal_holder(known.binding_id)
    await queue.leave(made.subs_id, renewal_holder(known.binding_id))
    assert await queue.enlist(made.subs_id, "a job", 2) == "", "the audit left no place behind"


async def test_an_end_that_a_renewal_set_and_nobody_wrote_is_left_to_that_renewal(bench: Bench) -> None:
    """Its process died with the answer: taken over here, the renewal would never be counted, nor told."""
    made = await bench.bound(hours=240)
    await bench.adopted_binding(made, renew_while="open", extend_by="1d")
    before = await bench.kept(made)
    bench.provider.gateway.account.bindings.set_expiry(made, made.expires_at + 24 * HOUR_S)
    made.phone_no_a = "15099998888"
    report = await bench.audit(fix=True)
    assert (found(report), report.fixed) == ([("changed", made.subs_id, ("PhoneNoA", "Expiration"))], 1)
    after = await bench.kept(made)
    assert isinstance(before, KeptBinding)
    assert isinstance(after, KeptBinding)
    assert (after.expires_at, after.parameters["PhoneNoA"]) == (before.expires_at, "15099998888")
    assert (await RenewalViews(bench.renewals).counts()).late == 1


async def _scores(bench: Bench, partition: int) -> Any:
    client: Any = bench.redis
    for _, score in await client.zrange(f"axn1:{{p{partition:02d}}}:renewals", 0, -1, withscores=True):
        yield score


async def test_a_binding_nobody_knows_is_found_on_the_numbers_of_ended_ones_and_on_named_ones(bench: Bench) -> None:
    ours = await bench.bound()
    known = await bench.adopted_binding(ours)
    bench.provider.end(ours)
    await bench.bindings.change(known.binding_id, BindingChange(by="u", status=BindingStatus.UNBOUND))
    on_ended = await bench.bound(phone_no_x=ours.phone_no_x)
    on_named, adopted = await bench.bound(), await bench.bound()
    await bench.adopted_binding(adopted)
    numbers = [(on_named.phone_no_x, POOL_KEY), (adopted.phone_no_x, POOL_KEY)]
    report = await bench.audit(numbers=numbers)
    orphans = [finding for finding in report.findings if finding.drift is Drift.ORPHAN]
    assert {one.subs_id for one in orphans} == {on_ended.subs_id, on_named.subs_id}
    assert report.numbers == 3
    await bench.adopt([row_of(on_ended), row_of(on_named)])
    assert (await bench.audit(numbers=numbers)).findings == []


async def test_only_what_is_in_the_scope_is_asked_for(bench: Bench) -> None:
    for _ in range(5):
        await bench.adopted_binding(await bench.bound())
    asked = bench.asked()
    assert (await bench.audit(pool_key="FC-other")).checked == 0
    assert (await bench.audit(share=1e-9)).checked == 0
    assert bench.asked() == asked


async def test_a_change_of_ours_while_the_provider_is_asked_is_no_drift(bench: Bench) -> None:
    made = await bench.bound()
    known = await bench.adopted_binding(made)
    answered = bench.truth.of
    new_a = "15099998888"

    async def of(**names: str) -> Truth:
        """Somebody's update of ours is made and written when the older answer is on its way."""
        truth = await answered(**names)
        made.phone_no_a = new_a
        await bench.bindings.change(known.binding_id, BindingChange(by="u", parameters={"PhoneNoA": new_a}))
        return truth

    vars(bench.truth)["of"] = of
    assert (await bench.audit(fix=True)).findings == []
    assert (await bench.known(made)).phone_no_a == new_a


async def test_an_unanswered_question_is_told_and_is_not_taken_for_a_loss(bench: Bench) -> None:
    made = await bench.bound()
    await bench.adopted_binding(made)
    bench.provider.gateway.faults.add(Fault(kind="http_503"))
    report = await bench.audit(fix=True)
    assert found(report) == [("unanswered", made.subs_id, ("ServiceUnavailable",))]
    assert (await bench.known(made)).is_active
    assert (await bench.bindings.look_up([by_subs_id(made)]))[0][0].is_active
