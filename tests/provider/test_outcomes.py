import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpAnswer, MaybeSentError, NotSentError
from worker.provider.outcomes import judge_answer, judge_failure

ACTIONS = ["BindAxn", "UnbindSubscription", "UpdateSubscription", "QuerySubsId", "QuerySubscriptionDetail"]
QUERIES = ["QuerySubsId", "QuerySubscriptionDetail", "QuerySecretNoRemain", "QuerySecretNoDetail", "ListXTelephones"]
CHANGES = [
    "BindAxn",
    "UnbindSubscription",
    "UpdateSubscription",
    "LockSecretNo",
    "UnlockSecretNo",
    "BuySecretNo",
    "ReleaseSecretNo",
]

SPECIAL = {"BindAxn", "BuySecretNo", "ListXTelephones"}

#: Every row of the product's error table: code, message, verdict for a change.
BUSINESS = [
    ("isv.FLOW_LIMIT", "", Verdict.THROTTLED),
    ("isp.VENDOR_UNAVAILABLE", "", Verdict.NOT_PROCESSED),
    ("isp.SYSTEM_ERROR", "", Verdict.AMBIGUOUS),
    ("isp.UNKNOWN_ERR_CODE", "", Verdict.AMBIGUOUS),
    ("isp.DAO_EXCEPTION", "", Verdict.AMBIGUOUS),
    ("isp.GATEWAY_ERROR", "", Verdict.AMBIGUOUS),
    ("isv.VENDOR_BIND_FAILED", "", Verdict.NOT_PROCESSED),
    ("isv.NO_AVAILABLE_NUMBER", "", Verdict.NO_NUMBER),
    ("isv.BIND_CONFLICT", "isv.BIND_CONFLICT", Verdict.CONFLICT),
    ("isv.NO_USED_BY_OTHERS", "", Verdict.CONFLICT),
    ("isv.UPDATE_CONFLICT", "", Verdict.CONFLICT),
    ("isv.SUBS_NOT_EXIST", "", Verdict.GONE),
    ("isv.ILLEGAL_ARGUMENT", "phoneNoA", Verdict.WRONG_REQUEST),
    ("isv.ILLEGAL_ARGUMENT", "subs not exist", Verdict.GONE),
    ("isv.ILLEGAL_ARGUMENT", "Subs Not Exist.", Verdict.GONE),
    ("isv.FORBIDDEN_ACTION", "", Verdict.WRONG_REQUEST),
    ("isv.FORBIDDEN_ACTION", "createSubs", Verdict.WRONG_REQUEST),
    ("isv.FORBIDDEN_ACTION", "createAxgGroup", Verdict.WRONG_REQUEST),
    ("isv.FORBIDDEN_ACTION", "updateEndDate", Verdict.GONE),
    ("isv.FORBIDDEN_ACTION", "forbidden action: updateNoA", Verdict.GONE),
    ("isv.FORBIDDEN_ACTION", "updateNoB", Verdict.GONE),
    ("isv.EXPIRE_DATE_ILLEGAL", "expireDate less than 1 minutes from now", Verdict.WRONG_REQUEST),
    ("isv.MOBILE_NUMBER_ILLEGAL", "", Verdict.WRONG_REQUEST),
    ("isv.INVALID_PARAMETERS", "", Verdict.WRONG_REQUEST),
    ("isv.NO_NOT_EXIST", "", Verdict.WRONG_REQUEST),
    ("isv.POOLKEY_NOT_EXISTS", "", Verdict.ACCOUNT),
    ("isv.PARTNER_NOT_EXIST", "", Verdict.ACCOUNT),
    ("isv.PARTNER_IS_CLOSED", "", Verdict.ACCOUNT),
    ("isv.OUT_OF_SERVICE", "", Verdict.ACCOUNT),
    ("isv.PRODUCT_UN_SUBSCRIPT", "", Verdict.ACCOUNT),
    ("isv.PRODUCT_UNSUBSCRIBE", "", Verdict.ACCOUNT),
    ("isv.ACCOUNT_NOT_EXISTS", "", Verdict.ACCOUNT),
    ("isv.ACCOUNT_ABNORMAL", "", Verdict.ACCOUNT),
    ("isp.RAM_PERMISSION_DENY", "", Verdict.ACCOUNT),
    ("isv.BUY_NUM_OVER_LIMIT", "", Verdict.WRONG_REQUEST),
    ("isp.SOMETHING_NEW", "", Verdict.AMBIGUOUS),
    ("isv.SOMETHING_NEW", "", Verdict.WRONG_REQUEST),
]

