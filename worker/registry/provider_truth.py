"""What the provider says of one binding, asked politely: within the shared pace, below a rate of our own, patiently."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from worker.clock import Clock
from worker.domain.expiration import parse_expiration, unix_ms
from worker.domain.outcome import Outcome, Verdict
from worker.errors import AxnError
from worker.provider.actions import QuerySubscriptionDetail, QuerySubsId
from worker.provider.api import ProviderApi, Reply
from worker.provider.replies import Content, SubscriptionDetail

_ACTIVE = 1
_TRIES = 6
_FIRST_AGAIN_MS, _LONGEST_AGAIN_MS = 500, 15_000
_PATIENCE_MS = 120_000
"""How long one question may be throttled, or find no room in the pace."""

ContentT = TypeVar("ContentT", bound=Content)


class AccountRefusedError(AxnError):
    """The provider refuses the account: no question can be answered until somebody mends it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"the provider refuses this account: {outcome.code} {outcome.message}".rstrip())


class UnansweredError(AxnError):
    """The provider did not say, however often it was asked, or refused the question.

    Attributes:
        code: of its last answer.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"the provider did not tell ({code}); ask again later")


class Politeness:
    """Lets one through at a time, so many a second at most.

    Args:
        per_second: over all questions of this process.
    """

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._interval_ms = 1_000 / per_second
        self._clock = clock
        self._free_ms = 0.0

    async def turn(self) -> None:
        """Wait for one's turn."""
        now_ms = self._clock.monotonic_ms()
        turn_ms = max(self._free_ms, now_ms)
        self._free_ms = turn_ms + self._interval_ms
        if turn_ms > now_ms:
            await self._clock.sleep_ms(turn_ms - now_ms)


@dataclass(frozen=True, slots=True)
class Truth:
    """A binding at the provider.

    Attributes:
        is_active: it is bound, and its end is ahead.
        detail: what is known of it; None where there is no such binding, or no more.
        expires_at: Unix ms of its ExpireDate; 0 where that cannot be read.
    """

    is_active: bool
    detail: SubscriptionDetail | None
    expires_at: int = 0


class ProviderTruth:
    """Asks.

    Args:
        api: the provider, behind the shared pace.
        politeness: a rate below that.
        clock: waits between tries.
    """

    def __init__(self, api: ProviderApi, politeness: Politeness, clock: Clock) -> None:
        self._api = api
        self._politeness = politeness
        self._clock = clock

    async def of(self, *, subs_id: str, phone_no_x: str, pool_key: str) -> Truth:
        """The binding of this SubsId and X.

        Raises:
            UnansweredError: the provider did not tell.
            AccountRefusedError: it tells nobody of this account.
        """
        request = QuerySubscriptionDetail(subs_id=subs_id, phone_no_x=phone_no_x, pool_key=pool_key)
        detail = await self._ask(lambda: self._api.query_subscription_detail(request))
        if detail is None:
            return Truth(is_active=False, detail=None)
        return Truth(detail.status in (None, _ACTIVE), detail, _unix_ms(detail.expire_date))

    async def ids_on(self, phone_no_x: str, pool_key: str) -> tuple[str, ...]:
        """The SubsIds that are bound on X. Raises as `of`."""
        request = QuerySubsId(phone_no_x=phone_no_x, pool_key=pool_key)
        named = await self._ask(lambda: self._api.query_subs_id(request))
        return named.subs_ids if named is not None else ()

    async def _ask(self, question: Callable[[], Awaitable[Reply[ContentT]]]) -> ContentT | None:
        """An answer's content; None where there is no such binding."""
        waited_ms, tries = 0, 0
        while True:
            await self._politeness.turn()
            reply = await question()
            outcome = reply.outcome
            if outcome.verdict in (Verdict.DONE, Verdict.GONE):
                return reply.content
            if outcome.verdict is Verdict.ACCOUNT:
                raise AccountRefusedError(outcome)
            again_ms = min(_FIRST_AGAIN_MS << tries, _LONGEST_AGAIN_MS)
            if outcome.verdict is Verdict.THROTTLED:
                again_ms = max(outcome.retry_after_ms, _FIRST_AGAIN_MS)
                waited_ms += again_ms
            else:
                tries += 1
            if outcome.verdict is Verdict.WRONG_REQUEST or tries >= _TRIES or waited_ms > _PATIENCE_MS:
                raise UnansweredError(outcome.code)
            await self._clock.sleep_ms(again_ms)


def _unix_ms(expire_date: str) -> int:
    try:
        moment: datetime = parse_expiration(expire_date)
    except ValueError:
        return 0
    return unix_ms(moment)
