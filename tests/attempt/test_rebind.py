"""Rebinds: the good ways, each refusal, each point at which a worker may die."""

import json

import pytest
from redis.asyncio import Redis

from tests.ledger.support import lapse, put
from worker.clock import SystemClock
from worker.domain.job import JobKind, Lane, OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.domain.rebinding import RebindMode
from worker.ledger.binding_queue import BindingQueue
from worker.ledger.keys import job_keys

from .bench import AMBIGUOUS, THROTTLED, WRONG
from .rebind_bench import EXPIRATION, NEW_A, POOL, A, Fate, KilledError, RebindBench, reaching

NEW_X, SAME_X = RebindMode.NEW_X, RebindMode.SAME_X
both_modes = pytest.mark.parametrize("mode", RebindMode)
STEPS = {
    NEW_X: ["QuerySubscriptionDetail", "BindAxn", "UnbindSubscription"],
    SAME_X: ["QuerySubscriptionDetail", "UnbindSubscription", "BindAxn"],
}
GONE = Outcome(Verdict.GONE, "isv.SUBS_NOT_EXIST")
BUSY = Outcome(Verdict.NOT_PROCESSED, "isp.VENDOR_UNAVAILABLE")
NO_NUMBER = Outcome(Verdict.NO_NUMBER, "isv.NO_AVAILABLE_NUMBER")
CONFLICT = Outcome(Verdict.CONFLICT, "isv.BIND_CONFLICT")


@pytest.fixture
def bench(redis: Redis) -> RebindBench:
    return RebindBench(redis)


# --- the good ways ---


@both_modes
async def test_each_step_is_an_attempt_and_the_new_binding_differs_only_in_what_was_asked(
    bench: RebindBench, mode: RebindMode
) -> None:
    job = await bench.filed(mode)
    assert [await bench.step(job) for _ in range(3)] == ["waiting", "waiting", "bound"]
    assert bench.sandbox.actions == STEPS[mode]
    (new,) = bench.sandbox.live()
    record = await bench.record(job)
    assert (record["phone_no_x"], record["subs_id"], record["attempts"]) == (new.phone_no_x, new.subs_id, "3")
    assert (new.phone_no_x == bench.old.phone_no_x) is (mode is SAME_X)
    assert (new.phone_no_a, new.phone_no_b, new.expires_at) == (NEW_A, bench.old.phone_no_b, bench.old.expires_at)
    assert bench.replacements.replaced_for == [job.job_id]
    assert json.loads(record["request"])["PhoneNoA"] == NEW_A
    data = bench.event()["data"]
    assert bench.event()["type"] == "rebind.succeeded"
    assert (data["old_phone_no_x"], data["old_subs_id"]) == (bench.old.phone_no_x, bench.old.subs_id)
    assert (data["phone_no_x"], data["subs_id"], data["mode"]) == (new.phone_no_x, new.subs_id, mode.value)


@both_modes
async def test_the_steps_of_a_quiet_rebind_follow_each_other_in_one_process(
    bench: RebindBench, mode: RebindMode
) -> None:
    bench.short_wait_ms, bench.clock = 1_000, SystemClock()
    job = await bench.filed(mode)
    assert await bench.step(job) == "bound"


async def test_what_no_query_tells_is_taken_from_the_job_that_bound_before(bench: RebindBench) -> None:
    asked = {"PhoneNoA": "15000000000", "Expiration": EXPIRATION, "OutId": "o", "OutOrderId": "order", "PoolKey": POOL}
    made = await bench.opened(key="made", parameters={**asked, "CallTimeout": "20", "PhoneNoX": "17000000000"})
    await put(bench.redis, job_keys(made.job_id).job, state="bound", finished_at=1)
    job = await bench.filed(NEW_X, {"OutOrderId": "order-2"}, binding_id=made.job_id)
    await bench.to_its_end(job)
    sent = bench.sandbox.sent[1]
    assert {name: sent[name] for name in ("OutId", "OutOrderId", "CallTimeout")} == {
        "OutId": "o", "OutOrderId": "order-2", "CallTimeout": "20",
    }  # fmt: skip
    assert (sent["PhoneNoA"], "PhoneNoX" in sent) == (A, False)


async def test_a_number_that_no_b_can_have_is_not_taken_over(bench: RebindBench) -> None:
    bench.old.phone_no_b = "1767323045123"
    await bench.to_its_end(await bench.filed(NEW_X))
    assert "PhoneNoB" not in bench.sandbox.sent[1]


