"""The rules of one process's attempts."""

from worker.attempt.attempt import AttemptRules
from worker.attempt.decisions import RetryRules
from worker.domain.durations import duration_ms
from worker.settings import Settings


def attempt_rules(settings: Settings, *, callback_lease_ms: int) -> AttemptRules:
    """How long things may take, as the settings say."""
    retry = settings.retry
    return AttemptRules(
        lease_ms=settings.lease_ms,
        attempt_timeout_ms=duration_ms(settings.attempt_timeout),
        callback_lease_ms=callback_lease_ms,
        expiration_margin=settings.expiration_margin,
        short_wait_ms=duration_ms(retry.in_process),
        full_phone_no_a=settings.callback_full_phone_no_a,
        retry=RetryRules(
            base_ms=duration_ms(retry.base),
            cap_ms=duration_ms(retry.cap),
            slow_base_ms=duration_ms(retry.slow_base),
            slow_cap_ms=duration_ms(retry.slow_cap),
            attempts=retry.attempts,
            probe_after_ms=duration_ms(settings.doubt.probe_after),
            probe_window_ms=duration_ms(settings.doubt.window),
            doubt_probe=settings.doubt_probe,
            read_lag_ms=duration_ms(settings.doubt.read_lag),
        ),
    )
