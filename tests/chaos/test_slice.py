"""The most telling cells of the fault matrix, small: `make chaos` plays all of them with twenty thousand jobs."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from tests.chaos import batch_bench
from tests.chaos.bench import Bench, Cell, CellResult, play
from tests.chaos.callback_bench import options, receiving
from tests.chaos.cells import batches, provider, queue_faults, receivers, redis_faults, workers
from tests.chaos.cells.control import play_control
from tests.chaos.system import clean_environment

SEED = 11
CRASH_STEPS = ("attempt.claimed", "attempt.sending+20", "attempt.answered", "callback.answered")
_JOBS_PER_RUN = 40
_ROWS = 200
_BATCH = Cell("a batch", "of mixed rows", batches.in_short, runs=1, options=batch_bench.options())
_CONTROL_JOBS, _CONTROL_KILLS = 60, 2


async def processes_die(bench: Bench) -> None:
    async with receiving(bench) as at_work:
        await receivers.a_few_of_each_kind(at_work)
        await workers.worker_crashes_in_turn(bench, CRASH_STEPS)
        await workers.workers_killed(bench, latencies_s=(0.002,), kills=2)
        await workers.producer_crashes(bench, steps=("producer.filed",))


async def messages_and_answers_vanish(bench: Bench) -> None:
    await redis_faults.broker_forgets(bench)
    await queue_faults.duplicates(bench)
    await provider.silent(bench)


SLICE = (
    Cell(
        "processes die",
        "at the steps around a request, at any moment, once a job is filed",
        processes_die,
        runs=3,
        options=options("500ms,1s,2s"),
    ),
    Cell("messages and answers vanish", "or come twenty times", messages_and_answers_vanish, runs=7),
)


def run(work: Coroutine[Any, Any, CellResult]) -> CellResult:
    with clean_environment():
        return uvloop.run(work)


@pytest.mark.parametrize(
    "cell", [SLICE[0], *(pytest.param(cell, marks=pytest.mark.whole) for cell in SLICE[1:])], ids=lambda cell: cell.id
)
def test_nothing_is_lost_bound_twice_or_told_in_a_log_while(cell: Cell) -> None:
    told: list[str] = []
    cell = replace(cell, options=replace(cell.options, log_level="debug"))  # its logs are looked through for leaks
    result = run(play(cell, seed=SEED, jobs=_JOBS_PER_RUN * cell.runs, tell=told.append))
    assert result.is_good, "\n".join(map(str, [*told, *result.violations]))
    assert result.jobs == _JOBS_PER_RUN * cell.runs


@pytest.mark.timeout(240)
def test_each_row_of_a_batch_has_one_effect_and_is_reported_while_its_processes_die() -> None:
    told: list[str] = []
    result = run(play(_BATCH, seed=SEED, jobs=_ROWS, tell=told.append))
    assert result.is_good, "\n".join(map(str, [*told, *result.violations]))
    assert sum(result.verdict.states.values()) > result.figures["rows"] == _ROWS


@pytest.mark.whole
def test_the_same_checker_sees_plain_celery_lose_or_double_jobs() -> None:
    result = run(play_control(jobs=_CONTROL_JOBS, kills=_CONTROL_KILLS, tell=lambda _: None))
    assert result.jobs == _CONTROL_JOBS
    assert result.count("lost") + result.count("doubled") > 0