#: Every row of the gateway's error table: code, documented status, verdict for a change.
GATEWAY = [
    ("Throttling", 400, Verdict.THROTTLED),
    ("Throttling.User", 400, Verdict.THROTTLED),
    ("Throttling.Api", 400, Verdict.THROTTLED),
    ("Throttling.User", 429, Verdict.THROTTLED),
    ("ServiceUnavailable", 503, Verdict.AMBIGUOUS),
    ("InternalError", 500, Verdict.AMBIGUOUS),
    ("UnknownError", 500, Verdict.AMBIGUOUS),
    ("SignatureDoesNotMatch", 400, Verdict.ACCOUNT),
    ("SignatureDoesNotMatch", 403, Verdict.ACCOUNT),
    ("IncompleteSignature", 400, Verdict.ACCOUNT),
    ("InvalidSignatureMethod", 400, Verdict.ACCOUNT),
    ("SignatureNonceUsed", 400, Verdict.NONCE_USED),
    ("InvalidTimeStamp.Expired", 400, Verdict.NOT_PROCESSED),
    ("InvalidTimeStamp.Format", 400, Verdict.ACCOUNT),
    ("IllegalTimestamp", 400, Verdict.ACCOUNT),
    ("InvalidAccessKeyId.NotFound", 404, Verdict.ACCOUNT),
    ("InvalidAccessKeyId", 400, Verdict.ACCOUNT),
    ("InvalidAccessKeyId.Inactive", 400, Verdict.ACCOUNT),
    ("Forbidden.AccessKeyDisabled", 403, Verdict.ACCOUNT),
    ("InvalidSecurityToken.Expired", 400, Verdict.ACCOUNT),
    ("InvalidSecurityToken.Malformed", 400, Verdict.ACCOUNT),
    ("InvalidSecurityToken.MismatchWithAccessKey", 403, Verdict.ACCOUNT),
    ("MissingSecurityToken", 400, Verdict.ACCOUNT),
    ("MissingPoolKey", 400, Verdict.WRONG_REQUEST),
    ("MissingParameter", 400, Verdict.WRONG_REQUEST),
    ("InvalidParameter", 400, Verdict.WRONG_REQUEST),
    ("InvalidPhoneNoA", 400, Verdict.WRONG_REQUEST),
    ("InvalidParameter.Format", 400, Verdict.WRONG_REQUEST),
    ("UnsupportedParameter", 400, Verdict.WRONG_REQUEST),
    ("InvalidAction.NotFound", 404, Verdict.ACCOUNT),
    ("InvalidApi.NotFound", 404, Verdict.ACCOUNT),
    ("InvalidVersion", 400, Verdict.ACCOUNT),
    ("NoSuchVersion", 400, Verdict.ACCOUNT),
    ("InvalidProduct.NotFound", 404, Verdict.ACCOUNT),
    ("InvalidProtocol.NeedSsl", 404, Verdict.ACCOUNT),
    ("UnsupportedHTTPMethod", 403, Verdict.ACCOUNT),
    ("ContentLengthDoesNotMatch", 400, Verdict.NOT_PROCESSED),
    ("ContentMD5NotMatched", 400, Verdict.NOT_PROCESSED),
    ("Forbidden.RAM", 403, Verdict.ACCOUNT),
    ("NoPermission", 403, Verdict.ACCOUNT),
    ("Forbidden", 403, Verdict.ACCOUNT),
    ("Forbidden.RiskControl", 403, Verdict.ACCOUNT),
    ("InsufficientBalance", 400, Verdict.ACCOUNT),
    ("POOLKEY_NOT_EXIST", 400, Verdict.ACCOUNT),
]


