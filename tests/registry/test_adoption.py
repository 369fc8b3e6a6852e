"""Bindings made elsewhere are taken in as the provider tells them, once, and kept as their rows say."""

import time

import pytest

from tests.registry.bench import ACCOUNT, DAY_S, HOUR_S, A, Bench, by_subs_id, row_of, wire_s
from tests.year.provider import POOL_KEY
from worker.domain.binding import BindingName, BindingStatus, NameKind
from worker.domain.expiration import parse_expiration, unix_ms
from worker.ledger.adopted import FoundBinding, adopted_id
from worker.ledger.bindings import BindingChange
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.renewal_views import RenewalViews
from worker.registry.provider_truth import AccountRefusedError
from worker.sandbox.faults import Fault


class Sink:
    """Keeps the bad rows."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []

    def add(self, line: int, reason: str, _cells: object) -> None:
        self.rows.append((line, reason))


async def test_a_binding_is_found_by_all_its_names_and_lasts_as_the_provider_says(bench: Bench) -> None:
    made = await bench.bound(phone_no_b="15800000000", is_recording_enabled=True)
    row = row_of(made) | {"OutOrderId": "order-1", "OutId": "out-1", "Expiration": "2026-01-01 00:00:00"}
    report = await bench.adopt([row])
    assert (report.adopted, report.corrected, report.kept, report.bad) == (1, 1, 0, 0)
    names = [
        by_subs_id(made), BindingName(NameKind.PHONE_NO_X, made.phone_no_x),
        BindingName(NameKind.OUT_ID, "out-1"), BindingName(NameKind.OUT_ORDER_ID, "order-1"),
    ]  # fmt: skip
    for found in await bench.bindings.look_up(names):
        (binding,) = found
        assert (binding.subs_id, binding.status) == (made.subs_id, BindingStatus.ACTIVE)
        assert binding.expires_at == unix_ms(parse_expiration(wire_s(made.expires_at)))
        assert (binding.phone_no_a, binding.pool_key) == (A, POOL_KEY)
        assert binding.parameters["PhoneNoB"] == "15800000000"
        assert binding.parameters["IsRecordingEnabled"] == "true"


async def test_its_row_s_policy_keeps_it(bench: Bench) -> None:
    made = await bench.bound(hours=240)
    report = await bench.adopt([row_of(made) | {"renew_while": "open", "extend_by": "30d", "if_gone": "report"}])
    kept = await bench.kept(made)
    assert (report.adopted, report.kept) == (1, 1)
    assert isinstance(kept, KeptBinding)
    assert (kept.policy.is_while_open, kept.policy.extend_by_ms) == (True, 30 * 86_400_000)
    ((binding_id, due),) = await _due(bench)
    assert binding_id == adopted_id(ACCOUNT, made.subs_id)
    assert time.time() + 4 * DAY_S < due / 1000 < made.expires_at


async def _due(bench: Bench) -> list[tuple[str, int]]:
    return [pair async for pair in RenewalViews(bench.renewals).due_soonest()]


async def test_the_options_policy_is_for_rows_without_their_own(bench: Bench) -> None:
    own, other = await bench.bound(hours=24), await bench.bound(hours=24)
    rows = [row_of(own) | {"renew_for": "20d", "renew_while": ""}, row_of(other)]
    report = await bench.adopt(rows, renew={"while": "open"})
    kept = [await bench.kept(own), await bench.kept(other)]
    assert report.kept == 2
    assert [isinstance(one, KeptBinding) and one.policy.is_while_open for one in kept] == [False, True]


async def test_a_file_given_again_asks_the_provider_nothing_and_changes_nothing(bench: Bench) -> None:
    rows = [row_of(await bench.bound()) | {"renew_while": "open"} for _ in range(5)]
    await bench.adopt(rows[:3])
    asked = bench.asked()
    report = await bench.adopt(rows)
    assert (report.adopted, report.known, report.kept, report.bad) == (2, 3, 2, 0)
    assert bench.asked() == asked + 2


async def test_a_known_binding_gets_a_policy_only_if_it_has_none(bench: Bench) -> None:
    made = await bench.bound()
    await bench.adopt([row_of(made)])
    first = await bench.adopt([row_of(made) | {"renew_for": "30d"}])
    second = await bench.adopt([row_of(made) | {"renew_while": "open"}])
    kept = await bench.kept(made)
    assert [(one.known, one.kept) for one in (first, second)] == [(1, 1), (1, 0)]
    assert isinstance(kept, KeptBinding)
    assert not kept.policy.is_while_open


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"PhoneNoX": "17000000000"}, "no such binding with this X"),
        ({"SubsId": "1000000000009999"}, "no such binding with this X"),
        ({"SubsId": "1.0E+15"}, "subs_id: is in scientific notation"),
        ({"SubsId": ""}, "subs_id: is required"),
        ({"renew_until": "2026-01-01 00:00:00", "renew_for": "30d"}, "renew_until: must give exactly one"),
        ({"extend_by": "30d"}, "renew_until: must give exactly one"),
        ({"renew_while": "open", "extend_by": "1s"}, "extend_by: must be at least 120 s"),
        ({"expect_city": "上海"}, "expect_city: is of no use for adopt"),
        ({"callback_url": "http://shop.example/"}, "callback_url: must be https://"),
    ],
)
async def test_a_bad_row_is_told_with_its_reason_and_the_others_go_on(
    bench: Bench, change: dict[str, str], reason: str
) -> None:
    good, bad = await bench.bound(), await bench.bound()
    sink = Sink()
    report = await bench.adopt([row_of(bad) | change, row_of(good)], sink)
    assert (report.adopted, report.bad, [line for line, _ in sink.rows]) == (1, 1, [2])
    assert reason in sink.rows[0][1]
    assert bad.phone_no_x not in sink.rows[0][1]


async def test_what_has_ended_there_is_not_taken_in(bench: Bench) -> None:
    lapsed, unbound = await bench.bound(hours=1), await bench.bound()
    bench.provider.end(unbound)
    bench.now.ahead_s = 300.0
    bench.provider.gateway.account.bindings.set_expiry(lapsed, time.time())
    sink = Sink()
    report = await bench.adopt([row_of(lapsed), row_of(unbound)], sink)
    assert (report.adopted, report.bad) == (0, 2)
    assert "has run out" in sink.rows[0][1] or "has run out" in sink.rows[1][1]
    assert await bench.bindings.look_up([by_subs_id(lapsed), by_subs_id(unbound)]) == [[], []]


async def test_a_binding_that_has_ended_here_and_lives_there_is_taken_in_again(bench: Bench) -> None:
    made = await bench.bound(hours=240)
    known = await bench.adopted_binding(made, renew_while="open", OutOrderId="order-1")
    await bench.bindings.change(known.binding_id, BindingChange(by="u", status=BindingStatus.UNBOUND))
    await bench.renewals.reschedule(known.binding_id)
    assert await _due(bench) == []
    report = await bench.adopt([row_of(made) | {"OutOrderId": "order-2"}])
    again = await bench.known(made)
    assert (report.adopted, report.known, again.status) == (1, 0, BindingStatus.ACTIVE)
    assert (again.out_order_id, again.phone_no_a) == ("order-2", A)
    assert [binding_id for binding_id, _ in await _due(bench)] == [known.binding_id]
    assert (await bench.bindings.count()).active == 1


async def test_two_rows_of_one_binding_are_one(bench: Bench) -> None:
    made = await bench.bound()
    sink = Sink()
    report = await bench.adopt([row_of(made), row_of(made)], sink)
    assert (report.adopted, sink.rows) == (1, [(3, "row: names the binding of line 2; remove one of the two")])


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="throttle", count=3),
        Fault(kind="close_before", count=3),
        Fault(kind="http_503", count=3),
        Fault(kind="garbage", count=3),
    ],
    ids=lambda fault: fault.kind,
)
async def test_a_question_that_fails_is_asked_again(bench: Bench, fault: Fault) -> None:
    made = await bench.bound()
    bench.provider.gateway.faults.add(fault)
    report = await bench.adopt([row_of(made)])
    assert (report.adopted, report.bad) == (1, 0)
    assert max(bench.clock.slept_ms) >= 500


async def test_a_provider_that_never_answers_costs_its_row_and_no_other(bench: Bench) -> None:
    made, other = await bench.bound(), await bench.bound()
    bench.provider.gateway.faults.add(Fault(kind="http_503", count=6))
    sink = Sink()
    report = await bench.adopt([row_of(made)], sink)
    assert "did not tell (ServiceUnavailable); ask again later" in sink.rows[0][1]
    assert (await bench.adopt([row_of(made), row_of(other)])).adopted == 2
    assert report.bad == 1


async def test_a_refused_account_stops_it_and_the_report_stays_true(bench: Bench) -> None:
    rows = [row_of(await bench.bound()) for _ in range(3)]
    await bench.adopt(rows[:1])
    bench.provider.gateway.faults.add(Fault(kind="business", code="isv.OUT_OF_SERVICE"))
    with pytest.raises(AccountRefusedError, match=r"isv\.OUT_OF_SERVICE"):
        await bench.adopt(rows)
    bench.provider.gateway.faults.clear()
    report = await bench.adopt(rows)
    assert (report.adopted, report.known) == (2, 1)


async def test_taking_in_twice_writes_once(bench: Bench) -> None:
    found = FoundBinding(
        adopted_id(ACCOUNT, "77"), "77", "17011112222",
        {"PhoneNoA": A, "PoolKey": POOL_KEY, "Expiration": wire_s(time.time() + HOUR_S)}, "somebody",
    )  # fmt: skip
    assert [await bench.adopted.adopt(found), await bench.adopted.adopt(found)] == [True, False]
    assert (await bench.bindings.count()).active == 1
    (binding,) = (await bench.bindings.look_up([BindingName(NameKind.SUBS_ID, "77")]))[0]
    assert binding.binding_id == found.binding_id


async def test_a_forgotten_binding_is_neither_found_nor_renewed(bench: Bench) -> None:
    made, other = await bench.bound(), await bench.bound()
    for binding in (made, other):
        await bench.adopted_binding(binding, renew_while="open", OutOrderId="order-1")
    forgotten = adopted_id(ACCOUNT, made.subs_id)
    assert [await bench.adopted.forget(forgotten), await bench.adopted.forget(forgotten)] == [True, False]
    order = BindingName(NameKind.OUT_ORDER_ID, "order-1")
    by_id, by_order = await bench.bindings.look_up([by_subs_id(made), order])
    assert (by_id, [one.subs_id for one in by_order]) == ([], [other.subs_id])
    assert [binding_id for binding_id, _ in await _due(bench)] == [adopted_id(ACCOUNT, other.subs_id)]
    assert made.ended is None
    assert (await bench.adopt([row_of(made)])).adopted == 1
