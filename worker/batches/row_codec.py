"""Rows as the ledger keeps them until their turn comes: one line of JSON each, which packs well beside its like.

The key is kept, not made anew: it must stay what it was, also for a release that makes keys in another way.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from worker.batches.operations import Operation
from worker.batches.rows import BindRow, ChangeRow, NamedBinding, RebindRow, Row
from worker.domain.rebinding import RebindMode

_DIGEST_BYTES = 16


class RowCodec:
    """Writes rows and reads them back."""

    @staticmethod
    def text_of(row: Row) -> str:
        """A row's text, without line ends.

        Raises:
            TypeError: a value is of no type that rows have.
        """
        parts: list[Any] = [row.line, row.key, row.operation.value, row.wishes]
        if not isinstance(row, BindRow):
            named = row.binding
            parts.append([named.bind_job_id, named.out_order_id, named.provider_fields])
        if isinstance(row, RebindRow):
            parts.append(row.mode.value)
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"), default=_plain)

    @staticmethod
    def row_of(text: str) -> Row:
        """The row of a text."""
        line, key, operation_name, wishes, *rest = json.loads(text)
        operation = Operation(operation_name)
        if not rest:
            return BindRow(line=line, key=key, operation=operation, wishes=wishes)
        bind_job_id, out_order_id, provider_fields = rest[0]
        binding = NamedBinding(bind_job_id=bind_job_id, out_order_id=out_order_id, provider_fields=provider_fields)
        if operation is Operation.REBIND:
            mode = RebindMode(rest[1])
            return RebindRow(line=line, key=key, operation=operation, mode=mode, binding=binding, wishes=wishes)
        return ChangeRow(line=line, key=key, operation=operation, binding=binding, wishes=wishes)

    @staticmethod
    def digest_of(text: str) -> str:
        """Of what a row asks for, wherever in its file it stands."""
        return hashlib.blake2b(text.partition(",")[2].encode(), digest_size=_DIGEST_BYTES).hexdigest()


def _plain(value: object) -> object:
    """What JSON has no form for, as requests read it."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value / timedelta(milliseconds=1):.3f}ms"
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a row has a value of type {type(value).__name__}, which cannot be kept")
