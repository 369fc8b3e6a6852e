"""What a newer release wrote and this one cannot work on: left where it is, and told of in the log, seldom."""

from collections import Counter

from worker.clock import Clock, SystemClock
from worker.domain.formats import Format
from worker.logs import get_log

_log = get_log(__name__)
_TELL_MS = 60_000


class NewerWork:
    """Tells of what this process leaves to newer workers: the first of each kind at once, then once a minute.

    Args:
        clock: of this process.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._told_ms: dict[str, float] = {}
        self._since: Counter[str] = Counter()

    def left(self, what: Format, name: str = "") -> None:
        """One more.

        Args:
            what: its kind.
            name: its id, where it has one.
        """
        self._since[what.name] += 1
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._told_ms.get(what.name, float("-inf")) < _TELL_MS:
            return
        self._told_ms[what.name] = now_ms
        times = self._since.pop(what.name)
        fields = {_FIELD_OF[what.name]: name} if name else {}
        _log.warning(
            "left to newer workers; this release cannot read it",
            what=what.name,
            reads=what.reads,
            times=times,
            **fields,
        )


_FIELD_OF = {"job": "job_id", "callback": "webhook_id", "batch": "batch_id", "renewal": "binding_id"}
