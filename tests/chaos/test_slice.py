"""The most telling cells of the fault matrix, small: `make chaos` plays all of them with twenty thousand jobs."""

import dataclasses
from collections.abc import Coroutine
from functools import partial
from typing import Any

import pytest
import uvloop

from tests.chaos.bench import Cell, CellResult, play
from tests.chaos.cells import provider, queue_faults, redis_faults, workers
from tests.chaos.cells.control import play_control
from tests.chaos.system import clean_environment

SEED = 11
SLICE = {
    "a worker crashes at the steps around its request": Cell(
        "A2",
        "crash points",
        partial(
            workers.worker_crashes, steps=("attempt.claimed", "attempt.sending+20", "attempt.answered", "attempt.settled")
        ),
        runs=4,
    ),
    "workers are killed at random": Cell(
        "A2r", "random kills", partial(workers.workers_killed, latencies_s=(0.002,)), runs=1
    ),
    "a producer crashes once its job is filed": Cell(
        "A1", "crash point", partial(workers.producer_crashes, steps=("producer.filed",)), runs=1
    ),
    "the broker is flushed": Cell("B6", "flushed", redis_faults.broker_forgets, runs=2),
    "the provider binds and says nothing": Cell("C1", "no answer", provider.silent, runs=3),
    "messages come twenty times": Cell("E1", "copies", queue_faults.duplicates, runs=2),
}
_JOBS_PER_RUN = 40
_CONTROL_JOBS, _CONTROL_KILLS = 90, 2


def run(work: Coroutine[Any, Any, CellResult]) -> CellResult:
    with clean_environment():
        return uvloop.run(work)


@pytest.mark.parametrize("name", SLICE)
def test_nothing_is_lost_and_nothing_bound_twice_when(name: str) -> None:
    cell = dataclasses.replace(SLICE[name], title=name)
    told: list[str] = []
    result = run(play(cell, seed=SEED, jobs=_JOBS_PER_RUN * cell.runs, tell=told.append))
    assert result.is_good, "\n".join(map(str, [*told, *result.violations]))
    assert result.jobs == _JOBS_PER_RUN * cell.runs


def test_the_same_checker_sees_plain_celery_lose_or_double_jobs() -> None:
    result = run(play_control(jobs=_CONTROL_JOBS, kills=_CONTROL_KILLS, tell=lambda _: None))
    assert result.jobs == _CONTROL_JOBS
    assert result.count("lost") + result.count("doubled") > 0
