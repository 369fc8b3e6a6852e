"""What a shared pace costs and keeps, beside plain Celery's rate_limit and a well-known library.

    python -m benchmarks.pace                        the whole table, under 10 minutes
    python -m benchmarks.pace --quick                4 processes at 500/s, under a minute
    python -m benchmarks.pace --plot docs/pace.png   how the rate follows a limit that changes twice, a minute
    python -m benchmarks.pace --processes 16 --limits 2000 --contestants pace,pyrate --rounds 3 --json

Real processes, a Redis of its own, and a provider with a true limit in any second: the project's sandbox up to 500/s,
above that a server that only counts and answers alike (both would not fit on two cores beside their callers). Each
call is a BindAxn over its own keep-alive connection, signed where the sandbox checks it. All contestants meet the same
demand: batch wants four times the limit, checkouts come at random at a tenth of it.

  pace          ours, told the true limit
  pace-unknown  ours, told 5,000 a second: the documented limit, not this account's; measured from 10 s after the start
  pyrate        pyrate-limiter as it comes, with its exact log in Redis; chosen because it can wait for a permit
  celery-share  rate_limit = limit / workers, as users set it who know that it counts per worker; threads enough for
                the calls that are under way
  celery-single the same with one thread per worker: where more than one message waits in a worker, Celery does not keep
                up its own rate (why: benchmarks/pacing/plain_celery.py)
  celery-whole  rate_limit = limit in each worker, as users set it who do not know; threads as in celery-share
  timers        control: an equal share in each process, nothing shared; its CPU is what sending alone costs
"""

import argparse
import itertools
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.pacing.figures import Figures, median
from benchmarks.pacing.processes import ChildError
from benchmarks.pacing.runs import CONTESTANTS, Cell, Contestant, Lengths, run_cell
from worker.local.redis_server import EmbeddedRedis, RedisServerError

_SLOW_PER_SECOND = 100
"""Below it a tenth of the limit are so few checkouts that they are counted for longer."""
_WARM_UP_S, _SEARCH_S = 2.0, 10.0
_MEASURE_S, _SLOW_S, _QUICK_S = 5.0, 10.0, 3.0
_CODE_INTERRUPTED, _CODE_FAILED = 130, 1


def main() -> None:
    """The command."""
    asked = _arguments()
    try:
        # Nothing depends on its file: it is gone at the end.
        with EmbeddedRedis(appendfsync="no", options={"appendonly": "no"}) as server:
            if asked.plot is not None:
                _plot(server, asked)
            else:
                _table(server, asked)
    except (ChildError, RedisServerError) as failed:
        sys.stderr.write(f"{failed}\n")
        sys.exit(_CODE_FAILED)
    except KeyboardInterrupt:
        sys.exit(_CODE_INTERRUPTED)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="4 processes at 500/s only, measured for 3 s each")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw how the rate follows a changing limit instead")
    parser.add_argument("--processes", type=_counts, default=[4, 16], metavar="N,…", help="default 4,16")
    parser.add_argument("--limits", type=_counts, default=[50, 500, 2_000], metavar="N,…", help="default 50,500,2000")
    parser.add_argument(
        "--contestants", type=_contestants, default=list(CONTESTANTS), metavar="NAME,…", help="default all"
    )
    parser.add_argument("--measure-s", type=float, help="length of what is measured; default 5, below 100/s 10")
    parser.add_argument("--warm-up-s", type=float, help="before that; default 2, for pace-unknown 10")
    parser.add_argument("--rounds", type=int, default=1, help="of each line; the table shows the medians; default 1")
    parser.add_argument("--latency-ms", type=int, default=20, help="of the provider; default 20")
    parser.add_argument("--seed", type=int, default=1, help="of the checkouts' arrivals; each round adds 1; default 1")
    parser.add_argument("--json", action="store_true", dest="as_json", help="a line of JSON per line, at once")
    asked = parser.parse_args()
    if asked.quick:
        asked.processes, asked.limits, asked.measure_s = [4], [500], asked.measure_s or _QUICK_S
    if asked.rounds < 1:
        parser.error(f"--rounds: must be 1 or more, not {asked.rounds}")
    if asked.measure_s is not None and asked.measure_s <= 0:
        parser.error(f"--measure-s: must be above 0, not {asked.measure_s:g}")
    if asked.warm_up_s is not None and asked.warm_up_s < 0:
        parser.error(f"--warm-up-s: must be 0 or more, not {asked.warm_up_s:g}")
    if asked.latency_ms < 0:
        parser.error(f"--latency-ms: must be 0 or more, not {asked.latency_ms}")
    return asked


