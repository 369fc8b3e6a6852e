"""What every answer of the provider means, and what its absence means: the one table.

Verdicts follow the Code, never the HTTP status alone: statuses differ between the provider's pages and products. The
rows are its error tables (the product's and the gateway's); what may happen after each of them is a judgement, and
leans to "may have been processed" wherever the provider's words do not rule that out.
"""

import re
from collections.abc import Mapping

from worker.domain.masking import mask_text
from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpAnswer, HttpError, NotSentError
from worker.provider.answers import Answer, bound_number, parse_answer

_TABLE: Mapping[str, Verdict] = {
    # --- the product's codes, mostly with HTTP 200 ---
    "isv.FLOW_LIMIT": Verdict.THROTTLED,
    # The load is shed before the carrier is called.
    "isp.VENDOR_UNAVAILABLE": Verdict.NOT_PROCESSED,
    # The carrier's definite report of a failure; another X may fare better.
    "isv.VENDOR_BIND_FAILED": Verdict.NOT_PROCESSED,
    # "Call again later" does not say that nothing has happened.
    "isp.SYSTEM_ERROR": Verdict.AMBIGUOUS,
    "isp.UNKNOWN_ERR_CODE": Verdict.AMBIGUOUS,
    "isp.DAO_EXCEPTION": Verdict.AMBIGUOUS,
    "isp.GATEWAY_ERROR": Verdict.AMBIGUOUS,
    "isv.NO_AVAILABLE_NUMBER": Verdict.NO_NUMBER,
    "isv.BIND_CONFLICT": Verdict.CONFLICT,
    "isv.NO_USED_BY_OTHERS": Verdict.CONFLICT,
    "isv.UPDATE_CONFLICT": Verdict.CONFLICT,
    "isv.SUBS_NOT_EXIST": Verdict.GONE,
    "isv.ILLEGAL_ARGUMENT": Verdict.WRONG_REQUEST,
    "isv.FORBIDDEN_ACTION": Verdict.WRONG_REQUEST,
    "isv.EXPIRE_DATE_ILLEGAL": Verdict.WRONG_REQUEST,
    "isv.MOBILE_NUMBER_ILLEGAL": Verdict.WRONG_REQUEST,
    "isv.INVALID_PARAMETERS": Verdict.WRONG_REQUEST,
    "isv.NO_NOT_EXIST": Verdict.WRONG_REQUEST,
    "isv.BUY_NUM_OVER_LIMIT": Verdict.WRONG_REQUEST,
    "isv.POOLKEY_NOT_EXISTS": Verdict.ACCOUNT,
    "isv.PARTNER_NOT_EXIST": Verdict.ACCOUNT,
    "isv.PARTNER_IS_CLOSED": Verdict.ACCOUNT,
    "isv.OUT_OF_SERVICE": Verdict.ACCOUNT,
    "isv.PRODUCT_UN_SUBSCRIPT": Verdict.ACCOUNT,
    "isv.PRODUCT_UNSUBSCRIBE": Verdict.ACCOUNT,
    "isv.ACCOUNT_NOT_EXISTS": Verdict.ACCOUNT,
    "isv.ACCOUNT_ABNORMAL": Verdict.ACCOUNT,
    "isp.RAM_PERMISSION_DENY": Verdict.ACCOUNT,
    # --- the gateway's codes ---
    # "Retry" is the documented advice here too, and excludes processing just as little.
    "ServiceUnavailable": Verdict.AMBIGUOUS,
    "InternalError": Verdict.AMBIGUOUS,
    "UnknownError": Verdict.AMBIGUOUS,
    "SignatureNonceUsed": Verdict.NONCE_USED,
    # Refused before processing: the next attempt carries a new timestamp, or an undamaged body.
    "InvalidTimeStamp.Expired": Verdict.NOT_PROCESSED,
    "ContentLengthDoesNotMatch": Verdict.NOT_PROCESSED,
    "ContentMD5NotMatched": Verdict.NOT_PROCESSED,
    "SignatureDoesNotMatch": Verdict.ACCOUNT,
    "IncompleteSignature": Verdict.ACCOUNT,
    "InvalidSignatureMethod": Verdict.ACCOUNT,
    "IllegalTimestamp": Verdict.ACCOUNT,
    "MissingSecurityToken": Verdict.ACCOUNT,
    "InvalidAction.NotFound": Verdict.ACCOUNT,
    "InvalidApi.NotFound": Verdict.ACCOUNT,
    "InvalidVersion": Verdict.ACCOUNT,
    "NoSuchVersion": Verdict.ACCOUNT,
    "InvalidProduct.NotFound": Verdict.ACCOUNT,
    "InvalidProtocol.NeedSsl": Verdict.ACCOUNT,
    "UnsupportedHTTPMethod": Verdict.ACCOUNT,
    "NoPermission": Verdict.ACCOUNT,
    "InsufficientBalance": Verdict.ACCOUNT,
    "POOLKEY_NOT_EXIST": Verdict.ACCOUNT,
    "UnsupportedParameter": Verdict.WRONG_REQUEST,
}

