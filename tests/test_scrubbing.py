"""Texts of exceptions and libraries: what must not leave is hidden, what helps remains."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.encryption_keys import new_key
from worker.scrubbing import Scrubber, secrets_of
from worker.settings import Settings

NUMBER = "13900001234"
SCRUBBER = Scrubber(["hunter2hunter2"])
SIGNATURE = "3fa94c1d" * 8
HMAC = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        (f"no such number {NUMBER}", NUMBER),
        ("login with hunter2hunter2 failed", "hunter2"),
        ("AccessKeySecret=abc123xyz was refused", "abc123xyz"),
        ("{'token': 'abc123xyz'", "abc123xyz"),
        ('body was {"data": {"phone_no_x": "X", "state": "bound"}} in all', "phone_no_x"),
        ('got b\'{"data": {"state": "bound"', "state"),
        ('["one", "two"] cannot be read', "two"),
        ("POST https://shop.example/axn/abc?token=t1 timed out", "abc"),
        ("cannot reach redis://user:pass77@h:6379/0", "pass77"),
        (f"Authorization: ACS3-HMAC-SHA256 Credential=k,SignedHeaders=a;b,Signature={SIGNATURE}", SIGNATURE[:9]),
        (f"sent ACS3-HMAC-SHA256 Credential=k,Signature={SIGNATURE}", "Credential"),
        (f"signature {HMAC} differs", HMAC[:20]),
        (f"hash {SIGNATURE} differs", SIGNATURE[:9]),
        ("to sign: POST&%2F&AccessKeyId%3Dtestid%26Action", "testid"),
        ("POST\n/\nAction=BindAxn&PhoneNoA=139&SignatureNonce=n", "BindAxn"),
        ("key whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw is bad", "MfKQ"),
        ("webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "g0hM"),
        ("told v1,g0hM9SsE", "g0hM"),
        ("Cookie: session=abc; other=def", "def"),
        ("Bearer abcdef.ghi", "ghi"),
    ],
)
def test_what_must_not_leave_is_hidden(text: str, leak: str) -> None:
    assert leak in text
    assert leak not in SCRUBBER.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "connection to shop.example refused after 3 tries (http.500)",
        "RequestId D5E4A1B2-1234-4A5B-8C6D-12345678901A",
        "job 01k9x3v7p2m4q8r6t0w5y1z3ab-2 is waiting",
        "worker.attempt.attempt.Attempts.work_on_everything_there_is",
        "code=poison",
        "/usr/lib/python3.12/site-packages/some_library/of_some/file.py:12: warning",
    ],
)
def test_what_helps_remains(text: str) -> None:
    kept = SCRUBBER.text(text)
    assert kept.split()[0] == text.split(maxsplit=1)[0]
    if "RequestId" not in text:
        assert kept == text


@given(
    st.recursive(
        st.text() | st.from_regex(r"\d{7,20}") | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_scrubbed_values_hold_no_run_of_seven_digits(value: Any) -> None:
    values = [SCRUBBER.value(value)]
    while values:
        one = values.pop()
        if isinstance(one, dict):
            values += [*one, *one.values()]
        elif isinstance(one, list):
            values += one
        else:
            assert not re.search(r"\d{7}", str(one))


def test_everything_under_a_secret_s_name_is_hidden() -> None:
    given_ = {"access_key_secret": "s3cr3t", "Authorization": ["ACS3 …"], "lane": "checkout"}
    assert SCRUBBER.value(given_) == {"access_key_secret": "[hidden]", "Authorization": "[hidden]", "lane": "checkout"}


def test_the_settings_secrets_are_all_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = {
        "AXN_ACCESS_KEY_ID": "key-id-1", "AXN_ACCESS_KEY_SECRET": "secret-1", "AXN_SECURITY_TOKEN": "token-1",
        "AXN_CALLBACK_SECRET": "whsec_one whsec_two", "AXN_REDIS_URL": "redis://:p%40ss1@h:1/0",
        "AXN_BROKER_URL": "redis://:broker-pass@h:1/1", "AXN_HTTP_PROXY": "http://u:proxy-pass@h:1",
        "AXN_SENTRY_DSN": "https://dsn@s/1",
    }  # fmt: skip
    for name, value in given_.items():
        monkeypatch.setenv(name, value)
    known = secrets_of(Settings())
    expected = {"key-id-1", "secret-1", "token-1", "whsec_one", "whsec_two", "p@ss1", "broker-pass", "proxy-pass"}
    assert expected <= known


def test_the_keys_of_the_numbers_are_among_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, index = new_key(), new_key(), new_key()
    monkeypatch.setenv("AXN_ENCRYPTION__KEYS", f"a:{first}, b:{second}")
    monkeypatch.setenv("AXN_ENCRYPTION__INDEX_KEY", index)
    assert {first, second, index} <= secrets_of(Settings())
