"""Goes over a whole batch: each row judged, duplicates found, everything counted.

Memory grows by the keys only: see `worker.batches.key_table`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.batches.key_table import KeyTable
from worker.batches.raw_rows import WHOLE_ROW, Table, one_line
from worker.batches.row_rules import BadRowError, RowRules
from worker.batches.rows import Row
from worker.errors import BatchInputError, FieldFault

_DUPLICATE = "is a duplicate"
_MOST_SHOWN = 20
_MOST_REASONS = 200
_OTHER_REASONS = "other reasons"
_TELL_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not done.

    Attributes:
        line: in the file, from 1.
        faults: all that is wrong, numbers masked.
        cells: as they stood.
        first_line: of a duplicate, the row that has its key already.
    """

    line: int
    faults: Sequence[FieldFault]
    cells: Sequence[str]
    first_line: int = 0

    @property
    def reason(self) -> str:
        """All faults in one line."""
        return one_line("; ".join(map(str, self.faults)))


class BadRowsSink(Protocol):
    """Who keeps bad rows: `worker.batches.bad_rows`."""

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None: ...


@dataclass(slots=True)
class CheckReport:
    """What a file came to.

    Attributes:
        good: rows that can be started.
        bad: rows that cannot, duplicates among them.
        by_operation: the good ones.
        by_reason: how often each rule was broken; a row may break several.
        duplicates: rows whose key an earlier one has.
        first_duplicates: line and line of the first, of some.
        first_bad: line and faults, of some.
        stopped_by: why what follows was not read, else empty.
    """

    good: int = 0
    bad: int = 0
    by_operation: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    first_duplicates: list[tuple[int, int]] = field(default_factory=list)
    first_bad: list[BadRow] = field(default_factory=list)
    stopped_by: str = ""

    @property
    def rows(self) -> int:
        """Rows read, without blank ones."""
        return self.good + self.bad

    def is_good(self, *, skips_bad: bool) -> bool:
        """Whether a batch of it may begin.

        Args:
            skips_bad: bad rows are left out; any good one will do.
        """
        return not self.stopped_by and bool(self.good) and (skips_bad or not self.bad)

    def add(self, row: "Row | BadRow") -> None:
        """Count one."""
        if not isinstance(row, BadRow):
            self.good += 1
            self.by_operation[row.operation.value] += 1
            return
        self.bad += 1
        for reason in _reasons_of(row):
            is_room = reason in self.by_reason or len(self.by_reason) < _MOST_REASONS
            self.by_reason[reason if is_room else _OTHER_REASONS] += 1
        if len(self.first_bad) < _MOST_SHOWN:
            self.first_bad.append(row)
        if row.first_line:
            self.duplicates += 1
            if len(self.first_duplicates) < _MOST_SHOWN:
                self.first_duplicates.append((row.line, row.first_line))


def judged_rows(table: Table, rules: RowRules, *, most_rows: int) -> Iterator[Row | BadRow]:
    """Each row of a table, judged; of rows with the same key the first is good.

    Raises:
        BatchInputError: what follows cannot be read, or there are too many rows.
    """
    keys = KeyTable()
    for count, raw in enumerate(table.rows(), 1):
        if count > most_rows:
            raise BatchInputError(f"the file has more than {most_rows} rows; split it")
        try:
            row = rules.row_of(raw)
        except BadRowError as bad:
            yield BadRow(raw.line, bad.faults, raw.cells)
            continue
        first_line = keys.first_line(row.key, raw.line)
        yield BadRow(raw.line, [_duplicate_of(first_line)], raw.cells, first_line) if first_line else row


def check(
    table: Table,
    rules: RowRules,
    *,
    most_rows: int,
    sink: BadRowsSink | None,
    tell: Callable[[int], None],
    take: Callable[[Row | BadRow], None] = lambda _row: None,
) -> CheckReport:
    """Judge all rows.

    Args:
        table: to read.
        rules: to judge by.
        most_rows: of one file.
        sink: for the bad rows.
        tell: called now and then with the rows read so far.
        take: called with every row, once it is counted.
    """
    report = CheckReport()
    try:
        for count, row in enumerate(judged_rows(table, rules, most_rows=most_rows), 1):
            report.add(row)
            if sink is not None and isinstance(row, BadRow):
                sink.add(row.line, row.reason, row.cells)
            take(row)
            if not count % _TELL_EVERY:
                tell(count)
    except BatchInputError as stopped:
        report.stopped_by = f"{stopped}; reading stopped after {report.rows} rows"
    tell(report.rows)
    return report


def _duplicate_of(line: int) -> FieldFault:
    return FieldFault(WHOLE_ROW, "", f"{_DUPLICATE} of line {line}; remove one, or give each a key of its own")


def _reasons_of(row: BadRow) -> list[str]:
    if row.first_line:
        return [f"{WHOLE_ROW}: {_DUPLICATE} of an earlier one"]
    return [one_line(f"{fault.field}: {fault.rule}") for fault in row.faults]
