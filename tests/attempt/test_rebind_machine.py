"""Whatever the provider does and says, and whenever workers die: no number is lost or doubled in silence."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.domain.job import OnDoubt
from worker.domain.outcome import Outcome, Verdict
from worker.domain.rebinding import RebindMode
from worker.local.redis_server import EmbeddedRedis
from worker.redis_scripts import connect

from .bench import AMBIGUOUS, THROTTLED, WRONG
from .rebind_bench import NEW_A, A, Fate, RebindBench

FATES: tuple[Fate, ...] = (
    "done", "lost", "unheard", "killed", "killed unsent", "taken", AMBIGUOUS, THROTTLED, WRONG,
    Outcome(Verdict.NOT_PROCESSED, "isp.VENDOR_UNAVAILABLE"),
    Outcome(Verdict.CONFLICT, "isv.BIND_CONFLICT"),
    Outcome(Verdict.NO_NUMBER, "isv.NO_AVAILABLE_NUMBER"),
)  # fmt: skip
EXAMPLES = 30


async def check(url: str, mode: RebindMode, chosen: bool, on_doubt: OnDoubt, fates: list[Fate]) -> None:
    redis = connect(url, timeout_ms=2000)
    try:
        await redis.flushall()
        await follow(RebindBench(redis), mode, chosen, on_doubt, fates)
    finally:
        await redis.aclose()


async def follow(bench: RebindBench, mode: RebindMode, chosen: bool, on_doubt: OnDoubt, fates: list[Fate]) -> None:
    numbers = [x for x in bench.sandbox.account.pools["FC1"] if x != bench.old.phone_no_x]
    wishes = {"PhoneNoA": NEW_A, **({"PhoneNoX": numbers[-1]} if chosen and mode is RebindMode.NEW_X else {})}
    bench.sandbox.any_fates = list(fates)
    job = await bench.filed(mode, wishes, on_doubt=on_doubt)

    def never_without_a_number() -> None:
        assert mode is RebindMode.SAME_X or bench.sandbox.live(), "both numbers are lost"

    record = await bench.to_its_end(job, never_without_a_number)
    judge(bench, mode, record)


def judge(bench: RebindBench, mode: RebindMode, record: dict[str, str]) -> None:
    """Whether the end tells what is bound."""
    live = bench.sandbox.live()
    new = [one for one in live if one is not bench.old]
    is_told_unclear = record["state"] == "in_doubt" or record["code"] == "poison"
    assert len(new) <= 1 + int(record.get("possible_orphans", 0)) or is_told_unclear, "doubled in silence"
    assert live or is_told_unclear or record["code"] == "rebind.lost", "lost in silence"
    if record["code"] == "rebind.lost":
        assert not new
    if is_told_unclear:
        return
    by_subs_id = {one.subs_id: one for one in live}
    is_old_there = bench.old in live
    match record["state"], record["code"]:
        case "bound", _:
            assert by_subs_id[record["subs_id"]].phone_no_a == NEW_A
            assert not is_old_there
        case "old_left_bound", _:
            assert by_subs_id[record["subs_id"]].phone_no_a == NEW_A
        case "failed", "rebind.restored" | "rebind.moved":
            assert by_subs_id[record["subs_id"]].phone_no_a == A
            assert bench.replacements.restored_as[-1][1] == record["subs_id"]
        case "failed", "rebind.lost":
            pass
        case "failed", _:
            assert is_old_there
            assert "subs_id" not in record
        case end:
            raise AssertionError(end)
    is_replaced = record["job_id"] in bench.replacements.replaced_for
    assert is_replaced is not is_old_there or record["state"] == "old_left_bound"
    assert mode is RebindMode.SAME_X or not record["code"].startswith("rebind.")


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mode=st.sampled_from(RebindMode),
    chosen=st.booleans(),
    on_doubt=st.sampled_from(OnDoubt),
    fates=st.lists(st.sampled_from(FATES), max_size=12),
)
def test_no_number_is_lost_or_doubled_in_silence(
    redis_server: EmbeddedRedis, mode: RebindMode, chosen: bool, on_doubt: OnDoubt, fates: list[Any]
) -> None:
    asyncio.run(check(redis_server.url(0), mode, chosen, on_doubt, fates))
