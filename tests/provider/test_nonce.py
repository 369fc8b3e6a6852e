import re

from hypothesis import given
from hypothesis import strategies as st

from worker.provider.nonce import attempt_nonce

ATTEMPTS = st.integers(0, 10_000)


def test_a_nonce_never_changes_between_releases() -> None:
    # printf 1 | openssl dgst -sha256 -hmac seed
    assert attempt_nonce("seed", 1) == "615083988aa1b4fb2fc6f4f679261468"


@given(st.text(max_size=40), ATTEMPTS)
def test_a_nonce_is_32_lower_case_hexadecimal_digits_and_repeatable(seed: str, attempt: int) -> None:
    nonce = attempt_nonce(seed, attempt)
    assert re.fullmatch("[0-9a-f]{32}", nonce)
    assert attempt_nonce(seed, attempt) == nonce


@given(st.text(max_size=40), st.text(max_size=40), ATTEMPTS, ATTEMPTS)
def test_two_attempts_or_two_jobs_never_share_a_nonce(one: str, other: str, attempt: int, later: int) -> None:
    is_same = (one, attempt) == (other, later)
    assert (attempt_nonce(one, attempt) == attempt_nonce(other, later)) is is_same
