"""Where the event loop of our worker spends its time: a worker whose loop runs under cProfile for a while.

    python -m benchmarks.speeding.profiled OUT worker --lanes batch,callback      what is started by `measure`

A profiler slows down what calls much, so only shares are taken from it; times are these shares of the CPU per job that
the operating system counts of the same thread while nobody looks.
"""

import cProfile
import json
import os
import pstats
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pacing.processes import Children
from benchmarks.speeding import ours
from benchmarks.speeding.contestants import CONTESTANTS
from benchmarks.speeding.runs import Stage, await_done, fill, jobs_between, start_producers
from benchmarks.speeding.workers import Workers
from worker.cli.main import main as axn
from worker.local.redis_server import EmbeddedRedis
from worker.runtime import Runtime

_PLAIN_S, _PROFILED_S, _WARM_UP_S = 3.0, 3.0, 1.5
_POLL_S, _PATIENCE_S = 0.05, 60.0
_NAMED = {
    "the whole attempt": ("worker/attempt/attempt.py", "_attempt_in_slot"),
    "HTTP: exchange, both calls": ("worker/http.py", "_exchange"),
    "HTTP: request built, both calls": ("worker/http.py", "_request"),
    "Redis: pipelines of scripts": ("worker/redis_scripts.py", "_send"),
    "Redis: all calls of scripts, without pipelines": ("commands/core.py", "__call__"),
    "signing the call": ("worker/provider/requests.py", "build_v3"),
    "reading the answer": ("worker/provider/outcomes.py", "judge_answer"),
    "permits": ("worker/pace/pace.py", "permit"),
    "the callback's text": ("worker/attempt/announcing.py", "owed_callback"),
    "trying callbacks, HTTP included": ("worker/delivery/delivery.py", "_try"),
    "claims read": ("worker/ledger/records.py", "claim_from_record"),
    "log lines": ("worker/logs.py", "_tell"),
}


def run_profiled(out: Path) -> None:
    """The `axn` command of `sys.argv`, its loop's CPU counted, and then profiled."""
    run_loop = Runtime._run_loop  # noqa: SLF001 - it offers no other way in
    profile = cProfile.Profile()

    def run_and_look(runtime: Runtime) -> None:
        loop = runtime._loop  # noqa: SLF001 - as above
        seen: dict[str, float] = {}

        def begin() -> None:
            seen.update(thread_s=time.thread_time(), at=time.monotonic())

        def look() -> None:
            seen["thread_s"], seen["seconds"] = time.thread_time() - seen["thread_s"], time.monotonic() - seen["at"]
            profile.enable()

        def end() -> None:
            profile.disable()
            profile.dump_stats(out)
            out.with_suffix(".json").write_text(json.dumps(seen))

        loop.call_later(_WARM_UP_S, begin)
        loop.call_later(_WARM_UP_S + _PLAIN_S, look)
        loop.call_later(_WARM_UP_S + _PLAIN_S + _PROFILED_S, end)
        run_loop(runtime)

    Runtime._run_loop = run_and_look  # type: ignore[method-assign, assignment] # noqa: SLF001 - as above
    axn()


def measure(server: EmbeddedRedis, folder: Path, *, latency_ms: int, jobs: int) -> Iterator[dict[str, Any]]:
    """Lines: what, µs per job, its share."""
    out, contestant = folder / "loop.prof", CONTESTANTS["ours-batch"]
    with Children() as children:
        stage = Stage(server, children, latency_ms)
        env = {**stage.env, **ours.ENV}
        fill(children, start_producers(children, contestant, env, stage, 2), jobs, contestant.per_call)
        command = ["-m", "benchmarks.speeding.profiled", str(out), *ours.worker_command("batch,callback")[2:]]
        with Workers([command], env, folder) as workers:
            await_done(stage, workers, 1, within_s=_PATIENCE_S)
            time.sleep(_WARM_UP_S)
            before, began = stage.reading(workers), time.monotonic()
            time.sleep(_PLAIN_S - (time.monotonic() - began))
            done = jobs_between(before, stage.reading(workers))
            give_up_at = time.monotonic() + _PATIENCE_S
            while not out.with_suffix(".json").exists() and time.monotonic() < give_up_at:
                workers.check()
                time.sleep(_POLL_S)
            seen = json.loads(out.with_suffix(".json").read_text())
    per_job_us = seen["thread_s"] * 1e6 / done
    yield _line("the loop's thread", per_job_us, 1.0)
    for what, share in sorted(_shares(out).items(), key=lambda found: -found[1]):
        yield _line(what, share * per_job_us, share)


def _shares(out: Path) -> dict[str, float]:
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    total_s = sum(own_s for _, _, own_s, _, _ in stats.values())
    shares = {}
    for what, (file, function) in _NAMED.items():
        found = [with_callees for (path, _, name), (_, _, _, with_callees, _) in stats.items()
                 if name == function and path.endswith(file)]  # fmt: skip
        shares[what] = max(found, default=0.0) / total_s
    return shares


def _line(what: str, us: float, share: float) -> dict[str, Any]:
    return {"what": what, "figure": us, "unit": f"µs/job, {share:.0%}", "load": os.getloadavg()[0]}


if __name__ == "__main__":
    _out = Path(sys.argv.pop(1))
    run_profiled(_out)
