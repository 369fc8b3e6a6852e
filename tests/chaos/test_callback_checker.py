"""Each promise about callbacks is seen to be broken by a history made for it, and kept by the nearest right one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.callback_checker import (
    Arrival,
    CallbackEvidence,
    KeySpan,
    Owed,
    Receiver,
    Silence,
    check_callbacks,
    delays_ms,
    signature_of,
)
from worker.callbacks.sender import signed_headers
from worker.callbacks.signature import parse_secret

KEY, NEW_KEY = "whsec_" + "a" * 32, "whsec_" + "b" * 32
JOB, ID, HOST, X = "k1", "k1-1", "127.1.0.2", "17000000001"
END_MS = 1_000_000_000
BODY = json.dumps({"type": "bind.succeeded", "data": {"job_id": JOB, "state": "bound", "phone_no_x": X}}).encode()
OWED = Owed(JOB, HOST, ID, END_MS, "bound", X)
DEAD = replace(OWED, callback_state="dead", dead_error="http.500")
SCHEDULE_MS = (1_000, 2_000)


def arrival(after_ms: int = 20, status: int = 200, *, keys: Sequence[str] = (KEY,), **other: Any) -> Arrival:
    """A request signed as it comes with these keys, so long after the end of the job."""
    at_ms = END_MS + after_ms
    unsigned = Arrival(HOST, ID, at_ms, at_ms // 1000, (), BODY, status)
    changed = replace(unsigned, **other)
    return changed if "signatures" in other else signed(changed, *keys)


def signed(one: Arrival, *keys: str) -> Arrival:
    return replace(one, signatures=tuple(signature_of(key, one) for key in keys))


def broken(*arrivals: Arrival, owed: Owed | None = OWED, receiver: Receiver | None = None, **more: Any) -> list[str]:
    """Invariant and kind of each violation."""
    evidence = CallbackEvidence(
        **{
            "owed": [owed] if owed else [],
            "receivers": {HOST: receiver or Receiver(HOST)},
            "arrivals": arrivals,
            "default_keys": [KeySpan(KEY)],
            "schedule_ms": SCHEDULE_MS,
            **more,
        }
    )
    return [f"{violation.invariant} {violation.kind}" for violation in check_callbacks(evidence)]


FAILED = arrival(20, 500)
RIGHT_TRIES = (FAILED, arrival(900, 0), arrival(2_600))


def test_a_callback_that_was_taken_at_its_last_try_keeps_every_promise() -> None:
    assert broken(*RIGHT_TRIES) == []


def test_the_checker_signs_as_the_engine_does() -> None:
    headers = signed_headers(ID, 1_000_000, BODY, [parse_secret(KEY)])
    assert headers["webhook-signature"] == signature_of(KEY, arrival(signed_s=1_000_000))


@pytest.mark.parametrize(
    ("owed", "arrivals"),
    [
        pytest.param(OWED, (), id="said to be delivered, and nothing came"),
        pytest.param(OWED, (FAILED,), id="said to be delivered after a 500"),
        pytest.param(OWED, (arrival(20, 302),), id="said to be delivered after a redirect"),
        pytest.param(OWED, (arrival(20, 0),), id="said to be delivered without an answer"),
        pytest.param(replace(OWED, callback_state="waiting"), RIGHT_TRIES, id="still waiting"),
        pytest.param(replace(OWED, callback_state=""), (), id="never begun"),
        pytest.param(replace(OWED, callback_state="dead"), (FAILED,), id="dead, and on no list"),
    ],
)
def test_a_callback_neither_taken_nor_listed_as_dead_is_lost(owed: Owed, arrivals: tuple[Arrival, ...]) -> None:
    assert broken(*arrivals, owed=owed) == ["I4 lost"]


def test_a_2xx_of_another_event_of_the_job_does_not_count() -> None:
    other = arrival(webhook_id=f"{JOB}-orphan-9")
    assert broken(other) == ["I4 lost"]
    assert broken(other, arrival()) == []


def test_a_callback_is_dead_only_for_a_reason_that_is_right() -> None:
    bad = Receiver(HOST, frozenset({"http.500"}))
    assert broken(FAILED, owed=DEAD, receiver=bad) == []
    assert broken(FAILED, owed=DEAD) == ["I4 wrong"]
    assert broken(FAILED, owed=replace(DEAD, dead_error="timeout"), receiver=bad) == ["I4 wrong"]
    assert broken(arrival(), receiver=bad) == ["I4 wrong"]
    assert broken(FAILED, owed=replace(DEAD, callback_state="waiting"), receiver=bad) == ["I4 wrong"]


OTHER_BODY = BODY.replace(b"bind.succeeded", b"bind.succeeded ")


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        pytest.param((FAILED, arrival(1_500, body=OTHER_BODY)), ["I4 wrong"], id="another body"),
        pytest.param((FAILED, arrival(1_500), arrival(1_600, webhook_id="k1-2")), ["I4 wrong"], id="another id"),
        pytest.param((arrival(body=BODY.replace(X.encode(), b"17000000009")),), ["I4 wrong"], id="another X"),
        pytest.param((arrival(body=BODY.replace(b'"bound"', b'"failed"')),), ["I4 wrong"], id="another state"),
        pytest.param((arrival(body=b"\xff"),), ["I4 wrong"], id="no JSON"),
        pytest.param((arrival(body=b"[]"),), ["I4 wrong"], id="no event"),
        pytest.param((arrival(), arrival(30, webhook_id="k9-1")), ["I4 wrong"], id="of nobody's job"),
        pytest.param((arrival(), arrival(30, webhook_id="")), ["I4 wrong"], id="without an id"),
    ],
)
def test_all_copies_are_one_event_that_tells_the_truth(arrivals: tuple[Arrival, ...], expected: list[str]) -> None:
    assert broken(*arrivals) == expected


@pytest.mark.parametrize(
    ("arrivals", "is_right"),
    [
        pytest.param((FAILED, arrival(760)), False, id="too soon"),
        pytest.param((FAILED, arrival(820)), True, id="as soon as may be"),
        pytest.param((FAILED, arrival(1_000, 500), arrival(2_000)), False, id="the second delay cut short"),
        pytest.param((replace(FAILED, asks_ms=5_000), arrival(4_000)), False, id="sooner than it was asked"),
        pytest.param((replace(FAILED, asks_ms=5_000), arrival(5_100)), True, id="when it was asked"),
        pytest.param((*RIGHT_TRIES[:2], arrival(2_600, 500), arrival(9_000)), False, id="one try more than planned"),
    ],
)
def test_tries_come_by_the_schedule(arrivals: tuple[Arrival, ...], is_right: bool) -> None:
    assert broken(*arrivals) == ([] if is_right else ["I4 wrong"])
    assert broken(*arrivals, owed=replace(OWED, may_begin_anew=True)) == []


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(arrival(signatures=()), id="no signature"),
        pytest.param(arrival(keys=[NEW_KEY]), id="by another key"),
        pytest.param(arrival(keys=[KEY, NEW_KEY]), id="by another key, too"),
        pytest.param(replace(arrival(), signatures=("v1,AAAA",)), id="no key's"),
        pytest.param(replace(arrival(), signed_s=END_MS // 1000 - 1), id="of another time"),
        pytest.param(replace(arrival(5_000), signed_s=END_MS // 1000), id="a copy of an earlier try's"),
        pytest.param(signed(arrival(9_000, signed_s=END_MS // 1000), KEY), id="signed long before it came"),
        pytest.param(signed(arrival(signed_s=END_MS // 1000 + 60), KEY), id="signed for a later time"),
    ],
)
def test_every_try_is_signed_anew_with_the_live_keys(one: Arrival) -> None:
    assert set(broken(one)) == {"I4 wrong"}


ROTATED_MS, GRACE_MS = END_MS + 10_000, 20_000
OLD = KeySpan(KEY).ending(ROTATED_MS + GRACE_MS, ROTATED_MS)
NEW = KeySpan(NEW_KEY, begins_ms=ROTATED_MS)


def test_a_sender_s_clock_may_be_as_wrong_as_it_was_set() -> None:
    ahead = signed(arrival(signed_s=END_MS // 1000 + 120), KEY)
    assert broken(ahead, skews_ms=(0, 120_000)) == []
    assert broken(ahead, skews_ms=(0, -120_000)) == ["I4 wrong"]


@pytest.mark.parametrize(
    ("after_ms", "keys", "is_right"),
    [
        (5_000, [KEY], True),
        (5_000, [KEY, NEW_KEY], False),
        (12_000, [KEY], True),
        (12_000, [NEW_KEY, KEY], True),
        (20_000, [KEY], False),
        (20_000, [NEW_KEY], False),
        (20_000, [NEW_KEY, KEY], True),
        (35_000, [NEW_KEY], True),
        (35_000, [NEW_KEY, KEY], False),
    ],
)
def test_all_live_keys_sign_and_no_other(after_ms: int, keys: list[str], is_right: bool) -> None:
    found = broken(arrival(after_ms, keys=keys), keys={HOST: [OLD, NEW]})
    assert found == ([] if is_right else ["I4 wrong"])


def test_a_key_that_ends_at_once_may_sign_until_every_worker_knows() -> None:
    ended = KeySpan(KEY).ending(ROTATED_MS, ROTATED_MS)
    assert broken(arrival(14_000, keys=[KEY, NEW_KEY]), keys={HOST: [ended, NEW]}) == []
    assert broken(arrival(14_000, keys=[NEW_KEY]), keys={HOST: [ended, NEW]}) == []
    assert broken(arrival(18_000, keys=[KEY, NEW_KEY]), keys={HOST: [ended, NEW]}) == ["I4 wrong"]


def test_nobody_is_told_who_must_not_be() -> None:
    assert broken(arrival(), receiver=Receiver(HOST, is_told=False)) == ["I7 wrong"]
    elsewhere = arrival(30, host="127.1.0.3")
    both = {HOST: Receiver(HOST), "127.1.0.3": Receiver("127.1.0.3")}
    assert "I7 wrong" in broken(arrival(), replace(elsewhere, at_ms=END_MS + 2_000), receivers=both)
    assert "I7 wrong" in broken(arrival(), elsewhere)


def test_a_receiver_that_is_disabled_is_not_called() -> None:
    assert broken(arrival(), silences=[Silence(HOST, END_MS)]) == ["I7 wrong"]
    assert broken(arrival(), silences=[Silence(HOST, END_MS, END_MS + 10)]) == []
    assert broken(arrival(), silences=[Silence(HOST, END_MS + 30)]) == []
    assert broken(arrival(), silences=[Silence("127.1.0.9", END_MS)]) == []


def test_one_connection_to_a_denied_address_is_wrong() -> None:
    assert broken(arrival(), denied={"127.66.0.1": 0, "::1": 1}) == ["I7 wrong"]
    assert broken(arrival(), denied={"127.66.0.1": 0, "::1": 0}) == []


def test_a_healthy_receiver_s_callback_that_comes_late_is_slow() -> None:
    bystander = Receiver(HOST, is_bystander=True)
    assert broken(arrival(1_501), receiver=bystander) == ["I9 slow"]
    assert broken(arrival(1_500), receiver=bystander) == []
    assert broken(arrival(1_501)) == []


def test_the_delay_is_that_of_the_first_try() -> None:
    receivers = {HOST: Receiver(HOST, is_bystander=True)}
    assert delays_ms(CallbackEvidence([OWED], receivers, [arrival(1_500), FAILED])) == [20]


def test_more_tries_at_a_time_than_places_are_wrong() -> None:
    assert broken(arrival(), most_at_a_time={HOST: 17}) == ["I9 wrong"]
    assert broken(arrival(), most_at_a_time={HOST: 16}) == []
