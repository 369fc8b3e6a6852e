"""The face of batches: start one from rows or a file, look at it, order it, read what became of its rows.

As in `worker.producers`, plain functions block their thread and the `_async` twins are for coroutines. A batch is named
by its id or by its name.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from worker.batches.assembly import build_batches, build_starting
from worker.batches.checking import BadRow, BadRowsSink, CheckReport
from worker.batches.desk import BatchStore
from worker.batches.mappings import MappingTable
from worker.batches.plan import BatchPlan, batch_id_of, check_plan, operation_of
from worker.batches.raw_rows import Table
from worker.batches.report import ReportLine, report_line
from worker.batches.starting import Started, Starting
from worker.domain.batch import DEFAULT_WINDOW, Batch, BatchOptions
from worker.errors import BadRowsError, BatchInputError, BatchNotFoundError, FieldFault
from worker.producer_process import ask, asked, run, run_async, services
from worker.whoever import whoever_this_is

_PAGE_ROWS = 500
T = TypeVar("T")


def start_batch(
    rows: Iterable[Mapping[str, Any]],
    *,
    name: str,
    op: str | None = None,
    pool_key: str = "",
    callback_url: str = "",
    callback_secret_name: str = "",
    finished_url: str = "",
    per_second: int = 0,
    window: int = DEFAULT_WINDOW,
    not_before: str = "",
    not_after: str = "",
    by: str = "",
) -> Batch:
    """Store many rows, which the workers do in the background. All are stored when this returns, and are being done.

    The same name and rows again are the same batch, so a start that fails for whatever reason is simply repeated.

    Args:
        rows: each with its fields in snake_case, by the wire's names or in Chinese; read once, row by row.
        name: of the batch; another batch needs another.
        op: of rows that name none: bind, rebind, unbind, move-a … (docs/batch-input.md).
        pool_key: of rows that name none; default AXN_POOL_KEY.
        callback_url: of rows that name none: each row's end is told there.
        callback_secret_name: which secret signs at callback_url and finished_url; default: the receiver's own.
        finished_url: where the batch's end is told, once, as `batch.finished`.
        per_second: rows begun per second at most; 0: as many as the pace lets through.
        window: jobs alive at most.
        not_before: from which hour on rows are begun, such as 01:00, in Asia/Shanghai; goes with not_after.
        not_after: until which hour.
        by: who starts it; default: user@host.

    Raises:
        InvalidRequestError: an option breaks a rule.
        BadRowsError: rows break rules; nothing is begun.
        BatchInputError: there are no rows or too many, or a callback secret that they name does not exist; nothing is
            begun.
        BatchConflictError: the name stands for a batch of other rows or options, or a cancelled one.
        LedgerUnavailableError: Redis did not answer; start it again.
    """
    options = BatchOptions(
        per_second, window, not_before, not_after, finished_url, callback_secret_name if finished_url else ""
    )
    plan = BatchPlan(
        name,
        options,
        operation_of(op),
        defaults_of(pool_key, callback_url, callback_secret_name),
        by=by or whoever_this_is(),
    )
    started = start_table(plan, MappingTable(rows))
    if started.batch is None:
        raise _error_of(started.report)
    return started.batch


async def start_batch_async(
    rows: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]], **options: Any
) -> Batch:
    """`start_batch`, for coroutines.

    Args:
        rows: of an async iterable, or of a plain one, which is then read in another thread.
        options: as for `start_batch`.
    """
    if isinstance(rows, AsyncIterable):
        rows = _drawn(aiter(rows), asyncio.get_running_loop())
    return await asyncio.to_thread(start_batch, rows, **options)


def _drawn(rows: AsyncIterator[Mapping[str, Any]], loop: asyncio.AbstractEventLoop) -> Iterator[Mapping[str, Any]]:
    """Rows of another thread's loop, a page at a time."""
    while page := asyncio.run_coroutine_threadsafe(_page_of(rows), loop).result():
        yield from page


async def _page_of(rows: AsyncIterator[T]) -> list[T]:
    page: list[T] = []
    async for row in rows:
        page.append(row)
        if len(page) == _PAGE_ROWS:
            break
    return page