# --- nothing is changed where nothing can be done ---


@both_modes
@pytest.mark.parametrize("how", ["unbound", "lapsed"])
async def test_an_old_binding_that_is_gone_fails_the_job(bench: RebindBench, mode: RebindMode, how: str) -> None:
    if how == "unbound":
        bench.sandbox.account.bindings.end(bench.old, "unbound", 1)
    else:
        bench.sandbox.account.bindings.set_expiry(bench.old, 1)
    record = await bench.to_its_end(await bench.filed(mode))
    assert (record["state"], record["code"]) == ("failed", "binding.gone")
    assert bench.sandbox.actions == ["QuerySubscriptionDetail"]


async def test_a_binding_made_a_moment_ago_may_not_be_seen_yet(bench: RebindBench) -> None:
    bench.read_lag_ms = 20_000
    bench.sandbox.fates["QuerySubscriptionDetail"] = [GONE]
    made = await bench.opened(key="made", parameters={"PhoneNoA": A, "Expiration": EXPIRATION})
    await put(bench.redis, job_keys(made.job_id).job, state="bound", finished_at=2**53)
    job = await bench.filed(NEW_X, binding_id=made.job_id)
    assert await bench.step(job) == "waiting"
    assert (await bench.record(job))["code"] == "binding.unseen"
    assert (await bench.to_its_end(job))["state"] == "bound"


@both_modes
async def test_past_its_deadline_a_rebind_changes_nothing(bench: RebindBench, mode: RebindMode) -> None:
    job = await bench.filed(mode, deadline_at_ms=2**53)
    assert await bench.step(job) == "waiting"
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    record = await bench.to_its_end(job)
    assert (record["state"], bench.sandbox.actions) == ("expired", ["QuerySubscriptionDetail"])
    assert bench.sandbox.live() == [bench.old]


@both_modes
async def test_a_deadline_that_passes_after_the_first_change_does_not_matter(
    bench: RebindBench, mode: RebindMode
) -> None:
    job = await bench.filed(mode, deadline_at_ms=2**53)
    for _ in range(2):
        assert await bench.step(job) == "waiting"
    assert (await bench.record(job))["deadline_at"] == "0"
    assert (await bench.to_its_end(job))["state"] == "bound"


async def test_an_unclear_unbind_of_the_same_x_is_past_all_deadlines(bench: RebindBench) -> None:
    bench.sandbox.fates["UnbindSubscription"] = ["lost"]
    job = await bench.filed(SAME_X, deadline_at_ms=2**53)
    for _ in range(2):
        await bench.step(job)
    assert (await bench.record(job))["deadline_at"] == "0"
    killed = await bench.filed(SAME_X, key="killed", deadline_at_ms=2**53)
    assert killed.job_id != job.job_id
    assert (await bench.to_its_end(job))["state"] == "bound"


async def test_a_worker_that_died_unbinding_the_same_x_leaves_nothing_to_a_deadline(bench: RebindBench) -> None:
    bench.sandbox.fates["UnbindSubscription"] = ["killed"]
    job = await bench.filed(SAME_X, deadline_at_ms=2**53)
    assert [await bench.step(job) for _ in range(2)] == ["waiting", "killed"]
    await put(bench.redis, job_keys(job.job_id).job, deadline_at=1)
    assert (await bench.to_its_end(job))["state"] == "bound"


@both_modes
async def test_an_expiration_too_near_changes_nothing(bench: RebindBench, mode: RebindMode) -> None:
    record = await bench.to_its_end(await bench.filed(mode, {"Expiration": "2020-01-01 00:00:00"}))
    assert (record["state"], record["code"]) == ("failed", "expiration.too_near")
    assert bench.sandbox.live() == [bench.old]


@both_modes
@pytest.mark.parametrize("fate", [WRONG, BUSY, THROTTLED], ids=["refused", "not processed", "throttled"])
async def test_a_first_change_that_is_refused_for_good_leaves_the_old_binding(
    bench: RebindBench, mode: RebindMode, fate: Outcome
) -> None:
    first = STEPS[mode][1]
    bench.sandbox.fates[first] = [fate] * 3
    record = await bench.to_its_end(await bench.filed(mode))
    if fate is THROTTLED:  # that costs nothing but time
        assert record["state"] == "bound"
        return
    assert (record["state"], record["code"]) == ("failed", fate.code)
    assert bench.sandbox.live() == [bench.old]
    assert bench.replacements.replaced_for == []