def judged(
    action: str,
    fields: dict[str, Any] | bytes,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Outcome:
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return judge_answer(action, HttpAnswer(status, headers or {}, body))


def for_query(verdict: Verdict) -> Verdict:
    return Verdict.NOT_PROCESSED if verdict is Verdict.AMBIGUOUS else verdict


# --- the table, row by row ---


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize(("code", "message", "verdict"), BUSINESS)
def test_each_product_code_has_its_verdict(action: str, code: str, message: str, verdict: Verdict) -> None:
    outcome = judged(action, {"Code": code, "Message": message, "RequestId": "R", "SecretBindDTO": {}})
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert (outcome.message, outcome.request_id, outcome.http_status) == (message, "R", 200)


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize(("code", "status", "verdict"), GATEWAY)
def test_each_gateway_code_has_its_verdict(action: str, code: str, status: int, verdict: Verdict) -> None:
    outcome = judged(action, {"Code": code, "RequestId": "R", "HostId": "h", "Recommend": "u"}, status=status)
    assert (outcome.verdict, outcome.code, outcome.http_status) == (verdict, code, status)


@pytest.mark.parametrize(("code", "documented", "verdict"), GATEWAY)
@pytest.mark.parametrize("status", [200, 400, 403, 404, 429, 500, 503])
def test_the_code_decides_not_the_status(code: str, documented: int, verdict: Verdict, status: int) -> None:
    assert judged("BindAxn", {"Code": code}, status=status).verdict is verdict


@pytest.mark.parametrize("action", QUERIES)
@pytest.mark.parametrize(("code", "message", "verdict"), BUSINESS)
def test_a_query_is_never_ambiguous(action: str, code: str, message: str, verdict: Verdict) -> None:
    assert judged(action, {"Code": code, "Message": message}).verdict is for_query(verdict)


@pytest.mark.parametrize("action", QUERIES)
@pytest.mark.parametrize(("code", "status", "verdict"), GATEWAY)
def test_a_query_is_never_ambiguous_at_the_gateway_either(
    action: str, code: str, status: int, verdict: Verdict
) -> None:
    assert judged(action, {"Code": code}, status=status).verdict is for_query(verdict)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, Verdict.WRONG_REQUEST),
        (404, Verdict.WRONG_REQUEST),
        (500, Verdict.AMBIGUOUS),
        (503, Verdict.AMBIGUOUS),
        (200, Verdict.AMBIGUOUS),
        (302, Verdict.AMBIGUOUS),
    ],
)
def test_an_unknown_code_is_a_refusal_only_with_a_client_error(status: int, verdict: Verdict) -> None:
    outcome = judged("BindAxn", {"Code": "Never.Seen", "Message": "m"}, status=status)
    assert (outcome.verdict, outcome.code) == (verdict, "Never.Seen")


def test_the_same_is_read_from_xml() -> None:
    body = b"<Error><RequestId>R</RequestId><Code>Throttling.User</Code><Message>slow down</Message></Error>"
    outcome = judged("BindAxn", body, status=400, headers={"x-acs-retry-after": "250"})
    assert (outcome.verdict, outcome.retry_after_ms, outcome.message) == (Verdict.THROTTLED, 250, "slow down")


# --- success ---

BOUND = {"Code": "OK", "Message": "OK", "RequestId": "R", "SecretBindDTO": {"SubsId": 1, "SecretNo": "17000000000"}}


def test_a_bind_is_done_with_ok_and_a_number() -> None:
    outcome = judged("BindAxn", BOUND)
    assert (outcome.verdict, outcome.code, outcome.request_id) == (Verdict.DONE, "OK", "R")
    assert outcome.answer["SecretBindDTO"] == {"SubsId": "1", "SecretNo": "17000000000"}


@pytest.mark.parametrize(
    "dto", [None, {}, {"SubsId": "1"}, {"SecretNo": "17000000000"}, {"SubsId": "", "SecretNo": "1"}]
)
def test_a_bind_without_its_number_is_ambiguous(dto: Any) -> None:
    outcome = judged("BindAxn", BOUND | {"SecretBindDTO": dto})
    assert (outcome.verdict, outcome.code) == (Verdict.AMBIGUOUS, "answer.incomplete")


@pytest.mark.parametrize("action", [action for action in CHANGES + QUERIES if action not in SPECIAL])
def test_other_actions_are_done_with_ok_alone(action: str) -> None:
    assert judged(action, {"Code": "OK"}).verdict is Verdict.DONE


