"""What a row asks for outlives the ledger, whatever a file or a program gave."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.batches.operations import Operation
from worker.batches.row_codec import RowCodec
from worker.batches.rows import BindRow, ChangeRow, RebindRow

from .feed_bench import row

A = {"phone_no_a": "13800000000"}
NAMED = {"subs_id": "1000000768798832", "phone_no_x": "17000000001", "pool_key": "FC2"}


@pytest.mark.parametrize(
    ("operation", "given"),
    [
        (Operation.BIND, {**A, "expires_in": timedelta(hours=1.5), "key": "k", "expect_city": "上海"}),
        (Operation.BIND, {**A, "expiration": datetime(2099, 12, 1, tzinfo=UTC), "call_timeout": 30}),
        (Operation.BIND, {"phone_no_a": "13800000000", "expires_in": "2h", "ring_config": {"AXNRing_A": "a\nb"}}),
        (Operation.UNBIND, {"bind_job_id": "0" * 26}),
        (Operation.UNBIND, {**NAMED, "is_confirmed": True}),
        (Operation.MOVE_A, {**NAMED, "phone_no_a": "13800000001"}),
        (Operation.MOVE_B, {**NAMED, "phone_no_b": "13800000001", "deadline": datetime(2099, 12, 1, tzinfo=UTC)}),
        (Operation.SET_EXPIRATION, {"bind_job_id": "0" * 26, "expires_in": 3600}),
        (Operation.SET_RECORDING, {**NAMED, "is_recording_enabled": False}),
        (Operation.SET_OUT_ID, {"out_order_id": "order-1", "out_id": "号"}),
        (Operation.REBIND, {"out_order_id": "order-1", "mode": "same-x", "phone_no_a": "13800000001"}),
    ],
)  # fmt: skip
def test_rows_come_back_as_they_were(operation: Operation, given: dict[str, Any]) -> None:
    before = row(7, given, operation)
    text = RowCodec.text_of(before)
    assert "\n" not in text
    after = RowCodec.row_of(text)
    assert RowCodec.text_of(after) == text
    assert (after.line, after.key, after.operation, type(after)) == (7, before.key, operation, type(before))
    job_id = "1" * 26 if isinstance(before, ChangeRow | RebindRow) and before.binding.out_order_id else ""
    if isinstance(before, RebindRow):
        assert isinstance(after, RebindRow)
        assert (after.mode, after.binding, after.wishes) == (before.mode, before.binding, before.wishes)
    elif isinstance(before, BindRow):
        assert isinstance(after, BindRow)
        assert after.request().digest() == before.request().digest()
    else:
        assert isinstance(after, ChangeRow)
        assert after.request(job_id).digest() == before.request(job_id).digest()


def test_the_digest_is_of_what_is_asked_for_not_of_the_line() -> None:
    one, other_line = (RowCodec.text_of(row(line, NAMED, Operation.UNBIND)) for line in (2, 3))
    assert one != other_line
    assert RowCodec.digest_of(one) == RowCodec.digest_of(other_line)
    assert RowCodec.digest_of(one) != RowCodec.digest_of(one.replace("FC2", "FC3"))


def test_a_value_of_another_type_is_refused() -> None:
    before = row(2, {"phone_no_a": "13800000000", "expires_in": "2h"}, Operation.BIND)
    odd = BindRow(line=2, key=before.key, operation=Operation.BIND, wishes={"out_id": object()})
    with pytest.raises(TypeError, match="of type object"):
        RowCodec.text_of(odd)