@pytest.mark.parametrize("missing", ["ExpireDate", "PhoneNoA"])
async def test_an_answer_that_does_not_tell_enough_changes_nothing(bench: RebindBench, missing: str) -> None:
    detail = {"PhoneNoA": A, "ExpireDate": EXPIRATION, "Status": "1", missing: ""}
    bench.sandbox.fates["QuerySubscriptionDetail"] = [
        Outcome(Verdict.DONE, "OK", answer={"SecretBindDetailDTO": detail})
    ]
    record = await bench.to_its_end(await bench.filed(SAME_X))
    assert (record["state"], record["code"], bench.sandbox.live()) == ("failed", "binding.unreadable", [bench.old])


async def test_a_refused_message_fails_unsent(bench: RebindBench) -> None:
    job = await bench.opened(kind=JobKind.REBIND, parameters={}, refusal="subs_id: is required")
    assert await bench.step(job) == "failed"
    assert (bench.sandbox.actions, bench.event()["type"]) == ([], "rebind.failed")


# --- another X ---


async def test_no_free_number_is_waited_for_as_a_bind_waits(bench: RebindBench) -> None:
    bench.sandbox.fates["BindAxn"] = [NO_NUMBER] * 2
    job = await bench.filed(NEW_X)
    assert [await bench.step(job) for _ in range(4)] == ["waiting"] * 4
    assert (await bench.to_its_end(job))["state"] == "bound"


@pytest.mark.parametrize("on_doubt", OnDoubt)
async def test_a_new_x_of_which_no_answer_tells_is_in_doubt_and_the_old_one_stays(
    bench: RebindBench, on_doubt: OnDoubt
) -> None:
    bench.sandbox.fates["BindAxn"] = ["lost"]
    record = await bench.to_its_end(await bench.filed(NEW_X, on_doubt=on_doubt))
    if on_doubt is OnDoubt.HOLD:
        assert (record["state"], record["step"]) == ("in_doubt", "bind_new")
        assert bench.old in bench.sandbox.live()
    else:
        assert (record["state"], record["possible_orphans"]) == ("bound", "1")


@pytest.mark.parametrize("fate", [WRONG, AMBIGUOUS], ids=["refused", "unclear"])
async def test_an_old_binding_that_cannot_be_ended_is_left_bound_and_said_so(bench: RebindBench, fate: Outcome) -> None:
    bench.sandbox.fates["UnbindSubscription"] = [fate] * 3
    record = await bench.to_its_end(await bench.filed(NEW_X))
    assert (record["state"], record["code"]) == ("old_left_bound", fate.code)
    new = next(one for one in bench.sandbox.live() if one is not bench.old)
    assert (record["phone_no_x"], record["subs_id"]) == (new.phone_no_x, new.subs_id)
    assert bench.event()["type"] == "rebind.old_left_bound"
    assert bench.event()["data"]["phone_no_x"] == new.phone_no_x
    assert await bench.ledger.bindings_of([record["job_id"]]) != ["old_left_bound"]
    assert await bench.ledger.claim(record["job_id"], Lane.CHECKOUT, token="t", lease_ms=1) == "ended"


async def test_an_old_binding_that_ended_meanwhile_is_a_success(bench: RebindBench) -> None:
    job = await bench.filed(NEW_X)
    for _ in range(2):
        await bench.step(job)
    bench.sandbox.account.bindings.end(bench.old, "expired", 1)
    assert (await bench.to_its_end(job))["state"] == "bound"


# --- the same X ---


async def test_x_that_the_provider_does_not_give_free_at_once_is_asked_for_again(bench: RebindBench) -> None:
    bench.sandbox.fates["BindAxn"] = [CONFLICT] * 2
    job = await bench.filed(SAME_X)
    assert [await bench.step(job) for _ in range(2)] == ["waiting"] * 2
    for _ in range(2):
        await lapse(bench.redis, job.job_id)
        assert await bench.attempts().attempt(Lane.CHECKOUT, job.job_id) == "waiting"
    record = await bench.record(job)
    assert (record["step"], int(record["refused_since"]) > 1) == ("bind_same_x", True)
    assert (await bench.to_its_end(job))["state"] == "bound"


