"""When a binding is renewed: one renewal per period, never fewer, never shortening, whatever the calendar does."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.durations import duration_ms
from worker.domain.expiration import SHANGHAI, parse_expiration, unix_ms, wire_expiration
from worker.domain.renewal import (
    LEAST_EXTENSION_MS,
    LEAST_LEAD_MS,
    MARGIN_MS,
    IfGone,
    RenewalPolicy,
    due_at,
    next_target,
    share_of,
)

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
#: Month ends, leap days, and hours in which clocks are turned somewhere; 2100 is no leap year.
EDGES = [
    "2026-01-31T23:59:59+08:00", "2028-02-28T23:59:59+08:00", "2028-02-29T12:00:00+08:00", "2100-02-28T23:59:59+08:00",
    "2026-12-31T23:59:59+08:00", "2027-03-28T01:59:59+01:00", "2027-10-31T02:30:00+02:00", "2027-03-14T01:59:59-05:00",
    "2027-11-07T01:30:00-04:00",
]  # fmt: skip
MOMENTS = st.one_of(
    st.sampled_from(EDGES).map(lambda text: unix_ms(datetime.fromisoformat(text))),
    st.integers(unix_ms(datetime(2026, 1, 1, tzinfo=UTC)), unix_ms(datetime(2110, 1, 1, tzinfo=UTC))),
)
LENGTHS = st.one_of(st.sampled_from([3 * MINUTE, 2 * HOUR, DAY, 30 * DAY, 31 * DAY]), st.integers(MINUTE, 60 * DAY))
IDS = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26)
ZONES = ["Asia/Shanghai", "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]


@st.composite
def bindings(draw: st.DrawFn) -> tuple[RenewalPolicy, int, int]:
    """A begun policy, the binding's beginning, and its first end: a whole second, as on the wire."""
    bound_at = draw(MOMENTS)
    expires_at = (bound_at + draw(LENGTHS)) // SECOND * SECOND
    extend_by = draw(st.one_of(st.just(0), LENGTHS.map(lambda length: max(length, LEAST_EXTENSION_MS))))
    policy = RenewalPolicy(
        extend_by_ms=extend_by,
        lead_ms=draw(st.one_of(st.just(0), st.integers(1, max(1, (extend_by or expires_at - bound_at) // 2)))),
        **draw(
            st.one_of(
                st.just({}),
                st.builds(lambda more: {"for_ms": more}, st.integers(1, 200 * DAY)),
                st.builds(lambda more: {"until_ms": bound_at + more}, st.integers(1, 200 * DAY)),
            )
        ),
    )
    return policy.begun(bound_at, expires_at), bound_at, expires_at


def renewals(
    policy: RenewalPolicy, binding_id: str, bound_at: int, expires_at: int, most: int
) -> Iterator[tuple[int, int, int]]:
    """(due, old end, new end) of a binding that is renewed at the very moment each time."""
    now = bound_at
    for _ in range(most):
        due = due_at(policy, binding_id, expires_at, now)
        if due is None:
            return
        target = next_target(policy, expires_at, due)
        assert target is not None
        yield due, expires_at, target
        now, expires_at = due, target


@given(bindings(), IDS)
def test_each_period_has_one_renewal_before_its_end_and_none_is_shortened(
    binding: tuple[RenewalPolicy, int, int], binding_id: str
) -> None:
    policy, bound_at, first_end = binding
    number = new = 0
    for number, (due, old, new) in enumerate(renewals(policy, binding_id, bound_at, first_end, 40), 1):
        assert bound_at <= due <= old, "never late, never before there is a binding"
        assert new - old >= LEAST_EXTENSION_MS, "a call that gains next to nothing is not made"
        assert new % SECOND == 0
        wanted = first_end + number * policy.extend_by_ms
        assert new < wanted + LEAST_EXTENSION_MS
        if new != wanted:
            assert policy.until_ms - SECOND < new <= policy.until_ms < wanted + LEAST_EXTENSION_MS
            wanted = policy.until_ms // SECOND * SECOND
    if policy.is_while_open:
        assert number == 40, "it goes on for ever"
    elif number < 40:
        left = policy.until_ms // SECOND * SECOND - (new if number else first_end)
        assert left < LEAST_EXTENSION_MS, "it is kept to its end"
        assert left <= 0 or not number, "no renewal leaves a rest"


@given(bindings(), st.integers(0, 60 * DAY), st.integers(0, 60 * DAY))
def test_whenever_it_is_made_the_same_renewal_has_the_same_target(
    binding: tuple[RenewalPolicy, int, int], one: int, other: int
) -> None:
    policy, bound_at, expires_at = binding
    early = next_target(policy, expires_at, bound_at + min(one, expires_at - bound_at - 1))
    assert early == next_target(policy, expires_at, bound_at + min(other, expires_at - bound_at - 1))


@given(bindings(), st.integers(0, 400 * DAY))
def test_after_a_downtime_of_any_length_the_target_is_ahead_by_the_lead_and_no_period_more_than_that_takes(
    binding: tuple[RenewalPolicy, int, int], downtime: int
) -> None:
    policy, _, expires_at = binding
    now = expires_at + downtime
    target = next_target(policy, expires_at, now)
    if target is None:
        assert policy.until_ms
        assert policy.until_ms // SECOND * SECOND < now + LEAST_EXTENSION_MS
        return
    assert target > now + MARGIN_MS
    if target == policy.until_ms // SECOND * SECOND:
        return
    ahead = max(min(policy.lead_ms, policy.extend_by_ms // 2) + MARGIN_MS, LEAST_EXTENSION_MS)
    assert (target - expires_at) % policy.extend_by_ms == 0, "the rhythm stays"
    assert now + ahead <= target < now + ahead + policy.extend_by_ms


@given(bindings(), IDS, st.integers(-HOUR, 60 * DAY), st.floats(0, 1))
def test_it_is_due_by_its_lead_before_the_end_never_in_the_past_and_early_by_its_share_at_most(
    binding: tuple[RenewalPolicy, int, int], binding_id: str, since: int, spread: float
) -> None:
    policy, bound_at, expires_at = binding
    now = bound_at + since
    due = due_at(policy, binding_id, expires_at, now, spread)
    if due is None:
        assert next_target(policy, expires_at, now) is None
        return
    left = max(0, expires_at - now)
    latest = now + left - min(policy.lead_ms, left // 2)
    assert now <= due <= latest
    assert latest - due <= (latest - now) * spread + 1


def test_bindings_of_one_minute_are_spread_over_a_window() -> None:
    policy = RenewalPolicy().begun(0, DAY)
    due = sorted(due_at(policy, f"id-{number}", DAY, 0) or 0 for number in range(2_000))
    window = 0.1 * (DAY - policy.lead_ms)
    busiest = max(sum(start <= at < start + window / 20 for at in due) for start in due[::50])
    assert due[-1] - due[0] > 0.99 * window
    assert busiest < 2_000 / 20 * 1.5
    assert share_of("id-1") == share_of("id-1") != share_of("id-2")


@pytest.mark.parametrize(
    ("policy", "length", "extend_by", "lead"),
    [
        (RenewalPolicy(), DAY, DAY, DAY // 10),
        (RenewalPolicy(), HOUR, HOUR, LEAST_LEAD_MS),
        (RenewalPolicy(), 10 * MINUTE, 10 * MINUTE, 5 * MINUTE),
        (RenewalPolicy(), MINUTE, LEAST_EXTENSION_MS, MINUTE),
        (RenewalPolicy(extend_by_ms=30 * DAY), DAY, 30 * DAY, 3 * DAY),
        (RenewalPolicy(lead_ms=HOUR), DAY, DAY, HOUR),
        (RenewalPolicy(extend_by_ms=90_500), 3 * MINUTE, LEAST_EXTENSION_MS, MINUTE),
        (RenewalPolicy(extend_by_ms=180_500), DAY, 181_000, 90_500),
    ],
)
def test_what_a_policy_leaves_open_follows_from_the_first_length(
    policy: RenewalPolicy, length: int, extend_by: int, lead: int
) -> None:
    begun = policy.begun(5 * DAY, 5 * DAY + length)
    assert (begun.extend_by_ms, begun.lead_ms) == (extend_by, lead)
    assert begun.begun(6 * DAY, 9 * DAY) == begun, "once begun it stays"


def test_a_span_counts_from_the_beginning() -> None:
    assert RenewalPolicy(for_ms=30 * DAY).begun(DAY, 2 * DAY).until_ms == 31 * DAY


@given(
    MOMENTS, st.sampled_from([3 * MINUTE, HOUR, DAY, 30 * DAY]), st.integers(2, 30), st.integers(-HOUR, 2 * HOUR), IDS
)
def test_a_span_of_n_lengths_is_n_lengths_however_long_the_request_was_on_its_way(
    asked_at: int, length: int, lengths: int, on_its_way: int, binding_id: str
) -> None:
    """Also where the producer's clock is another than Redis's, by which the request is accepted."""
    expires_at = (asked_at + length) // SECOND * SECOND
    filed = RenewalPolicy(for_ms=lengths * length).counted(asked_at, expires_at, length)
    policy = RenewalPolicy.from_json(filed.as_json()).begun(asked_at + on_its_way, expires_at)
    ends = [new for _, _, new in renewals(policy, binding_id, asked_at, expires_at, lengths + 5)]
    assert ends == [expires_at + number * length for number in range(1, lengths)]


def test_a_span_from_a_moment_that_the_caller_reckoned_takes_the_last_moments_along() -> None:
    """A binding until "in ten days" that is kept "for thirty": the two are reckoned and rounded one after the other."""
    asked_at, expires_at = 1_030, 10 * DAY
    policy = RenewalPolicy(for_ms=30 * DAY).counted(asked_at, expires_at).begun(asked_at + 80, expires_at)
    assert [new for _, _, new in renewals(policy, "x", asked_at, expires_at, 9)] == [
        20 * DAY - SECOND, 30 * DAY + SECOND,
    ]  # fmt: skip


@given(bindings(), st.sampled_from(IfGone))
def test_a_policy_reads_as_it_was_written(binding: tuple[RenewalPolicy, int, int], if_gone: IfGone) -> None:
    for policy in (binding[0], RenewalPolicy(for_ms=5, if_gone=if_gone)):
        assert RenewalPolicy.from_json(policy.as_json()) == policy


@pytest.mark.parametrize("text", ["", "[]", "1", '{"until":"x"}', '{"if_gone":"pray"}'])
def test_another_text_is_no_policy(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own among them
        RenewalPolicy.from_json(text)


@pytest.mark.parametrize("zone", ZONES)
def test_the_machine_s_zone_changes_neither_the_wire_nor_the_length(zone: str) -> None:
    """Thirty days over the hours in which this zone turns its clocks, or leaves out a day, are thirty days."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = zone
    time.tzset()
    try:
        for edge in EDGES:
            end = unix_ms(datetime.fromisoformat(edge).astimezone(ZoneInfo(zone)))
            policy = RenewalPolicy(extend_by_ms=30 * DAY).begun(end - DAY, end)
            target = next_target(policy, end, end - HOUR)
            assert target == end + 30 * DAY
            wire = wire_expiration(datetime.fromtimestamp(target / 1000, UTC))
            assert unix_ms(parse_expiration(wire)) == target
            shown = datetime.fromisoformat(edge).astimezone(SHANGHAI) + timedelta(days=30)
            assert wire == shown.strftime("%Y-%m-%d %H:%M:%S")
    finally:
        os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
        time.tzset()


def test_a_binding_can_be_kept_to_the_calendar_s_end() -> None:
    end = unix_ms(datetime(9998, 12, 1, tzinfo=UTC))
    policy = RenewalPolicy(extend_by_ms=duration_ms(timedelta(days=36_525))).begun(end - DAY, end)
    target = next_target(policy, end, end - HOUR)
    assert target is not None
    assert wire_expiration(datetime.fromtimestamp(target / 1000, UTC)) == "9998-12-31 08:00:00"
    assert next_target(policy, target, target - HOUR) is None
