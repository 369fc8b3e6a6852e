"""The provider's time, learnt from an answer where this machine's clock is refused."""

from datetime import UTC
from email.utils import parsedate_to_datetime

from worker.clock import Clock
from worker.logs import get_log

_log = get_log(__name__)

#: What a wrong zone or a lost clock battery after a restart may come to; past it the answer's date is the odd one.
LARGEST_OFFSET_MS = 24 * 3_600_000
#: A Date header counts whole seconds.
_DATE_STEP_MS = 1_000


class ServerTime:
    """This machine's clock, corrected by what the provider's answers have taught."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ms = 0

    def unix_ms(self) -> int:
        """Unix milliseconds as the provider presumably counts them."""
        return self._clock.unix_ms() + self._offset_ms

    def learn(self, date: str, *, signed_ms: int, sent_ms_ago: float) -> bool:
        """Take over the time of an answer that refused a timestamp.

        Args:
            date: the answer's Date header, or empty.
            signed_ms: the refused timestamp.
            sent_ms_ago: how long ago it was made.

        Returns:
            Whether a new timestamp would differ from the refused one by more than the time since then.
        """
        server_ms = _unix_ms(date)
        if server_ms is None:
            return False
        offset_ms = server_ms - self._clock.unix_ms()
        if abs(offset_ms) > LARGEST_OFFSET_MS:
            _log.error("the provider's date is too far from this clock: not believed", offset_s=offset_ms // 1000)
            return False
        if abs(offset_ms - self._offset_ms) >= _DATE_STEP_MS:
            _log.warning("the provider refused this clock: corrected from now on", offset_s=-offset_ms // 1000)
            self._offset_ms = offset_ms
        return abs(server_ms - signed_ms - sent_ms_ago) >= _DATE_STEP_MS


def _unix_ms(date: str) -> int | None:
    try:
        moment = parsedate_to_datetime(date)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None