def defaults_of(pool_key: str, callback_url: str, callback_secret_name: str) -> dict[str, str]:
    """What rows get that leave these empty."""
    given = {"pool_key": pool_key, "callback_url": callback_url, "callback_secret_name": callback_secret_name}
    return {name: value for name, value in given.items() if value}


def start_table(
    plan: BatchPlan,
    table: Table,
    *,
    sink: BadRowsSink | None = None,
    tell: Callable[[int], None] = lambda _rows: None,
) -> Started:
    """See `worker.batches.starting.Starting.start`; raises InvalidRequestError too, for the plan."""
    starting = _starting()
    check_plan(plan, starting.acceptance.rules.receivers)
    return starting.start(plan, table, sink=sink, tell=tell)


def read_batch(batch: str) -> Batch:
    """The batch as it stands.

    Raises:
        BatchNotFoundError: there is none of this id or name.
    """
    return run(_read(batch))


async def read_batch_async(batch: str) -> Batch:
    """`read_batch`, for coroutines."""
    return await run_async(_read(batch))


def list_batches() -> list[Batch]:
    """All that are on record, newest first."""
    return run(asked(services(), _store().all()))


def pause_batch(batch: str, *, by: str, reason: str) -> Batch:
    """Begin no further row until it is resumed."""
    return run(_of(batch, lambda store, batch_id: store.pause(batch_id, by, reason)))


def resume_batch(batch: str, *, by: str) -> Batch:
    """Go on after a pause."""
    return run(_of(batch, lambda store, batch_id: store.resume(batch_id, by)))


def cancel_batch(batch: str, *, by: str) -> Batch:
    """Begin no further row, ever."""
    return run(_of(batch, lambda store, batch_id: store.cancel(batch_id, by)))


def retry_batch(batch: str, *, codes: frozenset[str] | None, by: str) -> int:
    """Do rows anew that did not succeed; the number of them."""
    return run(_of(batch, lambda store, batch_id: store.retry(batch_id, codes, by)))


def remove_batch(batch: str) -> None:
    """Forget a batch that is not under way."""
    run(_of(batch, lambda store, batch_id: store.remove(batch_id)))


def batch_report(batch: str) -> Iterator[ReportLine]:
    """What became of each row, in the rows' order, read as it is asked for.

    Raises:
        BatchNotFoundError: there is none of this id or name.
        LedgerUnavailableError: Redis did not answer; the rest is missing.
    """
    lines = _report_lines(batch)
    while page := run(asked(services(), _page_of(lines))):
        yield from page


async def batch_report_async(batch: str) -> AsyncIterator[ReportLine]:
    """`batch_report`, for coroutines."""
    lines = _report_lines(batch)
    while page := await run_async(asked(services(), _page_of(lines))):
        for line in page:
            yield line


def _store() -> BatchStore:
    return build_batches(services().redis, services().seal)


def _starting() -> Starting:
    producer = services()
    return build_starting(_store(), ask, producer.intake.acceptance, producer.rotations.secrets)


async def _read(batch: str) -> Batch:
    return await _of(batch, lambda store, batch_id: store.read(batch_id))


async def _of(batch: str, work: Callable[[BatchStore, str], Coroutine[Any, Any, T]]) -> T:
    """Something done to the batch of this id or name; where there is none, it is named as it was given."""
    try:
        return await asked(services(), work(_store(), batch_id_of(batch)))
    except BatchNotFoundError:
        raise BatchNotFoundError(batch) from None


async def _report_lines(batch: str) -> AsyncIterator[ReportLine]:
    try:
        async for row, outcome in _store().report(batch_id_of(batch)):
            yield report_line(row, outcome)
    except BatchNotFoundError:
        raise BatchNotFoundError(batch) from None


def _error_of(report: CheckReport) -> BadRowsError | BatchInputError:
    if not report.bad:
        return BatchInputError(f"{report.stopped_by or 'there are no rows'}; nothing is begun")
    return BadRowsError(report.bad, [fault for row in report.first_bad for fault in _by_index(row)])


def _by_index(row: BadRow) -> Iterator[FieldFault]:
    for fault in row.faults:
        rule = f"is a duplicate of [{row.first_line - 1}]" if row.first_line else fault.rule
        yield FieldFault(f"[{row.line - 1}].{fault.field}", fault.value, rule)
