"""Judges rows by the rules that bind, update and unbind requests have, and by the few that only rows have."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.batches.cells import NUMBER_FIELDS, NumberCell, fault_of_number_cell, rule_of_spoiled_number
from worker.batches.like_rows import LikeRows
from worker.batches.operations import (
    ASPECT_FIELDS,
    FIELDS,
    NAMING_FIELDS,
    OLD_AND_NEW,
    RENEWAL,
    Operation,
)
from worker.batches.raw_rows import RawRow
from worker.batches.rows import BindRow, ChangeRow, NamedBinding, RebindRow, Row, row_key
from worker.domain.job import JobKind
from worker.domain.masking import mask_value
from worker.domain.rebinding import RebindMode
from worker.domain.request_fields import IdempotencyKey, Text
from worker.errors import FieldFault, InvalidRequestError
from worker.intake.acceptance import Acceptance

_FORMULA_ERRORS = frozenset({"#N/A", "#VALUE!", "#REF!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"})
_NAMES = ("bind_job_id", "out_order_id", "subs_id", "phone_no_x", "pool_key", "product_type")
_NAMED_ONCE = "give one of bind_job_id, out_order_id, or subs_id and phone_no_x (with pool_key or product_type)"
_ROW_OWN = frozenset({"op", "key", "mode"})
_SOME_JOB_ID = "0" * 26
"""Stands in a request that is only looked at for the job that the ledger will name."""
_CHECKED_HERE: Mapping[str, TypeAdapter[str]] = {"key": TypeAdapter(IdempotencyKey), "out_order_id": TypeAdapter(Text)}
"""Fields that no request sees: a change is asked for under its job's id."""
_KEPT = {"phone_no_a": "10000000000", "pool_key": "kept", "expires_in": "1h"}
"""Stand for what a rebind does not say because it stays: the old binding tells it when its turn comes."""
_WISHES: Mapping[Operation, frozenset[str]] = {
    operation: fields - _ROW_OWN - (frozenset() if operation is Operation.BIND else NAMING_FIELDS)
    for operation, fields in FIELDS.items()
}
_NEW_NAMES = {old: new for new, old in OLD_AND_NEW.items()}
_RENEWAL_NAMES = {"renew": "renew_until"} | {f"renew.{part}": column for column, part in RENEWAL.items()}


class BadRowError(Exception):
    """A row breaks rules; `faults` names all of them, numbers masked."""

    def __init__(self, faults: Sequence[FieldFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, faults)))