#: For codes the table does not name; the first that fits.
_PREFIXES: tuple[tuple[str, Verdict], ...] = (
    ("isp.", Verdict.AMBIGUOUS),
    ("isv.", Verdict.WRONG_REQUEST),
    ("Throttling", Verdict.THROTTLED),
    ("InvalidAccessKeyId", Verdict.ACCOUNT),
    ("InvalidSecurityToken", Verdict.ACCOUNT),
    ("InvalidTimeStamp", Verdict.ACCOUNT),
    ("Forbidden", Verdict.ACCOUNT),
    # Missing{Param} and Invalid{Param}.
    ("Missing", Verdict.WRONG_REQUEST),
    ("Invalid", Verdict.WRONG_REQUEST),
)

#: Codes whose Message tells more: where it matches, this verdict outranks the table's.
_BY_MESSAGE: Mapping[str, tuple[re.Pattern[str], Verdict]] = {
    "isv.ILLEGAL_ARGUMENT": (re.compile(r"subs not exist", re.IGNORECASE), Verdict.GONE),
    # updateEndDate, updateNoA, updateNoB: the binding has expired.
    "isv.FORBIDDEN_ACTION": (re.compile(r"update[A-Z]"), Verdict.GONE),
}

#: Every action but this one reports success as OK.
_SUCCESS_CODES: Mapping[str, str] = {"ListXTelephones": "0000"}

_QUERY_PREFIXES = ("Query", "List")
_HTTP_OK = 200
_HTTP_CLIENT_ERRORS = range(400, 500)
_HTTP_ERRORS = range(400, 600)

_RETRY_HEADER = "x-acs-retry-after"
#: Milliseconds; the official SDK's cap.
_LONGEST_RETRY_MS = 120_000

_LONGEST_MESSAGE = 500
_LONGEST_CODE = 100
_ECHOED_SIGNATURE = "The signature does not match; the provider's text echoes the request and is not kept."


def judge_answer(action: str, answer: HttpAnswer) -> Outcome:
    """What a complete HTTP answer, of whatever status and bytes, means for this action. Never raises.

    Codes of our own: `answer.unreadable` (no Code in it), `answer.incomplete` (a bind reported as done without SubsId
    or SecretNo, a purchase without SecretNo), `answer.contradictory` (a success code with an error's status, or beside
    a Success that is false).
    """
    fields = parse_answer(answer.body) or {}
    code, message = _texts(fields, "Code"), _texts(fields, "Message")
    retry_after_ms = _retry_after_ms(answer.headers)
    verdict, own_code = _verdict(action, answer.status, fields, retry_after_ms)
    shown = _safe_message(code, message) if message else _own_message(own_code, answer.status)
    return Outcome(
        verdict=verdict,
        code=own_code or mask_text(code)[:_LONGEST_CODE],
        message=shown,
        request_id=_texts(fields, "RequestId")[:_LONGEST_CODE],
        http_status=answer.status,
        retry_after_ms=retry_after_ms if verdict is Verdict.THROTTLED else 0,
        answer={**fields, "Message": shown} if message else fields,
    )


