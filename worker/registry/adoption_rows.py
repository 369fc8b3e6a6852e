"""Judges the rows of a file of bindings to adopt, by the same means as a batch's rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from worker.batches.cells import NumberCell, fault_of_number_cell, rule_of_spoiled_number
from worker.batches.checking import BadRow
from worker.batches.operations import RENEWAL
from worker.batches.raw_rows import WHOLE_ROW, RawRow, Table
from worker.callbacks.guard import ReceiverRules
from worker.domain.adopt_request import AdoptRequest
from worker.domain.masking import mask_value
from worker.errors import BatchInputError, FieldFault, InvalidRequestError

COLUMNS = frozenset(
    {
        "subs_id", "phone_no_x", "pool_key", "expiration", "out_id", "out_order_id", "callback_url",
        "callback_secret_name", "callback_order_key", *RENEWAL,
    }
)  # fmt: skip
_PARTS = {"renew": "renew_until"} | {f"renew.{part}": column for column, part in RENEWAL.items()}


@dataclass(frozen=True, slots=True)
class AdoptRow:
    """A row whose form is right.

    Attributes:
        line: in the file, from 1.
        cells: as they stood, should it turn out to be bad.
    """

    line: int
    request: AdoptRequest
    cells: tuple[str, ...]


class AdoptionRules:
    """Judges rows.

    Args:
        receivers: where callbacks may go.
        defaults: values of fields that a row leaves empty, such as pool_key; and, of rows without a policy of their
            own, `renew`.
    """

    def __init__(self, receivers: ReceiverRules, defaults: Mapping[str, Any]) -> None:
        self._receivers = receivers
        self._defaults = {name: value for name, value in defaults.items() if value}

    def judged(self, table: Table, *, most_rows: int) -> Iterator[AdoptRow | BadRow]:
        """Each row; of rows that name one SubsId the first is good.

        Raises:
            BatchInputError: what follows cannot be read, or there are too many rows.
        """
        lines: dict[str, int] = {}
        for count, raw in enumerate(table.rows(), 1):
            if count > most_rows:
                raise BatchInputError(f"the file has more than {most_rows} rows; split it")
            row = self._judge(raw)
            if isinstance(row, AdoptRow):
                first = lines.setdefault(row.request.subs_id, row.line)
                if first != row.line:
                    fault = FieldFault(WHOLE_ROW, "", f"names the binding of line {first}; remove one of the two")
                    row = BadRow(row.line, [fault], raw.cells, first)
            yield row

    def _judge(self, raw: RawRow) -> AdoptRow | BadRow:
        faults = [*raw.faults, *_faults_of_cells(raw.given)]
        given: dict[str, Any] = {name: value for name, value in raw.given.items() if name in COLUMNS}
        renew = {part: given.pop(column) for column, part in RENEWAL.items() if column in given}
        wanted = self._defaults | given | ({"renew": renew} if renew else {})
        request = None
        if raw.given or not faults:
            try:
                request = AdoptRequest(**wanted)
            except InvalidRequestError as invalid:
                faults += self._known_anew(invalid, raw.given, faults)
        if request is not None and not faults and (fault := self._receivers_fault(request)):
            faults.append(fault)
        if faults or request is None:
            return BadRow(raw.line, faults, raw.cells)
        return AdoptRow(raw.line, request, tuple(raw.cells))

    def _receivers_fault(self, request: AdoptRequest) -> FieldFault | None:
        rule = self._receivers.fault_of(request.callback_url) if request.callback_url else ""
        return FieldFault("callback_url", "", rule) if rule else None

    @staticmethod
    def _known_anew(
        invalid: InvalidRequestError, given: Mapping[str, Any], known: list[FieldFault]
    ) -> Iterator[FieldFault]:
        """Its faults under the columns' names, with what has spoiled a number; those known already are left out."""
        names = {fault.field for fault in known}
        for fault in invalid.faults:
            name = _PARTS.get(fault.field, fault.field)
            if name not in names:
                is_number = name in ("subs_id", "phone_no_x") and name in given
                spoiled = rule_of_spoiled_number(name, given[name]) if is_number else ""
                yield FieldFault(name, fault.value, spoiled or fault.rule)


def _faults_of_cells(given: Mapping[str, Any]) -> Iterator[FieldFault]:
    for name, value in given.items():
        if name not in COLUMNS:
            rule = "is of no use for adopt; empty the cell, or leave the column out with --ignore"
            yield FieldFault(name, mask_value(value), rule)
        elif (
            isinstance(value, NumberCell)
            and name in ("subs_id", "phone_no_x")
            and (fault := fault_of_number_cell(name, value))
        ):
            yield fault
