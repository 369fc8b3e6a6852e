"""No renewal before it is known that ExpireDate reads as it was set: see `worker.ledger.expiry_checks`."""

import secrets
from dataclasses import dataclass

from worker.clock import Clock
from worker.domain.expiration import parse_expiration, unix_ms
from worker.domain.outcome import Verdict
from worker.ledger.expiry_checks import ExpiryCheck, ExpiryChecks, ExpiryState
from worker.ledger.kept_binding import KeptBinding
from worker.logs import get_log
from worker.provider.actions import QuerySubscriptionDetail
from worker.provider.api import ProviderApi
from worker.provider.replies import SubscriptionDetail
from worker.renewals.telling import wire_of

_log = get_log(__name__)
_CHECKING_MS = 120_000
_LOOK_LATER_MS = 2_000
_LOOK_AT_MISMATCH_MS = 120_000
_FIRST_READ_MS = 250
_REMEMBERED_MS = 30_000
ACTIVE = 1


@dataclass(frozen=True, slots=True)
class Permission:
    """Whether a renewal may be sent.

    Attributes:
        wait_ms: 0: it may; else how long until it is worth asking again.
        code: why not.
        is_check: it is the one that is read back.
    """

    wait_ms: int = 0
    code: str = ""
    is_check: bool = False


@dataclass(frozen=True, slots=True)
class Detail:
    """What the provider shows of a binding.

    Attributes:
        verdict: of the query.
        shown: None where it shows none.
    """

    verdict: Verdict
    shown: SubscriptionDetail | None
    code: str = ""
    message: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it shows the binding, not lapsed."""
        return self.shown is not None and self.shown.status in (None, ACTIVE)

    @property
    def is_gone(self) -> bool:
        """Whether it says that there is none, or none any more."""
        return self.verdict is Verdict.GONE or (self.shown is not None and not self.is_live)

    @property
    def expires_at(self) -> int:
        """Its end in Unix ms; 0 where none can be read."""
        try:
            return unix_ms(parse_expiration(self.shown.expire_date)) if self.shown else 0
        except ValueError:
            return 0


async def detail_of(provider: ProviderApi, kept: KeptBinding) -> Detail:
    """Ask the provider for a binding."""
    reply = await provider.query_subscription_detail(
        QuerySubscriptionDetail(subs_id=kept.subs_id, phone_no_x=kept.phone_no_x, pool_key=kept.pool_key)
    )
    return Detail(reply.outcome.verdict, reply.content, reply.outcome.code, reply.outcome.message)


class ExpiryGuard:
    """Asks once per account, remembers for a while that all is well.

    Args:
        read_lag_ms: how long the provider's queries may show an older state.
    """

    def __init__(self, checks: ExpiryChecks, provider: ProviderApi, clock: Clock, *, read_lag_ms: int) -> None:
        self._checks = checks
        self._provider = provider
        self._clock = clock
        self._read_lag_ms = read_lag_ms
        self._good_until_ms = 0.0

    async def permission(self, kept: KeptBinding, target: int) -> Permission:
        """Whether this renewal may be sent now."""
        if self._clock.monotonic_ms() < self._good_until_ms:
            return Permission()
        check = await self._checks.read()
        if check.state is ExpiryState.OK:
            self._good_until_ms = self._clock.monotonic_ms() + _REMEMBERED_MS
            return Permission()
        if check.state is ExpiryState.MISMATCH:
            return Permission(_LOOK_AT_MISMATCH_MS, "expiry.mismatch")
        if not await self._checks.become_checker(secrets.token_hex(8), _CHECKING_MS + self._read_lag_ms):
            return Permission(_LOOK_LATER_MS, "expiry.checking")
        return await self._as_checker(kept, target)

    async def _as_checker(self, kept: KeptBinding, target: int) -> Permission:
        """Never shorten: a target that is not later than what the provider shows is not sent."""
        detail = await detail_of(self._provider, kept)
        if detail.is_gone:  # it tells nothing of the others
            await self._checks.stop_checking()
            return Permission()
        if not detail.is_live or not detail.expires_at:
            if detail.is_live:
                await self._write(kept, kept.expires_at, detail)
            await self._checks.stop_checking()
            return Permission(_LOOK_LATER_MS, "expiry.unread")
        if target <= detail.expires_at:
            await self._write(kept, kept.expires_at, detail)
            await self._checks.stop_checking()
            return Permission(_LOOK_AT_MISMATCH_MS, "expiry.mismatch")
        return Permission(is_check=True)

    async def read_back(self, kept: KeptBinding, target: int) -> None:
        """Compare what the provider shows with what was just set, and write what was found."""
        gives_up_ms = self._clock.monotonic_ms() + self._read_lag_ms
        pause_ms = _FIRST_READ_MS
        detail = await detail_of(self._provider, kept)
        while detail.expires_at != target and self._clock.monotonic_ms() < gives_up_ms:
            await self._clock.sleep_ms(pause_ms)
            pause_ms *= 2
            detail = await detail_of(self._provider, kept)
        if detail.is_live:
            await self._write(kept, target, detail)
        await self._checks.stop_checking()  # unanswered: the next renewal is read back

    async def stop_checking(self) -> None:
        """The checking renewal was not made: another one is to be read back."""
        await self._checks.stop_checking()

    async def _write(self, kept: KeptBinding, expected: int, detail: Detail) -> None:
        read_at = detail.expires_at
        is_good = read_at == expected
        await self._checks.write(
            ExpiryCheck(
                ExpiryState.OK if is_good else ExpiryState.MISMATCH,
                expected=wire_of(expected),
                read=wire_of(read_at) if read_at else "",
                seconds=(read_at - expected) // 1000 if read_at else 0,
                binding_id=kept.binding_id,
                at_ms=kept.read_at,
            )
        )
        if not is_good:
            _log.error(
                "renewals of this account stand still: its times read otherwise than they are set, so renewing could "
                "shorten bindings. Find out why, then run `axn renewals check --again`",
                binding_id=kept.binding_id, was_set_to=wire_of(expected),
                reads=wire_of(read_at) if read_at else "as nothing that is a time",
            )  # fmt: skip
