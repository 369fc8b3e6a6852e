"""`axn demo`: the whole way of an order, on this machine, in one command."""

import math
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from worker import producers
from worker.cli.children import run_with_children
from worker.cli.output import Exit, print_json
from worker.local.demo import DemoReport, run_demo
from worker.local.demo import Progress as DemoProgress
from worker.local.system import LocalSystem, SystemPlan

_SPARE_NUMBERS = 200
_PLAIN_LINE_EVERY_S = 1.0
TUNING = {
    # A laptop's demo heals within seconds; production's longer defaults suit slower providers.
    "AXN_ATTEMPT_TIMEOUT": "3s",
    "AXN_PACE__PATIENCE": "3s",
    "AXN_LEASE": "6s",
    "AXN_GRACE": "4s",
    "AXN_DOUBT__READ_LAG": "1s",
    "AXN_FIRST_LOOK": "3s",
    "AXN_TICK": "250ms",
    "AXN_DOUBT__PROBE_AFTER": "1s",
    "AXN_CALLBACK_TIMEOUT": "3s",
    "AXN_CALLBACK_SCHEDULE": "1s,2s,5s,10s",
}


def demo(
    *,
    orders: Annotated[int, typer.Option(min=1, help="How many orders the shop places.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Orders per second.")] = 100,
    latency_ms: Annotated[int, typer.Option(min=0, help="How long the provider takes to answer.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="The report as one line of JSON.")] = False,
) -> None:
    """Place orders as a shop does, against a real Redis, real workers and a sandbox of the provider.

    Four of five orders come one by one at checkout, the fifth in a batch of its own lane. The pace is set a quarter
    above what the shop needs. Ends with a table of what became of all orders.

    Example: [bold]axn demo --orders 2000 --rate 150 --latency-ms 80[/bold]

    Exit status: 0 if every job was bound and every callback received and verified, else 1.
    """
    per_second = math.ceil(rate * 1.25 * 1.25)
    plan = SystemPlan(
        numbers=orders + orders // 5 + _SPARE_NUMBERS,
        latency_ms=latency_ms,
        tuning={**TUNING, "AXN_PACE__BIND_AXN_PER_SECOND": str(per_second)},
    )
    report = run_with_children(lambda: _run(plan, orders, rate, as_json=as_json))
    print_json(report.as_dict()) if as_json else _print_report(report, per_second)
    raise typer.Exit(Exit.DONE if report.is_complete else Exit.FAILED)


async def _run(plan: SystemPlan, orders: int, rate: float, *, as_json: bool) -> DemoReport:
    console = Console(stderr=True)
    if console.is_terminal or not as_json:
        console.print("starting redis, sandbox, receiver and two workers …")
    try:
        async with LocalSystem(plan, on_event=lambda part, text: console.print(f"{part}: {text}")) as system:
            if console.is_terminal and not as_json:
                return await _with_bar(console, system, orders, rate)
            return await run_demo(system, orders=orders, per_second=rate, tell=_plain_lines())
    finally:
        producers.close()


async def _with_bar(console: Console, system: LocalSystem, orders: int, rate: float) -> DemoReport:
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {name: bars.add_task(name, total=orders) for name in ("submitted", "bound", "delivered")}

        def tell(progress: DemoProgress) -> None:
            for name, task in tasks.items():
                bars.update(task, completed=getattr(progress, name))

        return await run_demo(system, orders=orders, per_second=rate, tell=tell)


def _plain_lines() -> Callable[[DemoProgress], None]:
    last = time.monotonic()

    def tell(progress: DemoProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_LINE_EVERY_S:
            last = time.monotonic()
            typer.echo(
                f"submitted {progress.submitted}, bound {progress.bound}, delivered {progress.delivered} "
                f"of {progress.orders}",
                file=sys.stderr,
            )

    return tell


def _print_report(report: DemoReport, per_second: int) -> None:
    table = Table(title=f"{report.accepted} orders, pace {per_second} binds/s", show_header=False)
    for name in ("accepted", "bound", "delivered", "failed", "lost", "wrong", "repeated", "orphans", "unverified"):
        table.add_row(name, str(getattr(report, name)))
    table.add_row("binds/s", f"{report.binds_per_second:g}")
    table.add_row("submit to X, median", f"{report.submit_to_x_median_ms:g} ms")
    table.add_row("submit to X, p99", f"{report.submit_to_x_p99_ms:g} ms")
    console = Console()
    console.print(table)
    for sample in report.samples:
        console.print(f"{sample['job_id']} → {sample['phone_no_x']}", highlight=False)
    if not report.is_complete:
        console.print(f"not complete; codes: {report.codes}")