async def test_a_lagging_view_of_the_old_binding_is_not_taken_for_the_new_one(redis: Redis) -> None:
    bench = RebindBench(redis, read_lag_ms=60_000)
    bench.old.created_at = bench.old.changed_at = 1
    bench.sandbox.fates["BindAxn"] = ["unheard", Outcome(Verdict.NONCE_USED, "SignatureNonceUsed")]
    record = await bench.to_its_end(await bench.filed(SAME_X, {"CallTimeout": "10"}))
    (new,) = bench.sandbox.live()
    assert (record["state"], record["subs_id"]) == ("bound", new.subs_id)
    assert new is not bench.old


async def test_a_conflict_with_our_own_attempt_is_looked_up_until_it_can_be_seen(redis: Redis) -> None:
    bench = RebindBench(redis, read_lag_ms=60_000)
    bench.old.created_at = bench.old.changed_at = 1
    bench.sandbox.fates["BindAxn"] = ["lost"]
    job = await bench.filed(SAME_X)
    for _ in range(4):  # read, unbound, lost; its nonce is used, and it cannot be seen yet
        assert await bench.step(job) == "waiting"
    assert (await bench.record(job))["code"] == "look_up.free"
    bench.sandbox.account.bindings._read_lag_s = 0
    record = await bench.to_its_end(job)
    (new,) = bench.sandbox.live()
    assert (record["state"], record["subs_id"]) == ("bound", new.subs_id)
    assert bench.sandbox.actions.count("BindAxn") == 3


@both_modes
async def test_each_step_has_retries_of_its_own(bench: RebindBench, mode: RebindMode) -> None:
    bench.sandbox.fates.update({action: [BUSY] * 2 for action in STEPS[mode]})
    assert (await bench.to_its_end(await bench.filed(mode)))["state"] == "bound"


@pytest.mark.parametrize(
    ("fate", "fates"),
    [(WRONG, [WRONG]), (NO_NUMBER, [NO_NUMBER] * 3), (WRONG, [CONFLICT, WRONG, CONFLICT])],
    ids=["refused", "no number", "not free at once each time"],
)
async def test_x_that_cannot_be_bound_as_asked_is_bound_as_it_was(
    bench: RebindBench, fate: Outcome, fates: list[Fate]
) -> None:
    bench.sandbox.fates["BindAxn"] = list(fates)
    job = await bench.filed(SAME_X)
    record = await bench.to_its_end(job)
    (restored,) = bench.sandbox.live()
    assert (record["state"], record["code"], record["subs_id"]) == ("failed", "rebind.restored", restored.subs_id)
    assert (restored.phone_no_x, restored.phone_no_a, restored.phone_no_b, restored.expires_at) == (
        bench.old.phone_no_x, A, bench.old.phone_no_b, bench.old.expires_at,
    )  # fmt: skip
    assert fate.code in record["message"]
    assert bench.replacements.restored_as == [(restored.phone_no_x, restored.subs_id)]
    assert bench.event()["data"]["phone_no_x"] == restored.phone_no_x


async def test_x_that_a_stranger_has_taken_is_replaced_by_any_other(bench: RebindBench) -> None:
    bench.sandbox.fates["BindAxn"] = ["taken"]
    record = await bench.to_its_end(await bench.filed(SAME_X))
    (moved,) = bench.sandbox.live()
    assert (record["state"], record["code"], record["phone_no_x"]) == ("failed", "rebind.moved", moved.phone_no_x)
    assert (moved.phone_no_a, moved.phone_no_x != bench.old.phone_no_x) == (A, True)
    assert bench.sandbox.actions.count("BindAxn") == 3, "to restore what a stranger has is not tried"
    assert bench.replacements.restored_as == [(moved.phone_no_x, moved.subs_id)]