def test_listing_numbers_has_a_success_code_of_its_own() -> None:
    assert judged("ListXTelephones", {"Code": "0000", "Success": True}).verdict is Verdict.DONE
    assert judged("BindAxn", BOUND | {"Code": "0000"}).verdict is Verdict.AMBIGUOUS


def test_a_page_of_numbers_that_denies_its_success_proves_nothing() -> None:
    outcome = judged("ListXTelephones", {"Code": "0000", "Success": False})
    assert (outcome.verdict, outcome.code) == (Verdict.NOT_PROCESSED, "answer.contradictory")


@pytest.mark.parametrize("dto", [None, {}, {"SecretNo": ""}, "17000000000"])
def test_a_purchase_without_its_number_is_ambiguous(dto: Any) -> None:
    outcome = judged("BuySecretNo", {"Code": "OK", "SecretBuyInfoDTO": dto})
    assert (outcome.verdict, outcome.code) == (Verdict.AMBIGUOUS, "answer.incomplete")


def test_a_purchase_with_its_number_is_done() -> None:
    outcome = judged("BuySecretNo", {"code": "OK", "secretBuyInfoDTO": {"secretNo": 17000000000}})
    assert outcome.verdict is Verdict.DONE


@pytest.mark.parametrize("action", [action for action in CHANGES + QUERIES if action != "ListXTelephones"])
def test_0000_is_a_success_of_the_list_only(action: str) -> None:
    verdict = for_query(Verdict.AMBIGUOUS) if action in QUERIES else Verdict.AMBIGUOUS
    assert judged(action, {"Code": "0000"}).verdict is verdict


@pytest.mark.parametrize("status", [201, 204, 302, 400, 500, 502])
def test_ok_with_another_status_proves_nothing(status: int) -> None:
    outcome = judged("BindAxn", BOUND, status=status)
    assert (outcome.verdict, outcome.code) == (Verdict.AMBIGUOUS, "answer.contradictory")


def test_a_retry_header_does_not_undo_a_success() -> None:
    assert judged("BindAxn", BOUND, headers={"x-acs-retry-after": "500"}).verdict is Verdict.DONE


# --- no Code in it ---


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"{}", b'{"Code":""}', b'{"Code":null}', b'{"Code":["OK"]}']
)
def test_an_answer_without_a_code_is_ambiguous_whatever_its_status(status: int, body: bytes) -> None:
    outcome = judged("BindAxn", body, status=status)
    assert (outcome.verdict, outcome.code) == (Verdict.AMBIGUOUS, "answer.unreadable")
    assert outcome.message == f"HTTP {status} without a readable Code"
    assert judged("QuerySubsId", body, status=status).verdict is Verdict.NOT_PROCESSED


# --- the retry header ---


@pytest.mark.parametrize(
    ("value", "delay_ms"),
    [
        ("1", 1),
        ("250", 250),
        (" 250 ", 250),
        ("007", 7),
        ("120000", 120_000),
        ("120001", 120_000),
        ("9" * 9_000, 120_000),
    ],
)
@pytest.mark.parametrize("code", ["Throttling", "ServiceUnavailable", "isp.SYSTEM_ERROR", "Never.Seen"])
def test_an_error_with_a_retry_header_is_throttling_whatever_its_code(value: str, delay_ms: int, code: str) -> None:
    outcome = judged("BindAxn", {"Code": code}, status=503, headers={"x-acs-retry-after": value})
    assert (outcome.verdict, outcome.retry_after_ms, outcome.code) == (Verdict.THROTTLED, delay_ms, code)


