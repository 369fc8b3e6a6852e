"""A batch as people read it, within 80 columns: how far it is, how fast, what came out, why it is paused."""

import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from worker.cli.output import Exit, readable_age
from worker.domain.batch import Batch, BatchState
from worker.domain.job import JobState

_RATE_OVER_S = 30.0
_MOST_CODES = 10
_BAR_WIDTH = 40
_COLUMNS = ("name", "id", "state", "rows", "ended", "not done", "age", "why")
_STYLES = {BatchState.PAUSED: "bold yellow", BatchState.CANCELLED: "bold red", BatchState.FINISHED: "bold green"}


class RateMeter:
    """How many rows come to their ends per second: over the last looks, and before there are two, on average."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, int]] = deque()

    def per_second(self, batch: Batch, *, at_s: float, now_ms: int) -> float:
        """Note a look.

        Args:
            batch: as it is seen.
            at_s: seconds that never jump.
            now_ms: Unix ms, for the average since its first row.
        """
        looks = self._looks
        looks.append((at_s, batch.ended))
        while len(looks) > 2 and at_s - looks[1][0] >= _RATE_OVER_S:  # noqa: PLR2004 - the two that are compared
            looks.popleft()
        since_s, ended = looks[0]
        if at_s > since_s:
            return max(batch.ended - ended, 0) / (at_s - since_s)
        until_ms = batch.finished_at or now_ms
        return batch.ended * 1000 / (until_ms - batch.began_at) if 0 < batch.began_at < until_ms else 0.0


def batch_as_dict(batch: Batch, per_second: float | None = None) -> dict[str, Any]:
    """All that is known, for JSON.

    Args:
        batch: to tell of.
        per_second: rows that ended lately, where that was looked at.
    """
    told = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    told |= {"options": dataclasses.asdict(batch.options), "by_state": dict(batch.by_state)}
    told |= {"by_code": dict(batch.by_code), "ended": batch.ended, "not_done": not_done(batch)}
    if per_second is not None:
        left_s = _seconds_left(batch, per_second)
        told |= {"per_second": round(per_second, 3), "seconds_left": None if left_s is None else round(left_s)}
    return told


def batch_line(batch: Batch) -> str:
    """A batch in one line."""
    why = f" ({batch.reason})" if batch.reason else ""
    return f"{batch.name} ({batch.batch_id}): {batch.state}{why}, {batch.ended:,} of {batch.rows:,} rows ended"


def batch_view(batch: Batch, per_second: float) -> Group:
    """All of it.

    Args:
        batch: to show.
        per_second: rows that ended lately.
    """
    head = Text.assemble(batch.name, f"  {batch.batch_id}  ", (batch.state.value, _STYLES.get(batch.state, "bold")))
    lines: list[RenderableType] = [head, *_bar(batch), Text(_how_it_goes(batch, per_second))]
    return Group(*lines, *(Text(line) for line in _details(batch)))


def batches_table(batches: list[Batch], *, now_ms: int) -> Table:
    """Many, a row each."""
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        right = "right" if name in ("rows", "ended", "not done") else "left"
        table.add_column(name, no_wrap=name != "why", overflow="fold", justify=right)  # type: ignore[arg-type]
    for batch in batches:
        shown = (
            batch.name, batch.batch_id, batch.state, f"{batch.rows:,}", f"{batch.ended:,}", f"{not_done(batch):,}",
            readable_age(now_ms - batch.created_at), batch.reason,
        )  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in shown))
    return table


def not_done(batch: Batch) -> int:
    """Rows that came to an end other than what was asked for."""
    return sum(count for state, count in batch.by_state.items() if not _is_success(state))


def is_over(batch: Batch) -> bool:
    """Whether nothing of it changes any more."""
    return batch.state.is_end and not batch.alive


def exit_of_batch(batch: Batch) -> Exit:
    """The exit status that tells how it stands."""
    if not is_over(batch):
        return Exit.NOT_FINISHED
    return Exit.DONE if batch.state is BatchState.FINISHED and not not_done(batch) else Exit.FAILED


def _bar(batch: Batch) -> Iterator[RenderableType]:
    if batch.state is BatchState.UPLOADING:
        return
    table = Table.grid(padding=(0, 1))
    share = batch.ended / batch.rows if batch.rows else 0.0
    bar = ProgressBar(total=max(batch.rows, 1), completed=batch.ended, width=_BAR_WIDTH)
    table.add_row(bar, Text(f"{share:.1%}  {batch.ended:,} of {batch.rows:,} rows ended"))
    yield table


def _how_it_goes(batch: Batch, per_second: float) -> str:
    if batch.state is BatchState.UPLOADING:
        return f"{batch.rows:,} rows are stored, none is begun; the same start again goes on"
    told = f"{batch.alive:,} under way, {max(batch.rows - batch.begun, 0):,} not begun"
    if per_second:
        told += f"; {per_second:,.0f} rows/s" if per_second >= 1 else f"; {per_second * 60:,.1f} rows/min"
    left_s = _seconds_left(batch, per_second)
    return told + ("" if left_s is None else f", {timedelta(seconds=round(left_s))} left")


def _seconds_left(batch: Batch, per_second: float) -> float | None:
    """Of a batch that runs, at this rate; what its hours take away is not known."""
    if batch.state is not BatchState.RUNNING or not per_second:
        return None
    return (batch.rows - batch.ended) / per_second


def _details(batch: Batch) -> Iterator[str]:
    if batch.by_state:
        yield f"by outcome: {_counts(batch.by_state)}"
    if batch.by_code:
        yield f"not done, by code: {_counts(batch.by_code)}"
    if limits := ", ".join(_limits(batch)):
        yield f"limits: {limits}"
    if batch.options.callback_url:
        yield f"its end is told at {batch.options.callback_url}"
    if batch.reason:
        yield f"paused: {batch.reason}"


def _limits(batch: Batch) -> Iterator[str]:
    options = batch.options
    if options.per_second:
        yield f"{options.per_second:,} rows/s"
    yield f"{options.window:,} rows under way"
    if options.not_before:
        yield f"begun from {options.not_before} to {options.not_after} (Asia/Shanghai)"


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(most) - _MOST_CODES} more" if len(most) > _MOST_CODES else ""
    return ", ".join(f"{name} {count:,}" for name, count in most[:_MOST_CODES]) + more


def _is_success(state: str) -> bool:
    try:
        return JobState(state).is_success
    except ValueError:  # of a row that became no job
        return False
