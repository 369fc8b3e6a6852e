"""What changes in minutes, as metrics: how the renewals and the batches stand. Read when somebody asks, each 15 s."""

from collections.abc import Callable

from redis.asyncio import Redis

from worker.clock import Clock
from worker.ledger.batch_standing import batch_standing
from worker.ledger.renewal_standing import renewal_standing
from worker.observation.meters import Meters
from worker.registry.alarm import Risk

_AGAIN_AFTER_MS = 15_000
_MS_PER_S = 1_000


class SlowGauges:
    """Sets them.

    Args:
        redis: a client that decodes replies to text.
        risk: which bindings end unrenewed, as this process's alarm saw it last.
    """

    def __init__(self, redis: Redis, meters: Meters, clock: Clock, risk: Callable[[], Risk]) -> None:
        self._redis = redis
        self._meters = meters
        self._clock = clock
        self._risk = risk
        self._read_ms = float("-inf")

    async def refresh(self, now_ms: int) -> None:
        """Read, unless it was done a while ago.

        Args:
            now_ms: Unix ms by Redis's clock.

        Raises:
            RedisError: or OSError: Redis cannot be asked.
        """
        self._show_risk(self._risk())
        if self._clock.monotonic_ms() - self._read_ms < _AGAIN_AFTER_MS:
            return
        await self._read_renewals(now_ms)
        await self._read_batches(now_ms)
        self._read_ms = self._clock.monotonic_ms()

    def _show_risk(self, risk: Risk) -> None:
        self._meters.ending_unrenewed.labels("pace").set(risk.unrenewed)
        self._meters.ending_unrenewed.labels("failing").set(risk.failing)
        self._meters.first_unrenewed_end.set(risk.first_loss / _MS_PER_S)

    async def _read_renewals(self, now_ms: int) -> None:
        standing, meters = await renewal_standing(self._redis, now_ms), self._meters
        meters.renewals_kept.set(standing.kept)
        meters.renewals_due.labels("1h").set(standing.due_in_hour)
        meters.renewals_due.labels("24h").set(standing.due_in_day)
        meters.renewals_late.set(standing.late)
        meters.renewals_late_longest.set(standing.late_ms / _MS_PER_S)
        meters.renewals_failing.set(standing.failing)

    async def _read_batches(self, now_ms: int) -> None:
        standing, meters = await batch_standing(self._redis, now_ms), self._meters
        for state, count in standing.by_state.items():
            meters.batches.labels(state.value).set(count)
        meters.batch_rows.clear()  # outcomes that no batch has any more
        for outcome, rows in standing.rows.items():
            meters.batch_rows.labels(outcome).set(rows)
        meters.batch_idle.set(standing.idle_ms / _MS_PER_S)
