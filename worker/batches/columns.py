"""The names under which a column or a JSON key may be given: the field's own, the wire's, or Chinese.

The Chinese names are the terms in which the provider's pages of BindAxn, UnbindSubscription and UpdateSubscription
describe their parameters.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from worker.batches.operations import ALL_FIELDS
from worker.batches.raw_rows import one_line
from worker.domain.bind_request import BindRequest
from worker.domain.masking import mask_value
from worker.domain.unbind_request import UnbindRequest
from worker.errors import BatchInputError, FieldFault

BAD_LINE, BAD_REASON = "bad_line", "bad_reason"
"""The two columns that a file of bad rows has before those of its rows; they are not read."""

_CHINESE = {
    "A号码": "phone_no_a",
    "B号码": "phone_no_b",
    "X号码": "phone_no_x",
    "隐私号码": "phone_no_x",
    "号码池Key": "pool_key",
    "号池Key": "pool_key",
    "过期时间": "expiration",
    "绑定关系的过期时间": "expiration",
    "指定城市": "expect_city",
    "录音状态": "is_recording_enabled",
    "外部业务扩展字段": "out_id",
    "外部业务ID": "out_order_id",
    "绑定关系ID": "subs_id",
    "订购关系ID": "subs_id",
    "产品类型": "product_type",
    "单通呼叫限制": "call_restrict",
    "号码显示逻辑": "call_display_type",
    "操作": "op",
}
_OURS = {"job_id": "bind_job_id", "NewPhoneNoX": "new_phone_no_x", "NewPoolKey": "new_pool_key"}
FIELD_BY_NAME: Mapping[str, str] = {
    **{name: name for name in sorted(ALL_FIELDS)},
    **{name: field for name, field in BindRequest.field_by_wire_name.items() if field in ALL_FIELDS},
    **{name: field for name, field in UnbindRequest.field_by_wire_name.items() if field in ALL_FIELDS},
    **_OURS,
    **_CHINESE,
}
"""Every name of every field."""
_NAMES_BY_FOLDED = {name.casefold().replace("_", ""): name for name in reversed(tuple(FIELD_BY_NAME))}
_SHOWN_NAMES = 5


def unknown_name_rule(name: str) -> str:
    """Why a name is refused, with the known one that is nearest."""
    folded = name.casefold().replace("_", "").replace(" ", "").replace("-", "")
    near = difflib.get_close_matches(folded, _NAMES_BY_FOLDED, n=1)
    hint = f"; did you mean {_NAMES_BY_FOLDED[near[0]]}?" if near else ""
    return f"is no known column{hint}"


def known_count(names: Iterable[str], ignored: AbstractSet[str]) -> int:
    """How many of these names are known, or to be ignored."""
    return sum((name := given.strip()) in FIELD_BY_NAME or name in ignored or name == BAD_REASON for given in names)


def fields_of(header: Sequence[str], ignored: AbstractSet[str], *, where: str = "line 1") -> list[str | None]:
    """The fields of a header's columns, None for those that are not read, "" for those that have no name.

    Args:
        header: the names.
        ignored: names of columns that the operator wants left out.
        where: of the header, for messages.

    Raises:
        BatchInputError: a name is unknown, or a field has two columns; all faults are named at once.
    """
    names = [name.strip() for name in header]
    if not known_count(names, ignored):
        shown = ", ".join(one_line(mask_value(name)) for name in names[:_SHOWN_NAMES])
        raise BatchInputError(f"{where} must name the columns, such as phone_no_a or PhoneNoA; it has: {shown}")
    is_bad_rows = BAD_REASON in names
    fields: list[str | None] = []
    column_by_field: dict[str, int] = {}
    faults = []
    for column, name in enumerate(names, 1):
        is_left_out = name in ignored or (is_bad_rows and name in (BAD_LINE, BAD_REASON))
        field = None if is_left_out else FIELD_BY_NAME.get(name, "" if not name else None)
        fields.append(field)
        if field is None and not is_left_out:
            faults.append(f"column {column}, {mask_value(name)!r}, {unknown_name_rule(name)}")
        elif field and field in column_by_field:
            faults.append(f"columns {column_by_field[field]} and {column} are both {field}")
        elif field:
            column_by_field[field] = column
    if faults:
        raise BatchInputError(f"{where}: {'; '.join(faults)} (--ignore NAME leaves a column out)")
    return fields


def given_of(by_name: Mapping[str, Any], ignored: AbstractSet[str]) -> tuple[dict[str, Any], list[FieldFault]]:
    """A row that names its own fields: what it gives, and its faults. What is None or empty gives nothing.

    Args:
        by_name: by any of the fields' names.
        ignored: names that the operator wants left out.
    """
    given: dict[str, Any] = {}
    faults = []
    for name, value in by_name.items():
        field = FIELD_BY_NAME.get(name)
        if name in ignored:
            continue
        if field is None:
            faults.append(FieldFault(mask_value(name), "", unknown_name_rule(name)))
        elif field in given:
            faults.append(FieldFault(field, "", f"is given twice, also as {name}"))
        elif value is not None and value != "":
            given[field] = value
    return given, faults
