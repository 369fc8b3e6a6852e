"""The alarm of the workers: an error in the log, once in a while, when bindings will end before they can be renewed."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.clock import Clock
from worker.errors import AxnError
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.keys import VERSION
from worker.ledger.renewal_pressure import failing_ids, is_anything_due, pressure
from worker.ledger.renewals import Renewals
from worker.logs import get_log
from worker.pace.state import AccountState
from worker.registry.outlook import ACTION, RISK_SPANS_MS, first_span_too_full, renewal_pace, will_end_unrenewed

_log = get_log(__name__)
LOOK_EVERY_MS = 60_000
AGAIN_AFTER_MS = 900_000
FAILING_ENDS_WITHIN_MS = 3_600_000
"""A renewal that fails is an alarm when its binding ends within the hour: there is a person's time left to act."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What will end before it can be renewed, as things stand.

    Attributes:
        unrenewed: bindings that are due and too many for the pace.
        failing: bindings whose renewals fail, and that end within the hour.
        first_end: the nearest end of those that fail, Unix ms; 0: none.
        per_second: renewals that the pace lets through.
        why: what bounds the pace.
        unrenewed_end: when the first of those ends, at the latest, that are too many for the pace, Unix ms; 0: none.
    """

    unrenewed: int
    failing: int
    first_end: int
    per_second: float
    why: str
    unrenewed_end: int = 0

    @property
    def is_any(self) -> bool:
        """Whether somebody must act."""
        return bool(self.unrenewed or self.failing)

    @property
    def first_loss(self) -> int:
        """When the first of all of them ends, at the latest, Unix ms; 0: none."""
        return min((end for end in (self.first_end, self.unrenewed_end) if end), default=0)


NO_RISK = Risk(0, 0, 0, 0, "")


class RiskView:
    """Looks.

    Args:
        renewals: the bindings that are kept.
        read_pace: the account's pace, of the actions named.
        assured_share: AXN_PACE__ASSURED_SHARE.
    """

    def __init__(
        self, renewals: Renewals, read_pace: Callable[[list[str]], Awaitable[AccountState]], assured_share: float
    ) -> None:
        self._renewals = renewals
        self._read_pace = read_pace
        self._assured_share = assured_share

    async def risk(self) -> Risk:
        """What will end before it can be renewed.

        Raises:
            RedisError: or OSError: Redis cannot be asked.
        """
        pace = renewal_pace(await self._read_pace([ACTION]), self._assured_share)
        waiting = await pressure(self._renewals.redis, RISK_SPANS_MS)
        failing = await self._renewals.read(await failing_ids(self._renewals.redis))
        ends = [one.expires_at for one in failing if isinstance(one, KeptBinding) and one.is_active]
        soon = [end for end in ends if 0 < end - waiting.now_ms <= FAILING_ENDS_WITHIN_MS]
        span_ms = first_span_too_full(waiting.ending_within, pace.per_second)
        return Risk(
            will_end_unrenewed(waiting.ending_within, pace.per_second), len(soon), min(soon, default=0),
            pace.per_second, pace.why, span_ms and waiting.now_ms + span_ms,
        )  # fmt: skip


class RenewalAlarm:
    """Runs in each worker process; whichever sees it first logs it for all.

    Args:
        random_share: so that the processes do not look together.
    """

    def __init__(
        self,
        view: RiskView,
        redis: Redis,
        *,
        account: str,
        clock: Clock,
        random_share: Callable[[], float] = random.random,
    ) -> None:
        self._view = view
        self._redis = redis
        self._key = f"{VERSION}:{{renewals}}:alarmed:{account}"
        self._clock = clock
        self._random_share = random_share
        self.seen = NO_RISK
        """As of the last look."""

    async def run(self) -> None:
        """Look until cancelled. A Redis that is away is waited for."""
        while True:
            await self._clock.sleep_ms(LOOK_EVERY_MS * (0.5 + self._random_share()))
            try:
                await self.look()
            except (RedisError, OSError) as failure:
                _log.warning("renewal alarm: Redis is away", error=type(failure).__name__)
            except AxnError as failure:
                _log.warning("renewal alarm cannot look", message=str(failure))

    async def look(self) -> Risk | None:
        """Look once, and log an error if there is reason and nobody has for a while. None where nothing is due."""
        if not await is_anything_due(self._redis):
            self.seen = NO_RISK
            return None
        risk = self.seen = await self._view.risk()
        if risk.is_any and await self._redis.set(self._key, "1", nx=True, px=AGAIN_AFTER_MS):
            _log.error("bindings end before they can be renewed", message=alarm_text(risk))
        return risk


def alarm_text(risk: Risk) -> str:
    """What is wrong, and where to look."""
    parts = []
    if risk.unrenewed:
        parts.append(
            f"{risk.unrenewed} bindings will end before they can be renewed at {risk.per_second:g} calls per second "
            f"({risk.why})"
        )
    if risk.failing:
        parts.append(f"{risk.failing} bindings whose renewals fail end within the hour")
    return f"{'; '.join(parts)}: see `axn renewals show` and `axn pace show {ACTION}`"
