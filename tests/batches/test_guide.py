"""The operator's guide and the code name the same things."""

import re
from pathlib import Path

from worker.batches.columns import FIELD_BY_NAME
from worker.batches.operations import ALL_FIELDS, FIELDS, Operation
from worker.domain.bind_request import BindRequest

from .support import checked_bytes

GUIDE = (Path(__file__).parents[2] / "docs" / "batch-input.md").read_text(encoding="utf-8")


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