def _counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if not all(counts):
        raise argparse.ArgumentTypeError(f"write whole numbers above 0 with commas, e.g. 4,16, not {text!r}")
    return counts


def _contestants(text: str) -> list[Contestant]:
    names = text.split(",")
    unknown = [name for name in names if name not in CONTESTANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of them: {', '.join(CONTESTANTS)}")
    return [name for name in CONTESTANTS if name in names]


def _lengths(asked: argparse.Namespace, per_second: int) -> Lengths:
    measure_s = asked.measure_s or (_SLOW_S if per_second < _SLOW_PER_SECOND else _MEASURE_S)
    if asked.warm_up_s is not None:
        return Lengths(asked.warm_up_s, asked.warm_up_s, measure_s)
    return Lengths(1 if asked.quick else _WARM_UP_S, _SEARCH_S, measure_s)


def _run(server: EmbeddedRedis, asked: argparse.Namespace) -> Iterator[tuple[Cell, Figures]]:
    for per_second, processes in itertools.product(asked.limits, asked.processes):
        for contestant in asked.contestants:
            cell = Cell(contestant, processes, per_second)
            runs = [
                run_cell(
                    cell, server, _lengths(asked, per_second), latency_ms=asked.latency_ms, seed=asked.seed + number
                )
                for number in range(asked.rounds)
            ]
            yield cell, median(runs)


def _table(server: EmbeddedRedis, asked: argparse.Namespace) -> None:
    if asked.as_json:
        for cell, got in _run(server, asked):
            line = {**asdict(cell), "provider": cell.provider, **asdict(got)}
            print(json.dumps({name: _rounded(value) for name, value in line.items()}), flush=True)  # noqa: T201
        return
    console = Console(width=None if sys.stdout.isatty() else _FILE_COLUMNS)
    progress = Console(stderr=True)
    table = Table(*_COLUMNS, title=_machine(asked), title_justify="left")
    for place, column in enumerate(table.columns):
        column.justify, column.no_wrap = "left" if place == _NAME_PLACE else "right", place == _NAME_PLACE
    before = None
    for cell, got in _run(server, asked):
        if before not in (None, (cell.per_second, cell.processes)):
            table.add_section()
        before = (cell.per_second, cell.processes)
        table.add_row(*_row(cell, got))
        progress.print(f"{cell.per_second}/s, {cell.processes} processes, {cell.contestant}: done")
    console.print(table)


_FILE_COLUMNS = 180
_NAME_PLACE = 2
_COLUMNS = (
    "limit/s", "proc.", "contestant", "wanted/s", "sent/s", "throttled", "used", "worst s", "cal. s",
    "p50 ms", "p99 ms", "unserved", "CPU µs", "Redis µs", "fair", "prov.", "load",
)  # fmt: skip


def _row(cell: Cell, got: Figures) -> list[str]:
    return [
        f"{cell.per_second:,}",
        str(cell.processes),
        cell.contestant,
        f"{got.wanted:,.0f}",
        f"{got.sent:,.0f}",
        f"{got.throttled:.1%}",
        f"{got.used_of_limit:.1%}",
        f"{got.worst_second_of_limit:.1%}",
        f"{got.worst_calendar_second_of_limit:.1%}",
        f"{got.checkout_p50_ms:,.1f}",
        f"{got.checkout_p99_ms:,.1f}",
        f"{got.checkouts_unserved:.0%}",
        f"{got.cpu_us:,.0f}",
        f"{got.redis_cpu_us:,.0f}",
        f"{got.fairness:.2f}",
        f"{got.provider_cpu:.2f}",
        f"{got.load:.1f}",
    ]


def _machine(asked: argparse.Namespace) -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, load average "
        f"{os.getloadavg()[0]:.1f} at the start; provider's latency {asked.latency_ms} ms, rounds: {asked.rounds}, "
        f"seed {asked.seed}"
    )


def _rounded(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _plot(server: EmbeddedRedis, asked: argparse.Namespace) -> None:
    # The library for it takes half a second to load, and starts threads: not before the processes are forked.
    from benchmarks.pacing.plot import draw, follow  # noqa: PLC0415

    followed = follow(server, latency_ms=asked.latency_ms, seed=asked.seed)
    draw(followed, asked.plot)
    print(f"{asked.plot}: {followed.summary()}")  # noqa: T201


if __name__ == "__main__":
    main()
