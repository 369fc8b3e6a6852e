"""Answers, and how they look in JSON and XML."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote
from uuid import uuid4

from worker.sandbox.refusals import BusinessError, GatewayError, RefusalError

JSON_TYPE = "application/json;charset=utf-8"
# The provider's client reads XML errors only under exactly this spelling.
XML_TYPE = "text/xml;charset=utf-8"
FLOW_LIMIT = "isv.FLOW_LIMIT"
_HOST_ID = "dyplsapi.aliyuncs.com"
_OK_STATUS = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says to one request: status, Code, Message and the action's own fields.

    A `raw_body` is sent as it is, instead of all that.
    """

    status: int = _OK_STATUS
    code: str = "OK"
    message: str = "OK"
    fields: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw_body: bytes | None = None


def refusal_answer(refusal: RefusalError) -> Answer:
    return Answer(refusal.status, refusal.code, refusal.message, headers=refusal.headers)


def throttled(style: str, retry_after_ms: int | None) -> RefusalError:
    """A refusal for going too fast, from the layer `style` names; `x-acs-retry-after` is in milliseconds."""
    headers = {} if retry_after_ms is None else {"x-acs-retry-after": str(retry_after_ms)}
    if style == "business":
        return BusinessError(FLOW_LIMIT, headers=headers)
    return GatewayError(400, "Throttling.User", "Request was denied due to user flow control.", headers)


def new_request_id() -> str:
    """An upper-case UUID, as in every reply of the provider."""
    return str(uuid4()).upper()


def render(answer: Answer, *, action: str, request_id: str, as_xml: bool) -> bytes:
    """The body of an answer: flat for the product, five fields (and root `Error` in XML) for the gateway."""
    body: dict[str, object] = {"RequestId": request_id, "Code": answer.code, "Message": answer.message}
    is_error = answer.status != _OK_STATUS
    body |= _gateway_fields(answer.code) if is_error else answer.fields
    if as_xml:
        return _xml_document("Error" if is_error else f"{action}Response", body)
    return json.dumps(body, ensure_ascii=False).encode()


def _gateway_fields(code: str) -> dict[str, object]:
    recommend = f"https://error-center.aliyun.com/status/search?Keyword={quote(code)}&source=PopGw"
    return {"HostId": _HOST_ID, "Recommend": recommend}


def _xml_document(root: str, body: Mapping[str, object]) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>{_xml_element(root, body)}'.encode()


def _xml_element(name: str, value: object) -> str:
    if isinstance(value, list):
        return "".join(_xml_element(name, item) for item in value)
    if isinstance(value, Mapping):
        inner = "".join(_xml_element(child, below) for child, below in value.items())
    elif isinstance(value, bool):
        inner = str(value).lower()
    else:
        inner = escape(str(value), quote=False)
    return f"<{name}>{inner}</{name}>"