async def test_a_number_that_is_lost_is_told_as_lost(bench: RebindBench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sandbox.fates["BindAxn"] = [WRONG] * 3
    record = await bench.to_its_end(await bench.filed(SAME_X))
    assert (record["state"], record["code"], bench.sandbox.live()) == ("failed", "rebind.lost", [])
    assert "rebind.lost" in "".join(entry.message for entry in caplog.records if entry.levelname == "ERROR")
    assert bench.old.phone_no_x not in caplog.text


async def test_an_unbind_of_the_same_x_that_stays_unclear_is_in_doubt(bench: RebindBench) -> None:
    bench.sandbox.fates["UnbindSubscription"] = ["unheard"] * 3
    record = await bench.to_its_end(await bench.filed(SAME_X))
    assert (record["state"], record["step"]) == ("in_doubt", "unbind_old")


# --- one at a time ---


async def test_a_change_of_the_old_binding_waits_until_the_rebind_has_ended(bench: RebindBench) -> None:
    job = await bench.filed(NEW_X)
    await bench.step(job)
    unbind = {"SubsId": bench.old.subs_id, "SecretNo": bench.old.phone_no_x, "PoolKey": POOL}
    other = await bench.opened(key="other", kind=JobKind.UNBIND, parameters=unbind, is_confirmed=True)
    assert await bench.step(other) == "waiting"
    assert (await bench.record(other))["code"] == "binding.busy"
    await bench.to_its_end(job)
    assert await bench.step(other) == "unbound"


async def test_a_rebind_waits_for_an_earlier_change(bench: RebindBench) -> None:
    other = await bench.opened(key="other")
    await BindingQueue(bench.redis, ttl_ms=60_000).enlist(bench.old.subs_id, other.job_id, 1)
    job = await bench.filed(NEW_X)
    assert await bench.step(job) == "waiting"
    assert ((await bench.record(job))["code"], bench.sandbox.actions) == ("binding.busy", [])


# --- dying ---


async def reached_by(bench: RebindBench, mode: RebindMode) -> int:
    seen: list[str] = []
    with reaching(seen.append):
        await bench.to_its_end(await bench.filed(mode))
    return len(seen)


@both_modes
async def test_a_worker_may_die_at_every_boundary_and_nothing_is_doubled_or_lost(
    redis: Redis, mode: RebindMode
) -> None:
    boundaries = await reached_by(RebindBench(redis), mode)
    assert boundaries >= 9
    for fatal in range(boundaries):
        await redis.flushall()
        bench, passed = RebindBench(redis), [0]

        def die(_: str, passed: list[int] = passed, fatal: int = fatal) -> None:
            passed[0] += 1
            if passed[0] == fatal + 1:
                raise KilledError

        job = await bench.filed(mode, {"PhoneNoA": NEW_A, "PhoneNoX": x} if (x := chosen_x(bench, mode)) else None)
        with reaching(die):
            record = await bench.to_its_end(job)
        assert record["state"] == "bound", fatal
        (new,) = bench.sandbox.live()
        assert (record["subs_id"], new.phone_no_a) == (new.subs_id, NEW_A), fatal
        assert job.job_id in bench.replacements.replaced_for


def chosen_x(bench: RebindBench, mode: RebindMode) -> str:
    """With one, a bind whose worker died can be looked up."""
    free = next(x for x in bench.sandbox.account.pools[POOL] if x != bench.old.phone_no_x)
    return free if mode is NEW_X else ""


@pytest.mark.parametrize(
    ("mode", "fates", "end", "said"),
    [
        (NEW_X, {"QuerySubscriptionDetail": ["killed"] * 9}, ("failed", "0"), "look_up: * nothing was changed"),
        (NEW_X, {"BindAxn": ["killed unsent"] * 9}, ("failed", "1"), "bind_new: * a new one may be, too"),
        (
            NEW_X,
            {"UnbindSubscription": ["killed"] * 9},
            ("old_left_bound", "0"),
            "unbind_old: * the old one may be, too",
        ),
        (SAME_X, {"UnbindSubscription": ["killed"] * 9}, ("failed", "0"), "unbind_old: * may have ended"),
        (SAME_X, {"BindAxn": ["killed"] * 9}, ("failed", "1"), "bind_same_x: * may be bound to nobody"),
        (SAME_X, {"BindAxn": [WRONG, *["killed"] * 9]}, ("failed", "1"), "restore: * may be bound to nobody"),
        (SAME_X, {"BindAxn": [WRONG, WRONG, *["killed"] * 9]}, ("failed", "1"), "last_resort: * another X may be"),
    ],
)
async def test_a_poisonous_rebind_says_where_it_ended_and_what_may_be_bound(
    bench: RebindBench, mode: RebindMode, fates: dict[str, list[Fate]], end: tuple[str, str], said: str
) -> None:
    bench.sandbox.fates.update(fates)
    record = await bench.to_its_end(await bench.filed(mode))
    assert (record["state"], record.get("possible_orphans", "0"), record["code"]) == (*end, "poison")
    where, what = said.split(" * ")
    assert where in record["message"]
    assert what in record["message"]
    assert ("phone_no_x" in record) is (end[0] == "old_left_bound")