def judge_failure(action: str, failure: HttpError) -> Outcome:
    """What the lack of an answer means: not processed only where nothing was sent. The code is `transport.<kind>`."""
    verdict = Verdict.NOT_PROCESSED if isinstance(failure, NotSentError) else Verdict.AMBIGUOUS
    return Outcome(_for_action(action, verdict), f"transport.{failure.kind}", mask_text(failure.detail))


def _verdict(action: str, status: int, fields: Answer, retry_after_ms: int) -> tuple[Verdict, str]:
    """The verdict, and a code of our own where the answer's Code would not tell the reason."""
    code = _texts(fields, "Code")
    if code == _SUCCESS_CODES.get(action, "OK"):
        return _verdict_of_success(action, status, fields)
    if retry_after_ms and (code or status in _HTTP_ERRORS) and code != "SignatureNonceUsed":
        # A used nonce is exempt: it says that an earlier copy has arrived, which a mere "later" would forget.
        return Verdict.THROTTLED, "" if code else "answer.unreadable"
    if not code:
        return _for_action(action, Verdict.AMBIGUOUS), "answer.unreadable"
    return _for_action(action, _verdict_of_code(code, _texts(fields, "Message"), status)), ""


def _verdict_of_success(action: str, status: int, fields: Answer) -> tuple[Verdict, str]:
    if status != _HTTP_OK:
        return _for_action(action, Verdict.AMBIGUOUS), "answer.contradictory"
    if _texts(fields, "Success") == "false":
        return _for_action(action, Verdict.AMBIGUOUS), "answer.contradictory"
    if not _is_complete(action, fields):
        return Verdict.AMBIGUOUS, "answer.incomplete"
    return Verdict.DONE, ""


def _is_complete(action: str, fields: Answer) -> bool:
    """Whether it names what was bound or bought: that, the caller could not find out otherwise."""
    if action == "BindAxn":
        return bound_number(fields) is not None
    if action == "BuySecretNo":
        bought = fields.get("SecretBuyInfoDTO")
        return isinstance(bought, Mapping) and bool(_texts(bought, "SecretNo"))
    return True


def _verdict_of_code(code: str, message: str, status: int) -> Verdict:
    pattern, verdict = _BY_MESSAGE.get(code, (None, None))
    if pattern and verdict and pattern.search(message):
        return verdict
    if code in _TABLE:
        return _TABLE[code]
    for prefix, verdict_of_prefix in _PREFIXES:
        if code.startswith(prefix):
            return verdict_of_prefix
    # Unknown to every table: a client error with a Code is the gateway's refusal, anything else may have gone on.
    return Verdict.WRONG_REQUEST if status in _HTTP_CLIENT_ERRORS else Verdict.AMBIGUOUS


def _for_action(action: str, verdict: Verdict) -> Verdict:
    """Asking twice harms nothing, so a query is never ambiguous."""
    if verdict is Verdict.AMBIGUOUS and action.startswith(_QUERY_PREFIXES):
        return Verdict.NOT_PROCESSED
    return verdict


def _texts(fields: Answer, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _safe_message(code: str, message: str) -> str:
    if code.startswith("SignatureDoesNotMatch") or "string to sign" in message.lower():
        return _ECHOED_SIGNATURE
    return mask_text(message)[:_LONGEST_MESSAGE]


def _own_message(own_code: str, status: int) -> str:
    return f"HTTP {status} without a readable Code" if own_code == "answer.unreadable" else ""


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    """The header's positive whole number of milliseconds, capped; 0 for anything else."""
    digits = headers.get(_RETRY_HEADER, "").strip().lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        return 0
    return min(int(digits), _LONGEST_RETRY_MS) if len(digits) <= len(str(_LONGEST_RETRY_MS)) else _LONGEST_RETRY_MS
