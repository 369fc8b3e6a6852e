import pytest

from worker.callbacks.events import ended_body
from worker.domain.job import JobKind, JobState

PARAMETERS = {
    "PhoneNoA": "15012345678",
    "Expiration": "2099-01-01 00:00:00",
    "OutId": "客户-7",
    "OutOrderId": "order-9",
}
BOUND_BODY = (
    '{"type":"bind.succeeded","timestamp":"2026-01-02T03:04:05.678Z","data":{"version":1,"job_id":"k1",'
    '"state":"bound","phone_no_a":"150****5678","phone_no_x":"17000001111","subs_id":"100",'
    '"expiration":"2099-01-01 00:00:00","out_id":"客户-7","out_order_id":"order-9","code":"OK","message":"OK",'
    '"request_id":"request-1","attempts":2,"possible_orphans":0}}'
)


def body_of(state: JobState, **fields: str | int) -> str:
    return ended_body(
        kind=JobKind.BIND,
        job_id="k1",
        state=state,
        unix_ms=1_767_323_045_678,
        attempts=2,
        parameters=PARAMETERS,
        fields=fields,
    )


def test_the_body_of_a_bound_job_is_this_text_and_shows_of_a_only_a_masked_form() -> None:
    body = body_of(
        JobState.BOUND, phone_no_x="17000001111", subs_id="100", code="OK", message="OK", request_id="request-1"
    )
    assert body == BOUND_BODY


@pytest.mark.parametrize(
    ("state", "type_"),
    [
        (JobState.BOUND, "bind.succeeded"),
        (JobState.FAILED, "bind.failed"),
        (JobState.IN_DOUBT, "bind.in_doubt"),
        (JobState.EXPIRED, "bind.expired"),
    ],
)
def test_each_end_has_its_type_and_none_shows_the_number(state: JobState, type_: str) -> None:
    body = body_of(state)
    assert body.startswith(f'{{"type":"{type_}",')
    assert "15012345678" not in body