@pytest.mark.parametrize("value", ["", "0", "-1", "1.5", "soon", "１２", "1_0", "²", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_retry_header_that_is_no_positive_number_is_ignored(value: str) -> None:
    outcome = judged("BindAxn", {"Code": "ServiceUnavailable"}, status=503, headers={"x-acs-retry-after": value})
    assert (outcome.verdict, outcome.retry_after_ms) == (Verdict.AMBIGUOUS, 0)


def test_a_used_nonce_stays_a_used_nonce_under_a_retry_header() -> None:
    outcome = judged("BindAxn", {"Code": "SignatureNonceUsed"}, status=400, headers={"x-acs-retry-after": "5"})
    assert (outcome.verdict, outcome.retry_after_ms) == (Verdict.NONCE_USED, 0)


def test_a_retry_header_on_an_error_page_is_throttling_but_on_a_bare_200_is_not() -> None:
    headers = {"x-acs-retry-after": "5"}
    assert judged("BindAxn", b"<html>", status=503, headers=headers).verdict is Verdict.THROTTLED
    assert judged("BindAxn", b"<html>", status=200, headers=headers).verdict is Verdict.AMBIGUOUS


# --- texts ---


def test_numbers_in_a_message_are_masked_everywhere() -> None:
    outcome = judged("BindAxn", {"Code": "isv.BIND_CONFLICT", "Message": "15000000000 is bound"})
    assert outcome.message == "150****0000 is bound"
    assert "15000000000" not in repr(outcome)


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "SignatureDoesNotMatch.V3", "IncompleteSignature"])
def test_an_echoed_string_to_sign_is_not_kept(code: str) -> None:
    echoed = "not matched with our calculation. server String To Sign is:POST&%2F&AccessKeyId%3Dtestid%26PhoneNoA%3D150"
    outcome = judged("BindAxn", {"Code": code, "Message": echoed}, status=400)
    assert "testid" not in repr(outcome)
    assert outcome.message.startswith("The signature does not match")


def test_texts_of_any_length_are_cut() -> None:
    outcome = judged("BindAxn", {"Code": "x" * 5_000, "Message": "m" * 5_000, "RequestId": "r" * 5_000})
    assert max(len(outcome.code), len(outcome.message), len(outcome.request_id)) <= 500


# --- no answer ---


@pytest.mark.parametrize("kind", ["connect_refused", "dns", "tls", "connect_timeout", "refused_by_guard"])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_was_not_sent_was_not_processed(action: str, kind: str) -> None:
    outcome = judge_failure(action, NotSentError(kind, "host: 15000000000"))
    assert outcome == Outcome(Verdict.NOT_PROCESSED, f"transport.{kind}", "host: 150****0000")


@pytest.mark.parametrize("kind", ["timeout", "disconnected", "reset", "bad_answer", "answer_too_large", "unknown"])
@pytest.mark.parametrize("action", ACTIONS)
def test_what_may_have_been_sent_is_ambiguous_unless_it_was_a_query(action: str, kind: str) -> None:
    outcome = judge_failure(action, MaybeSentError(kind, "host"))
    verdict = Verdict.NOT_PROCESSED if action.startswith("Query") else Verdict.AMBIGUOUS
    assert (outcome.verdict, outcome.code, outcome.http_status) == (verdict, f"transport.{kind}", 0)


# --- anything at all ---

CODES = sorted({row[0] for row in BUSINESS} | {row[0] for row in GATEWAY} | {"OK", "0000"})
WIRE_VALUES = st.none() | st.integers() | st.sampled_from(CODES) | st.text(max_size=30) | st.just({"SubsId": "1"})
WIRE_NAMES = st.sampled_from(["Code", "code", "Message", "RequestId", "requestId", "SecretBindDTO"])
BODIES = st.binary(max_size=100) | st.dictionaries(WIRE_NAMES, WIRE_VALUES).map(lambda wire: json.dumps(wire).encode())
HEADERS = st.dictionaries(st.sampled_from(["x-acs-retry-after", "content-type"]), st.text(max_size=12))


@given(st.sampled_from(CHANGES + QUERIES) | st.text(max_size=5), st.integers(0, 999), HEADERS, BODIES)
def test_no_answer_of_any_shape_makes_the_table_raise(
    action: str,
    status: int,
    headers: dict[str, str],
    body: bytes,
) -> None:
    outcome = judge_answer(action, HttpAnswer(status, headers, body))
    assert isinstance(outcome.verdict, Verdict)
    assert outcome.code
    assert outcome.http_status == status
    assert 0 <= outcome.retry_after_ms <= 120_000
    assert outcome.verdict is not Verdict.DONE or status == 200
    f"{outcome.code}{outcome.message}{outcome.request_id}{outcome.answer}".encode()
