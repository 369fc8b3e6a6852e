"""The operator's guide and the code name the same things."""

import inspect
import re
from pathlib import Path

from typer.main import get_command

from worker.batch_producers import start_batch
from worker.batches.columns import FIELD_BY_NAME
from worker.batches.operations import ALL_FIELDS, FIELDS, Operation
from worker.batches.plan import MOST_WINDOW
from worker.batches.report import COLUMNS
from worker.batches.sources import Limits
from worker.cli import batch_group
from worker.domain.batch import DEFAULT_WINDOW, BatchState
from worker.domain.bind_request import BindRequest
from worker.ledger.batch_records import CHUNK_ROWS
from worker.ledger.batch_rows import TROUBLES

from .support import checked_bytes

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "batch-input.md").read_text(encoding="utf-8")
RUNNING = (DOCS / "batches.md").read_text(encoding="utf-8")


def test_the_guide_names_every_chinese_name_beside_its_field() -> None:
    for name, field in FIELD_BY_NAME.items():
        if not name.isascii():
            assert re.search(rf"^\| `{field}` .*{re.escape(name)}", GUIDE, re.MULTILINE), name


def test_the_guide_names_every_operation_and_every_field_that_is_no_parameter_of_a_bind() -> None:
    parameters = {name for name, field in BindRequest.model_fields.items() if field.alias}
    for name in {*Operation, *(ALL_FIELDS - parameters)}:
        assert f"`{name}`" in GUIDE, name
    assert set(FIELDS) == set(Operation)


def test_the_guide_s_example_is_good() -> None:
    (example,) = re.findall(r"((?:^    [^\n]*,[^\n]*,[^\n]*\n){4,})", GUIDE, re.MULTILINE)
    report, reasons, _ = checked_bytes(re.sub(r"^    ", "", example, flags=re.MULTILINE).encode(), operation=None)
    assert (report.good, reasons) == (5, {})


def test_the_guide_of_running_names_every_option_state_and_column() -> None:
    options = get_command(batch_group.app).commands["start"].params  # type: ignore[attr-defined]
    names = [name for option in options for name in option.opts if name.startswith("--")]
    names += [*BatchState, *COLUMNS, *inspect.signature(start_batch).parameters]
    told_otherwise = {"rows": "iterable", "op": "--op", "pool_key": "--pool-key", "callback_url": "--callback-url",
                      "callback_secret_name": "--callback-secret-name", "window": "--window", "by": "--by",
                      "not_before": "--not-before", "not_after": "--not-after"}  # fmt: skip
    for name in names:
        assert re.search(rf"{told_otherwise.get(name, name)}\b", RUNNING), name
    for name in [*BatchState, *COLUMNS]:
        assert f"`{name}`" in RUNNING, name


def test_the_guide_of_running_knows_the_ledger_s_limits() -> None:
    assert f"{Limits().rows:,} rows a batch" in RUNNING
    assert f"chunks of {CHUNK_ROWS}" in RUNNING
    assert f"1 to {MOST_WINDOW:,}; default {DEFAULT_WINDOW:,}" in RUNNING
    assert all(f"`{code}`" in RUNNING for code in TROUBLES)
