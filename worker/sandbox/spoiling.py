"""What a fault sends instead of the true answer, and how it ends the connection."""

from collections.abc import Mapping
from typing import Literal

from worker.sandbox.answers import Answer, refusal_answer
from worker.sandbox.faults import Fault
from worker.sandbox.refusals import BusinessError, GatewayError

Ending = Literal["answer", "close", "hold", "half", "slow"]

ENDINGS: Mapping[str, Ending] = {
    "close_before": "close",
    "close_after": "close",
    "timeout_after": "hold",
    "half_answer": "half",
    "slow_headers": "slow",
}

_BAD_GATEWAY_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_GARBAGE = b"\x00\xff{]\xfe not JSON"
_REDIRECTED_TO = "/_sandbox/health"

_RAW_ANSWERS: Mapping[str, Answer] = {
    "html_502": Answer(502, "html_502", headers={"Content-Type": "text/html"}, raw_body=_BAD_GATEWAY_PAGE),
    "garbage": Answer(200, "garbage", raw_body=_GARBAGE),
    "redirect": Answer(302, "redirect", headers={"Location": _REDIRECTED_TO}, raw_body=b""),
}


def other_answer(fault: Fault) -> Answer:
    """The answer a fault gives instead of the true one.

    Raises:
        GatewayError: For `http_503`, which the gateway says like any refusal of its own.
    """
    if fault.kind == "http_503":
        raise GatewayError(503, "ServiceUnavailable", "The request has failed due to a temporary failure.")
    if fault.kind == "business":
        return refusal_answer(BusinessError(fault.code or ""))
    return _RAW_ANSWERS[fault.kind]
