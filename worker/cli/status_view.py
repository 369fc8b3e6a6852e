"""The whole system as people read it, within 100 columns."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from worker.cli.output import readable_age, readable_time
from worker.cli.pace_view import account_view
from worker.observation.presence import Presence
from worker.observation.snapshot import Snapshot

_LATE_MS = 60_000
_OLD_MS = 10_000
_BAD = "bold red"


def snapshot_view(snapshot: Snapshot) -> Group:
    """All of it, what is bad in red."""
    return Group(
        Text(f"at {readable_time(snapshot.at)}"), Text(), _lanes(snapshot), Text(), *_counts(snapshot), Text(),
        account_view(snapshot.account), Text(), _workers(snapshot),
    )  # fmt: skip


def _lanes(snapshot: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("lane", "messages", "oldest", "workers", "in flight"):
        table.add_column(name, justify="left" if name == "lane" else "right")
    for lane, queue in snapshot.queues.items():
        consumers = [worker for worker in snapshot.workers if lane.value in worker.lanes]
        age = Text(readable_age(queue.oldest_ms) if queue.messages else "-")
        if queue.oldest_ms > _OLD_MS:
            age.stylize(_BAD)
        in_flight = sum(worker.in_flight for worker in consumers)
        there = Text(str(len(consumers)), "" if consumers else _BAD)
        table.add_row(lane.value, f"{queue.messages:,}", age, there, f"{in_flight:,}")
    return table


def _counts(snapshot: Snapshot) -> list[Text]:
    late = f", the earliest due since {readable_age(snapshot.late_ms)}" if snapshot.late_ms else ""
    counts = {"in doubt": snapshot.in_doubt, "failed": snapshot.failed, "dead callbacks": snapshot.dead_callbacks}
    lines = [
        Text(f"unfinished jobs and callbacks: {snapshot.unfinished:,}{late}"),
        Text("    ".join(f"{name}: {count:,}" for name, count in counts.items())),
    ]
    if snapshot.late_ms > _LATE_MS:
        lines[0].stylize(_BAD)
    if snapshot.in_doubt or snapshot.dead_callbacks:
        lines[1].stylize("yellow")
    return lines


def _workers(snapshot: Snapshot) -> Table | Text:
    if not snapshot.workers:
        return Text("no worker is there: nothing is done (axn worker)", _BAD)
    table = Table(box=None, pad_edge=False)
    for name in ("worker", "release", "up", "lanes", "in flight", "lag", ""):
        table.add_column(name, justify="right" if name in ("up", "in flight", "lag") else "left")
    for worker in snapshot.workers:
        table.add_row(
            worker.process, worker.release, _up(worker, snapshot.at), ",".join(worker.lanes), str(worker.in_flight),
            f"{worker.lag_ms}ms", Text("; ".join(worker.faults), _BAD),
        )  # fmt: skip
    return table


def _up(worker: Presence, now_ms: int) -> str:
    return readable_age(now_ms - worker.started_at) if worker.started_at else "0s"
