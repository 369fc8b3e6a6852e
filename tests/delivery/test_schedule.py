from hypothesis import given
from hypothesis import strategies as st

from worker.delivery.schedule import next_delay_ms
from worker.settings import Settings

DAY_MS = 86_400_000
SHARES = st.floats(0, 1, exclude_max=True)


def test_the_default_schedule_is_that_of_the_specification() -> None:
    seconds = [delay.total_seconds() for delay in Settings.model_fields["callback_schedule"].default]
    assert seconds == [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]


@given(
    schedule_ms=st.lists(st.integers(0, 2 * DAY_MS), max_size=10),
    tries=st.integers(1, 12),
    retry_after_ms=st.integers(0, 10**18),
    share=SHARES,
)
def test_a_receiver_can_put_a_try_off_by_a_day_and_never_bring_it_forward(
    schedule_ms: list[int], tries: int, retry_after_ms: int, share: float
) -> None:
    delay_ms = next_delay_ms(schedule_ms, tries, retry_after_ms=retry_after_ms, share=share)
    if tries > len(schedule_ms):
        assert delay_ms is None
        return
    assert delay_ms is not None
    exact = schedule_ms[tries - 1] * (0.8 + 0.4 * share)
    assert delay_ms >= exact - 1
    assert delay_ms >= min(retry_after_ms, DAY_MS)
    assert delay_ms <= max(exact + 1, DAY_MS)
    if not retry_after_ms:
        assert abs(delay_ms - exact) <= 1