class RowRules:
    """Judges rows.

    A row with the same fields as a good one before, and the same values but for numbers, ids and Expirations, needs to
    have only these looked at: that halves the time of a check. `tests/batches/test_row_rules.py` holds both ways equal.
    """

    def __init__(
        self,
        acceptance: Acceptance,
        operation: Operation | None = None,
        defaults: Mapping[str, str] | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        """Rules for one file.

        Args:
            acceptance: what time and settings say; it judges every request that is submitted.
            operation: of rows that name none.
            defaults: of callback_url, callback_secret_name and pool_key, for rows that leave them empty and have a use
                for them. A row's key does not depend on them.
            remembers: whether good rows make those like them quicker to judge.
        """
        self._acceptance = acceptance
        self._operation = operation
        self._defaults = defaults or {}
        self._likes = LikeRows(acceptance.is_far_enough) if remembers else None

    def row_of(self, raw: RawRow) -> Row:
        """The row, with its key.

        Raises:
            BadRowError: it breaks rules; all of them are named.
        """
        likes = self._likes
        if likes is None or raw.faults:
            operation = self._judge(raw)
        else:
            like = likes.like(raw.given)
            operation = likes.operation_of(like, raw.given) or self._judge(raw)
            likes.remember(like, operation)
        return _row_of(raw, operation, self._with_defaults(raw.given, operation))

    def _with_defaults(self, given: Mapping[str, Any], operation: Operation) -> Mapping[str, Any]:
        if not self._defaults:
            return given
        full = {**self._defaults, **given}
        if "pool_key" not in given and not _takes_pool(operation, given):
            full.pop("pool_key", None)
        if "callback_url" not in full and "callback_secret_name" not in given:
            full.pop("callback_secret_name", None)
        return full

    def _judge(self, raw: RawRow) -> Operation:
        """The row's operation, where all is right."""
        if raw.faults and not raw.given:
            raise BadRowError(raw.faults)
        operation = self._operation_of(raw.given)
        if operation is None:
            raise BadRowError([*raw.faults, _operation_fault(raw.given)])
        given = self._with_defaults(raw.given, operation)
        faults = [*raw.faults, *_faults_of_cells(operation, given)]
        if operation is Operation.BIND:
            self._judge_request(_wishes_of(operation, given), JobKind.BIND, given, faults, names=_RENEWAL_NAMES)
        else:
            spoiled = {fault.field for fault in faults}
            faults += [fault for fault in _faults_of_change(operation, given) if fault.field not in spoiled]
            if operation is Operation.REBIND:
                self._judge_rebind(given, faults)
            else:
                kind = JobKind.UNBIND if operation is Operation.UNBIND else JobKind.UPDATE
                wanted = _binding_of(given).fields(_SOME_JOB_ID if "out_order_id" in given else "")
                self._judge_request({**wanted, **_wishes_of(operation, given)}, kind, given, faults)
        if faults:
            raise BadRowError(faults)
        return operation

    def _operation_of(self, given: Mapping[str, Any]) -> Operation | None:
        told = given.get("op")
        if told is None:
            return self._operation
        try:
            operation = Operation(told)
        except ValueError:
            return None
        return operation if self._operation in (None, operation) else None

    def _judge_rebind(self, given: Mapping[str, Any], faults: list[FieldFault]) -> None:
        """By the requests that its two steps are: the new binding's, and the old one's end."""
        faults += _faults_of_mode(given)
        wishes = _wishes_of(Operation.REBIND, given)
        wanted = _binding_of(given).fields(_SOME_JOB_ID if "out_order_id" in given else "")
        self._judge_request(wanted, JobKind.UNBIND, given, faults)
        kept = {name: value for name, value in _KEPT.items() if name not in wishes}
        if "expiration" in wishes:
            kept.pop("expires_in", None)
        elif "expires_in" not in wishes and "renew" in wishes:  # not to be measured by an end that is not known yet
            of_renewal = {"bind_job_id": _SOME_JOB_ID, "renew": wishes.pop("renew")}
            self._judge_request(of_renewal, JobKind.REBIND, given, faults, names=_RENEWAL_NAMES)
        self._judge_request({**kept, **wishes}, JobKind.BIND, given, faults, names=_NEW_NAMES | _RENEWAL_NAMES)

    def _judge_request(
        self,
        wanted: Mapping[str, Any],
        kind: JobKind,
        given: Mapping[str, Any],
        faults: list[FieldFault],
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Add a request's faults that are not known yet, under the row's names, with what has spoiled a number."""
        try:
            self._acceptance.parse(wanted, kind)
        except InvalidRequestError as invalid:
            known = {"request", *(fault.field for fault in faults)}
            for fault in invalid.faults:
                name = (names or {}).get(fault.field, fault.field)
                if name not in known:
                    spoiled = name in NUMBER_FIELDS and name in given and rule_of_spoiled_number(name, given[name])
                    faults.append(FieldFault(name, fault.value, spoiled or fault.rule))


def _row_of(raw: RawRow, operation: Operation, given: Mapping[str, Any]) -> Row:
    """Of a row in which all is right, with what it gives by default."""
    line, key = raw.line, row_key(operation, raw.given)
    wishes = _wishes_of(operation, given)
    if operation is Operation.BIND:
        return BindRow(line=line, key=key, operation=operation, wishes=wishes)
    binding = _binding_of(given)
    if operation is Operation.REBIND:
        mode = RebindMode(given.get("mode", RebindMode.NEW_X))
        return RebindRow(line=line, key=key, operation=operation, mode=mode, binding=binding, wishes=wishes)
    return ChangeRow(line=line, key=key, operation=operation, binding=binding, wishes=wishes)


def _takes_pool(operation: Operation, given: Mapping[str, Any]) -> bool:
    """Whether a row that names no pool has a use for one: the ledger knows those of our own bindings."""
    if operation is Operation.BIND:
        return True
    is_named_otherwise = any(name in given for name in ("bind_job_id", "out_order_id", "product_type"))
    return not is_named_otherwise and ("subs_id" in given or "phone_no_x" in given)


def _wishes_of(operation: Operation, given: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the request beside what names a binding; a rebind's by the names of a bind request."""
    wanted = _WISHES[operation]
    names = OLD_AND_NEW if operation is Operation.REBIND else {}
    wishes = {names.get(name, name): value for name, value in given.items() if name in wanted}
    renew = {part: wishes.pop(column) for column, part in RENEWAL.items() if column in wishes}
    return wishes | ({"renew": renew} if renew else {})


def _faults_of_cells(operation: Operation, given: Mapping[str, Any]) -> list[FieldFault]:
    faults = []
    allowed = FIELDS[operation]
    for name, value in given.items():
        if name not in allowed:
            rule = f"is of no use for {operation}; empty the cell, or leave the column out with --ignore"
            faults.append(FieldFault(name, mask_value(value), rule))
        elif value.__class__ is str:
            if value[0] == "#" and value in _FORMULA_ERRORS:
                faults.append(FieldFault(name, value, "is the error of a formula; fill the cell in anew"))
        elif isinstance(value, NumberCell) and (fault := fault_of_number_cell(name, value)):
            faults.append(fault)
    for name, checker in _CHECKED_HERE.items():
        if name in given and (operation is not Operation.BIND or name == "key"):
            try:
                checker.validate_python(given[name])
            except ValidationError:
                rule = "must be text, not too long, and without control characters"
                faults.append(FieldFault(name, mask_value(given[name]), rule))
    return faults


def _faults_of_change(operation: Operation, given: Mapping[str, Any]) -> list[FieldFault]:
    """Rules of the rows that name a binding, where a request's own would speak of other fields than rows have."""
    faults = []
    named = [name for name in _NAMES if name in given]
    is_by_job_or_order = [name for name in ("bind_job_id", "out_order_id") if name in named]
    others = [name for name in named if name not in (*is_by_job_or_order[:1], "product_type")]
    if not named or (is_by_job_or_order and others):
        told = f" (given: {', '.join(named)})" if named else ""
        faults.append(FieldFault("bind_job_id", "", f"{_NAMED_ONCE}{told}"))
    aspect = ASPECT_FIELDS.get(operation)
    if aspect and len([name for name in aspect if name in given]) != 1:
        rule = f"give either {' or '.join(aspect)}" if len(aspect) > 1 else f"is required by {operation}"
        faults.append(FieldFault(aspect[0], "", rule))
    return faults


def _binding_of(given: Mapping[str, Any]) -> NamedBinding:
    """As the row names it, without what a row that names it twice says besides: that is a fault already."""
    rest = {name: given[name] for name in ("product_type", "is_confirmed") if name in given}
    if "bind_job_id" in given:
        return NamedBinding(bind_job_id=given["bind_job_id"], provider_fields=rest)
    if "out_order_id" in given:
        return NamedBinding(out_order_id=given["out_order_id"], provider_fields=rest)
    fields = ("subs_id", "phone_no_x", "pool_key")
    return NamedBinding(provider_fields=rest | {name: given[name] for name in fields if name in given})


def _faults_of_mode(given: Mapping[str, Any]) -> list[FieldFault]:
    told = given.get("mode", RebindMode.NEW_X)
    if told not in list(RebindMode):
        return [FieldFault("mode", mask_value(told), f"must be {' or '.join(RebindMode)}")]
    if told == RebindMode.NEW_X:
        return []
    rule = "is of no use with mode same-x, which keeps X and its pool"
    return [FieldFault(name, "", rule) for name in ("new_phone_no_x", "new_pool_key") if name in given]


def _operation_fault(given: Mapping[str, Any]) -> FieldFault:
    told = given.get("op")
    if told is None:
        return FieldFault("op", "", f"is required (or --op for all rows): one of {', '.join(Operation)}")
    if told in list(Operation):
        return FieldFault("op", str(told), "is not the operation that --op gives for all rows")
    return FieldFault("op", mask_value(told), f"must be one of {', '.join(Operation)}")
