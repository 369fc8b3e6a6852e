"""What a job costs here, beside what it costs in the builds one would write otherwise.

    python -m benchmarks.speed                        the table, 5 alternating rounds, under 10 minutes
    python -m benchmarks.speed --quick                one short round, under 90 s
    python -m benchmarks.speed --table scaling        what grows with the backlog, with workers, with the timetable
    python -m benchmarks.speed --table profile        where our worker's loop spends its time, by cProfile
    python -m benchmarks.speed --contestants ours-batch,celery-16,floor --rounds 3 --seed 7 --json

Real worker processes by their own commands, a Redis of its own (append-only file, everysec), a provider that answers
BindAxn after 50 ms and a receiver of callbacks, each a process of its own that only counts: the columns "prov." and
"recv." are their CPU in cores. A job is one bind and one callback. Producer processes first fill a backlog, so that
they take nothing of the machine while it is worked off; that is measured from the end of a warm-up until the last
callback. Then they submit one by one, at random, half as many per second as were just done: the wait is from the
beginning of `submit` to the arrival of the callback with X, less the provider's latency; of ours, also until X stands
in Redis ("X p50", "X p99"), where `wait` finds it. CPU and memory are those of
the worker processes alone, as the operating system counts them. Linux only.

  ours-checkout  2 `axn worker` processes, every job submitted by itself; settings of production, but the pace's rate,
                 which is set so high that it bounds nothing. Leases, fixed nonces, pace, signed callbacks
  ours-batch     the same with `submit_many` of 50, so 50 jobs per message
  ours-batch-wide
                 the same where the one receiver may be called 64 times at once, as one that is told of more than 320
                 ends per second should be (AXN_CALLBACK_PER_RECEIVER)
  celery-N       the obvious build: Celery prefork with N children, a task that binds with the official SDK and a task
                 that calls back with httpx, acks_late, autoretry, results in Redis (benchmarks/speeding/obvious.py)
  taskiq         a modern build: taskiq on Redis streams, 2 processes, async httpx (benchmarks/speeding/modern.py)
  dramatiq       another: 2 processes of 32 threads, official SDK and httpx (benchmarks/speeding/threaded.py)
  floor          no queue and no safety: asyncio, aiohttp, the two calls, the writes in pipelines, 2 processes
                 (benchmarks/speeding/floor.py)
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.pacing.processes import ChildError
from benchmarks.speeding.workers import WorkersError
from worker.local.redis_server import EmbeddedRedis, RedisServerError

NAMES = (
    "ours-checkout",
    "ours-batch",
    "ours-batch-wide",
    "celery-2",
    "celery-16",
    "celery-32",
    "taskiq",
    "dramatiq",
    "floor",
)
_OBVIOUS = "celery-16"
_CODE_INTERRUPTED, _CODE_FAILED = 130, 1
_FILE_COLUMNS = 180
_QUICK_PRODUCERS, _PRODUCERS = 4, 20
_PROFILED_JOBS = 8_000
_QUICK_S, _MEASURE_S = 1.5, 2.0


def main() -> None:
    """The command."""
    asked = _arguments()
    try:
        with EmbeddedRedis() as server, tempfile.TemporaryDirectory(prefix="axn-bench-") as folder:
            # The contestants' modules read them when they are imported.
            os.environ |= {
                "BENCH_REDIS": server.url(),
                "BENCH_BROKER": server.broker_url(0),
                "BENCH_RESULTS": server.broker_url(1),
            }
            _TABLES[asked.table](server, asked, Path(folder))
    except (ChildError, WorkersError, RedisServerError) as failed:
        sys.stderr.write(f"{failed}\n")
        sys.exit(_CODE_FAILED)
    except KeyboardInterrupt:
        sys.exit(_CODE_INTERRUPTED)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", choices=tuple(_TABLES), default="contest", help="default contest")
    parser.add_argument("--quick", action="store_true", help="one short round; of scaling, backlogs up to 10,000")
    parser.add_argument("--rounds", type=_above_0, help="each contestant in turn, so often; medians; default 5")
    parser.add_argument("--seed", type=int, default=1, help="of the arrivals; each round adds 1; default 1")
    parser.add_argument("--contestants", type=_contestants, default=list(NAMES), metavar="NAME,…", help="default all")
    parser.add_argument("--producers", type=_above_0, help=f"processes that submit; default {_PRODUCERS}")
    parser.add_argument("--jobs", type=_above_0, help="that wait at first; default: enough for each contestant")
    parser.add_argument(
        "--measure-s", type=float, help="about how long is measured; default 3; the load lasts 2/3 of it"
    )
    parser.add_argument("--latency-ms", type=int, default=50, help="of the provider; default 50")
    parser.add_argument("--json", action="store_true", dest="as_json", help="a line of JSON per line of the table")
    asked = parser.parse_args()
    asked.rounds = asked.rounds or (1 if asked.quick else 5)
    asked.producers = asked.producers or (_QUICK_PRODUCERS if asked.quick else _PRODUCERS)
    asked.measure_s = asked.measure_s or (_QUICK_S if asked.quick else _MEASURE_S)
    if asked.measure_s < 0:
        parser.error(f"--measure-s: must be above 0, not {asked.measure_s:g}")
    if asked.latency_ms < 0:
        parser.error(f"--latency-ms: must be 0 or more, not {asked.latency_ms}")
    return asked


def _above_0(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"write a whole number above 0, e.g. 5, not {text!r}")
    return int(text)


def _contestants(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of them: {', '.join(NAMES)}")
    return [name for name in NAMES if name in names]


def _contest(server: EmbeddedRedis, asked: argparse.Namespace, folder: Path) -> None:
    from benchmarks.speeding import runs  # noqa: PLC0415 - after the environment that its parts read
    from benchmarks.speeding.contestants import CONTESTANTS  # noqa: PLC0415
    from benchmarks.speeding.figures import Figures, median  # noqa: PLC0415

    lengths = runs.Lengths(asked.measure_s / 3, asked.measure_s, asked.measure_s * 2 / 3)
    told: dict[str, list[Figures]] = {name: [] for name in asked.contestants}
    for number in range(asked.rounds):
        plan = runs.Plan(lengths, asked.producers, asked.latency_ms, asked.seed + number, asked.jobs or 0)
        for name in asked.contestants:
            told[name].append(runs.run(CONTESTANTS[name], plan, server, folder))
            one = told[name][-1]
            sys.stderr.write(f"round {number + 1}, {name}: {one.jobs_per_second:,.0f} jobs/s, {one.cpu_ms:.2f} ms\n")
    medians = {name: median(figures) for name, figures in told.items()}
    base = asdict(medians[_OBVIOUS]) if _OBVIOUS in medians else None
    lines = [{"contestant": name, **asdict(got), **_beside(asdict(got), base)} for name, got in medians.items()]
    if asked.as_json:
        _print_json(lines)
    else:
        _print_table(lines, _COLUMNS, _machine(asked))


def _beside(got: dict[str, Any], base: dict[str, Any] | None) -> dict[str, float | None]:
    """How many times less CPU per job, and how many times more jobs per second, than the obvious build."""
    if base is None:
        return {"less_cpu": None, "more_jobs": None}
    return {
        "less_cpu": base["cpu_ms"] / got["cpu_ms"],
        "more_jobs": got["jobs_per_second"] / base["jobs_per_second"],
    }


def _scaling(server: EmbeddedRedis, asked: argparse.Namespace, folder: Path) -> None:
    from benchmarks.speeding.scaling import measure  # noqa: PLC0415 - as above

    _tell(measure(server, folder, is_quick=asked.quick, latency_ms=asked.latency_ms), asked)


def _profile(server: EmbeddedRedis, asked: argparse.Namespace, folder: Path) -> None:
    from benchmarks.speeding.profiled import measure  # noqa: PLC0415 - as above

    _tell(measure(server, folder, latency_ms=asked.latency_ms, jobs=asked.jobs or _PROFILED_JOBS), asked)


def _tell(measured: Iterable[dict[str, Any]], asked: argparse.Namespace) -> None:
    lines = []
    for line in measured:
        sys.stderr.write(f"{line['what']}: {line['figure']:,.3f} {line['unit']}\n")
        lines.append(line)
    if asked.as_json:
        _print_json(lines)
    else:
        _print_table(lines, _SCALING_COLUMNS, _machine(asked))


_TABLES = {"contest": _contest, "scaling": _scaling, "profile": _profile}
Show = Callable[[Any], str]


def _shown(form: str) -> Show:
    return lambda value: "–" if value is None else format(value, form)


_COLUMNS: dict[str, tuple[str, Show]] = {
    "contestant": ("contestant", str),
    "jobs_per_second": ("jobs/s", _shown(",.0f")),
    "more_jobs": ("× celery-16", _shown(".1f")),
    "cpu_ms": ("CPU ms/job", _shown(".2f")),
    "less_cpu": ("celery-16 ×", _shown(".1f")),
    "cores": ("cores", _shown(".2f")),
    "rss_mib": ("RSS MiB", _shown(",.0f")),
    "pss_mib": ("PSS MiB", _shown(",.0f")),
    "p50_ms": ("p50 ms", _shown(",.1f")),
    "p99_ms": ("p99 ms", _shown(",.0f")),
    "x_p50_ms": ("X p50", _shown(",.1f")),
    "x_p99_ms": ("X p99", _shown(",.0f")),
    "redis_bytes": ("Redis B/job", _shown(",.0f")),
    "redis_commands": ("cmds", _shown(".0f")),
    "redis_cpu_ms": ("Redis ms", _shown(".2f")),
    "provider_cores": ("prov.", _shown(".2f")),
    "receiver_cores": ("recv.", _shown(".2f")),
    "load": ("load", _shown(".1f")),
}
_SCALING_COLUMNS: dict[str, tuple[str, Show]] = {
    "what": ("what", str),
    "figure": ("figure", _shown(",.3f")),
    "unit": ("unit", str),
    "load": ("load", _shown(".1f")),
}


def _print_json(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in line.items()}
        print(json.dumps(rounded))  # noqa: T201


def _print_table(lines: list[dict[str, Any]], columns: dict[str, tuple[str, Show]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for name, (heading, _) in columns.items():
        is_text = name in ("contestant", "what", "unit")
        table.add_column(heading, justify="left" if is_text else "right", no_wrap=is_text)
    for line in lines:
        table.add_row(*(show(line[name]) for name, (_, show) in columns.items()))
    Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS).print(table)


def _machine(asked: argparse.Namespace) -> str:
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} at its "
        f"end, provider's latency {asked.latency_ms} ms, rounds: {asked.rounds}, seed {asked.seed}"
    )


if __name__ == "__main__":
    main()
