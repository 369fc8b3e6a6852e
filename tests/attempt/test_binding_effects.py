"""A change that was made stands in the binding's record before its own job says that it is done."""

from typing import Any

import pytest

from tests.ledger.support import bindings_of, put
from worker.attempt.attempt import Attempts
from worker.domain.binding import BindingStatus, BoundBinding
from worker.domain.job import JobKind
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.keys import job_keys
from worker.ledger.records import NewJob, Settlement
from worker.ledger.seal import Seal

from .bench import AMBIGUOUS, DONE, WRONG, Bench, FakeProvider

BIND = {"PhoneNoA": "15012345678", "Expiration": "2099-01-01 00:00:00", "PoolKey": "FC1", "OutId": "c"}
CHANGED = Outcome(Verdict.DONE, "OK", "OK", "request-2", 200)
GONE = Outcome(Verdict.GONE, "isv.SUBS_NOT_EXIST")


async def bound(bench: Bench) -> str:
    bench.provider = FakeProvider(DONE)
    job = await bench.opened(key="b", parameters=BIND)
    assert await bench.attempt(job) == "bound"
    return job.job_id


async def change(bench: Bench, kind: JobKind, key: str = "c", **more: Any) -> NewJob:
    x = "SecretNo" if kind is JobKind.UNBIND else "PhoneNoX"
    named = {"SubsId": "100", x: "17000001111", "PoolKey": "FC1"}
    return await bench.opened(key=key, kind=kind, parameters=named | more.pop("parameters", {}), **more)


async def the(bench: Bench, binding_id: str) -> BoundBinding:
    (binding,) = await bindings_of(bench.redis).read([binding_id])
    assert binding is not None
    return binding


@pytest.mark.parametrize("is_named_by_job", [True, False])
@pytest.mark.parametrize("answer", [CHANGED, GONE])
async def test_an_unbind_ends_the_binding_s_record(bench: Bench, is_named_by_job: bool, answer: Outcome) -> None:
    binding_id = await bound(bench)
    named = binding_id if is_named_by_job else ""
    bench.provider = FakeProvider(answer)
    assert await bench.attempt(await change(bench, JobKind.UNBIND, binding_id=named, is_confirmed=True)) == "unbound"
    assert (await the(bench, binding_id)).status is BindingStatus.UNBOUND


@pytest.mark.parametrize(
    ("aspect", "stored"),
    [
        ({"PhoneNoA": "15000000000"}, {"PhoneNoA": "15000000000"}),
        ({"Expiration": "2098-01-01 00:00:00"}, {"Expiration": "2098-01-01 00:00:00"}),
        ({"OutId": "d"}, {"OutId": "d"}),
        ({"CallRestrict": "CONTROL_AX_DISABLE"}, {"CallRestrict": "CONTROL_AX_DISABLE"}),
        ({"CallRestrict": "CONTROL_CLEAR_DISABLE"}, {}),
        ({"GroupId": "g"}, {}),
    ],
    ids=lambda given: next(iter(given.values()), "none"),
)
async def test_an_update_s_aspect_is_in_the_binding_s_request(
    bench: Bench, aspect: dict[str, str], stored: dict[str, str]
) -> None:
    binding_id = await bound(bench)
    bench.provider = FakeProvider(CHANGED)
    update = await change(bench, JobKind.UPDATE, parameters={"OperateType": "update", **aspect})
    assert await bench.attempt(update) == "updated"
    assert (await the(bench, binding_id)).parameters == BIND | stored


@pytest.mark.parametrize("answer", [AMBIGUOUS, WRONG, GONE])
async def test_what_was_not_surely_done_changes_nothing(bench: Bench, answer: Outcome) -> None:
    binding_id = await bound(bench)
    bench.provider = FakeProvider(answer)
    await bench.attempt(await change(bench, JobKind.UPDATE, parameters={"OutId": "d"}))
    assert (await the(bench, binding_id)).parameters == BIND


async def test_a_binding_of_another_x_or_of_somebody_else_is_left_alone(bench: Bench) -> None:
    binding_id = await bound(bench)
    for number, named in enumerate(({"SecretNo": "17000009999"}, {"SubsId": "999"})):
        bench.provider = FakeProvider(CHANGED)
        assert await bench.attempt(await change(bench, JobKind.UNBIND, str(number), parameters=named)) == "unbound"
    assert (await the(bench, binding_id)).is_active


async def test_the_effect_is_written_before_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker dies where it would settle; whoever comes next repeats both, and the record is the same."""
    binding_id = await bound(bench)

    async def die(*_: object) -> None:
        raise SystemExit("killed")

    bench.provider = FakeProvider(CHANGED, GONE)
    unbind = await change(bench, JobKind.UNBIND, is_confirmed=True)
    with monkeypatch.context() as patched:
        patched.setattr(Attempts, "_settle_and_announce", die)
        with pytest.raises(SystemExit):
            await bench.attempt(unbind)
    ended = await the(bench, binding_id)
    assert ended.status is BindingStatus.UNBOUND
    assert not (await bench.read(unbind)).state.is_end
    assert [await bench.attempt(unbind)] == ["unbound"]
    assert await the(bench, binding_id) == ended


async def test_a_binding_that_is_long_forgotten_holds_no_change_up(bench: Bench) -> None:
    binding_id = await bound(bench)
    await bench.redis.delete(job_keys(binding_id).job)
    bench.provider = FakeProvider(CHANGED)
    assert await bench.attempt(await change(bench, JobKind.UNBIND, binding_id=binding_id)) == "unbound"


async def test_a_redis_that_is_away_in_between_has_the_change_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    binding_id = await bound(bench)
    bench.provider = FakeProvider(CHANGED, CHANGED)
    unbind = await change(bench, JobKind.UNBIND, binding_id=binding_id)
    attempts = bench.attempts()

    async def away(*_: object) -> Settlement:
        raise OSError("away")

    with monkeypatch.context() as patched:
        patched.setattr(type(attempts.effects), "of", away)
        assert await bench.attempt(unbind) == "waiting"
    await put(bench.redis, job_keys(unbind.job_id).job, next_at=1)
    assert await bench.attempt(unbind) == "unbound"
    assert (await the(bench, binding_id)).status is BindingStatus.UNBOUND


async def test_a_binding_that_cannot_be_read_without_a_key_is_waited_for(bench: Bench) -> None:
    binding_id = await bound(bench)
    record = job_keys(binding_id).job
    sealed = Seal({"k": b"k" * 32}, b"i" * 32).number(binding_id, "phone_no_x", "17000001111")
    await put(bench.redis, record, phone_no_x=sealed)
    unbind = await change(bench, JobKind.UNBIND, is_confirmed=True)
    for _ in range(7):  # more than the leases that make a job poison
        bench.provider = FakeProvider(CHANGED)
        assert await bench.attempt(unbind) == "waiting"
        assert (await bench.read(unbind)).code == "encryption.key_missing"
    await put(bench.redis, record, phone_no_x="17000001111")
    bench.provider = FakeProvider(GONE)
    assert await bench.attempt(unbind) == "unbound"
    assert (await the(bench, binding_id)).status is BindingStatus.UNBOUND
