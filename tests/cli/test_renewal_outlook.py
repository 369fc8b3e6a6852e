"""`axn renewals show`, `forecast` and `check`."""

import json
import time
from typing import Any

import pytest
import redis

from worker.ledger.expiry_checks import ExpiryState
from worker.ledger.renewal_keys import expiry_check_key, renewals_due_key, renewals_failing_key, renewals_key
from worker.pace.keys import account_of

from .conftest import Axn

KEY_ID = "a-key-id"
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def account(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AXN_PACE__UPDATE_PER_SECOND", "1")


def fill(ledger: "redis.Redis", *, due_in_h: float, count: int, partition: int = 3) -> None:
    """So many bindings that fall due then."""
    at_ms = time.time() * 1000 + due_in_h * HOUR_MS
    ledger.zadd(renewals_key(partition), {f"{due_in_h}-{number}": at_ms for number in range(count)})


def fill_due(ledger: "redis.Redis", *, ends_in_s: float, count: int, partition: int = 4) -> None:
    """So many whose time has come."""
    at_ms = time.time() * 1000 + ends_in_s * 1000
    ledger.zadd(renewals_due_key(partition), {f"d{number}": at_ms for number in range(count)})


def test_an_empty_registry_is_well(axn: Axn, ledger: "redis.Redis") -> None:
    shown, checked = axn("renewals", "show"), axn("renewals", "check")
    assert (shown.status, shown.err) == (0, "")
    assert "kept: 0 bindings" in shown.out
    assert "not read back yet" in shown.out
    assert (checked.status, checked.out, checked.err) == (0, "all is well\n", "")


def test_what_falls_due_is_counted_by_its_time(axn: Axn, ledger: "redis.Redis") -> None:
    for due_in_h, count in ((0.5, 1), (5, 2), (100, 4), (1_000, 8)):
        fill(ledger, due_in_h=due_in_h, count=count)
    fill_due(ledger, ends_in_s=7_200, count=16)
    ledger.hset(renewals_failing_key(4), mapping={"d1": "isv.OUT_OF_SERVICE", "d2": "isv.OUT_OF_SERVICE", "d3": "x"})
    shown = axn("renewals", "show")
    assert shown.status == 0
    lines = shown.out.splitlines()
    assert lines[:2] == ["kept: 31 bindings", "due within 1h: 17, 1d: 19, 7d: 23"]
    assert lines[2].startswith("late: 16, the first ends in 1h")
    assert lines[3:6] == ["failing: 3", "        2  isv.OUT_OF_SERVICE", "        1  x"]
    assert "pace: 1 renewals per second (ceiling)" in lines
    counts = json.loads(axn("renewals", "show", "--json").out)["counts"]
    assert (counts["kept"], counts["due_within"][str(HOUR_MS)], counts["failing"]) == (
        31, 17, {"isv.OUT_OF_SERVICE": 2, "x": 1},
    )  # fmt: skip


def test_a_forecast_warns_of_the_hours_that_the_pace_has_no_room_for(axn: Axn, ledger: "redis.Redis") -> None:
    fill(ledger, due_in_h=0.5, count=100)
    fill(ledger, due_in_h=2.5, count=5_000)
    ended = axn("renewals", "forecast", "--hours", "5")
    rows = [line.split() for line in ended.out.splitlines()[2:7]]
    assert [row[1:] for row in rows] == [
        ["100", "3600"], ["0", "3600"], ["5000", "3600", "1400", "too", "low"], ["0", "3600"], ["0", "3600"],
    ]  # fmt: skip
    assert ended.status == 1
    assert "too low in 1 of 5 hours, by 1400 renewals at worst: 1.39 per second would do" in ended.err
    told = json.loads(axn("renewals", "forecast", "--hours", "5", "--json").out)
    assert [hour["is_short"] for hour in told["hours"]] == [False, False, True, False, False]
    assert axn("renewals", "forecast", "--hours", "2").status == 0


@pytest.mark.parametrize("as_json", [False, True])
def test_bindings_that_will_end_before_their_turn_are_trouble(axn: Axn, ledger: "redis.Redis", as_json: bool) -> None:
    fill_due(ledger, ends_in_s=200, count=400)
    ended = axn("renewals", "check", *(["--json"] if as_json else []))
    assert ended.status == 1
    told = json.loads(ended.out)["troubles"][0] if as_json else ended.out
    assert "100 bindings will end before they can be renewed at 1 calls per second (ceiling)" in told


def test_a_mismatch_says_how_to_go_on_and_check_again_forgets_it(axn: Axn, ledger: "redis.Redis") -> None:
    found: dict[Any, Any] = {
        "state": ExpiryState.MISMATCH.value, "expected": "2026-12-01 12:00:00", "read": "2026-12-01 04:00:00",
        "seconds": -28_800, "binding_id": "b", "at": 1,
    }  # fmt: skip
    ledger.hset(expiry_check_key(account_of(KEY_ID)), mapping=found)
    shown, checked = axn("renewals", "show"), axn("renewals", "check")
    for text in (shown.err, checked.out):
        assert "2026-12-01 04:00:00, and 2026-12-01 12:00:00 was set (-28800 s)" in text
        assert "axn renewals check --again" in text
    assert (shown.status, checked.status) == (0, 1)
    again = axn("renewals", "check", "--again")
    assert (again.status, again.out) == (0, "all is well\n")


def test_renewals_that_nobody_takes_up_are_trouble(axn: Axn, ledger: "redis.Redis") -> None:
    fill(ledger, due_in_h=-1, count=1)
    ended = axn("renewals", "check")
    assert (ended.status, "nobody has taken it up" in ended.out) == (1, True)


def test_a_paused_lane_is_trouble_only_when_something_is_due(axn: Axn, ledger: "redis.Redis") -> None:
    axn("pace", "pause", "--lane", "renewal", "--action", "UpdateSubscription")
    assert axn("renewals", "check").status == 0
    fill_due(ledger, ends_in_s=90_000, count=1)
    ended = axn("renewals", "check")
    assert (ended.status, "1 renewals are due and none is sent (paused)" in ended.out) == (1, True)


@pytest.mark.parametrize("words", [("show",), ("forecast",), ("check",), ("check", "--again")])
def test_without_its_account_nothing_is_called_well(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("AXN_ACCESS_KEY_ID")
    ended = axn("renewals", *words)
    assert (ended.status, ended.out, "AXN_ACCESS_KEY_ID" in ended.err) == (2, "", True)


def test_a_redis_that_is_away_is_said(axn: Axn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXN_REDIS_URL", "redis://127.0.0.1:1/0")
    for command in ("show", "check", "forecast"):
        ended = axn("renewals", command)
        assert (ended.status, "the ledger's Redis cannot be reached" in ended.err) == (1, True)
