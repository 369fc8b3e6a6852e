"""What the tests of batches share: rules at a stopped moment, and files checked by them."""

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.batches.checking import CheckReport, check
from worker.batches.opening import InputForm, open_table
from worker.batches.operations import Operation
from worker.batches.raw_rows import RawRow, Table
from worker.batches.row_rules import RowRules
from worker.callbacks.guard import ReceiverRules
from worker.intake.acceptance import Acceptance, AcceptanceRules

FILES = Path(__file__).parent / "files"
NOW_MS = 1_796_097_600_000  # 2026-12-01 12:00:00 in Shanghai


class StoppedClock:
    """Always the same moment."""

    def unix_ms(self) -> int:
        return NOW_MS

    def monotonic_ms(self) -> float:
        return 0.0

    async def sleep_ms(self, delay_ms: float) -> None:
        raise AssertionError("nothing waits here")


def row_rules(operation: Operation | None = None, *, pool_key: str = "FC1", **more: Any) -> RowRules:
    accepted = AcceptanceRules(pool_key, timedelta(seconds=60), ReceiverRules())
    return RowRules(Acceptance(accepted, StoppedClock()), operation, **more)


@dataclass
class Kept:
    """Keeps bad rows where a test can see them."""

    reasons: dict[int, str] = field(default_factory=dict)
    cells: dict[int, Sequence[str]] = field(default_factory=dict)

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.reasons[line] = reason
        self.cells[line] = cells


def checked(
    name: str, operation: Operation | None = Operation.BIND, form: InputForm | None = None
) -> tuple[CheckReport, Mapping[int, str], Table]:
    """The report of a file, its bad rows' reasons by line, and what it was read as."""
    kept = Kept()
    form = form or InputForm(ignored=frozenset({"备注"}))
    with open_table(name if name == "-" else str(FILES / name), form) as (table, _):
        report = check(table, row_rules(operation), most_rows=form.limits.rows, sink=kept, tell=lambda _rows: None)
    return report, kept.reasons, table


def checked_bytes(
    data: bytes, operation: Operation | None = Operation.BIND, form: InputForm | None = None
) -> tuple[CheckReport, Mapping[int, str], Table]:
    """As `checked`, through standard input."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return checked("-", operation, form)


def raw_rows(data: bytes, form: InputForm | None = None) -> list[RawRow]:
    """The rows of these bytes, before they are judged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with open_table("-", form or InputForm()) as (table, _):
            return list(table.rows())
