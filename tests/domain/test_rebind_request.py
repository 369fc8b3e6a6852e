"""Rebind requests: what they say of the new binding, and what they cannot mean."""

from datetime import UTC, datetime
from typing import Any

import pytest

from worker.batches.operations import FIELDS, RENEWAL, Operation
from worker.domain.job_request import JobRequest
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.errors import InvalidRequestError

NAMED: dict[str, Any] = {"subs_id": "100", "phone_no_x": "17000000001"}
NOON = datetime(2026, 12, 1, 4, tzinfo=UTC)


def test_nothing_need_be_different_but_x() -> None:
    request = RebindRequest(**NAMED)
    assert (request.mode, request.wire_wishes(None)) == (RebindMode.NEW_X, {})


def test_the_new_bindings_own_names_do_not_mix_with_those_of_the_old_one() -> None:
    request = RebindRequest(
        **NAMED, pool_key="FC1", new_pool_key="FC2", new_phone_no_x="17000000002", new_out_order_id="o", OutId="i",
        is_recording_enabled="no", call_timeout=20,
    )  # fmt: skip
    assert request.wire_wishes(NOON) == {
        "PoolKey": "FC2", "PhoneNoX": "17000000002", "OutOrderId": "o", "OutId": "i", "IsRecordingEnabled": "false",
        "CallTimeout": "20", "Expiration": "2026-12-01 12:00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "field", "rule"),
    [
        ({"mode": "old-x"}, "mode", "must be"),
        ({"expiration": NOON, "expires_in": "2h"}, "expiration", "give either expiration or expires_in"),
        ({"mode": "same-x", "new_phone_no_x": "17000000002"}, "new_phone_no_x", "is of no use with mode same-x"),
        ({"mode": "same-x", "new_pool_key": "FC2"}, "new_pool_key", "is of no use with mode same-x"),
        ({"mode": "same-x", "product_type": "AXN_170"}, "product_type", "cannot be kept on its X"),
        ({"product_type": "AXN_170"}, "new_pool_key", "is required beside product_type"),
        ({"out_order_id": "o"}, "out_order_id", "give either bind_job_id, or out_order_id, or subs_id"),
        ({"phone_no_c": "1"}, "phone_no_c", "is no field of a rebind request; did you mean phone_no_"),
    ],
)
def test_what_cannot_be_meant_is_named(given: dict[str, Any], field: str, rule: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        RebindRequest(**NAMED, **given)
    (fault,) = caught.value.faults
    assert (fault.field, fault.rule[: len(rule)]) == (field, rule)


def test_a_row_of_a_batch_may_ask_for_all_that_a_request_may() -> None:
    of_batches = {"idempotency_key", "lane"}
    of_rows = FIELDS[Operation.REBIND] - {"op", "key"}
    assert set(RENEWAL) < of_rows  # one column for each part of `renew`
    assert of_rows - set(RENEWAL) == set(RebindRequest.model_fields) - of_batches - {"renew"}
    assert of_batches < set(JobRequest.model_fields)
