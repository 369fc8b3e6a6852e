"""The provider's twelve actions, typed: a request model in, its outcome and its content out."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from worker.domain.outcome import Outcome, Verdict
from worker.provider import actions, replies
from worker.provider.answers import Answer

ContentT = TypeVar("ContentT", bound=replies.Content)


class Caller(Protocol):
    """The low level: `worker.provider.client.ProviderClient`."""

    async def call(self, action: str, parameters: Mapping[str, str], *, nonce: str) -> Outcome:
        """Send one signed request; never raises."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[ContentT]):
    """What came of it.

    Attributes:
        outcome: verdict, Code, Message.
        content: what a successful answer says; None without success, and where a success says nothing.
    """

    outcome: Outcome
    content: ContentT | None


class ProviderApi:
    """Every method sends once and raises nothing but CancelledError; the verdict tells what must follow.

    `nonce` is for those who must be able to send the very same attempt again (see `attempt_nonce`); without it each
    call has a random one of its own.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def bind_axn(self, request: actions.BindAxn, nonce: str = "") -> Reply[replies.BoundNumber]:
        return await self._send(request, replies.BoundNumber.read, nonce)

    async def unbind_subscription(self, request: actions.UnbindSubscription, nonce: str = "") -> Reply[replies.Unbound]:
        """GONE is a success for whoever took id, X and pool from a confirmed bind: a wrong triple looks the same."""
        return await self._send(request, replies.Unbound.read, nonce)

    async def update_subscription(
        self, request: actions.UpdateSubscription, nonce: str = ""
    ) -> Reply[replies.Acknowledged]:
        """GONE: the binding has ended and cannot be revived."""
        return await self._send(request, replies.Acknowledged.read, nonce)

    async def query_subscription_detail(
        self, request: actions.QuerySubscriptionDetail, nonce: str = ""
    ) -> Reply[replies.SubscriptionDetail]:
        return await self._send(request, replies.SubscriptionDetail.read, nonce)

    async def query_subs_id(self, request: actions.QuerySubsId, nonce: str = "") -> Reply[replies.SubscriptionIds]:
        return await self._send(request, replies.SubscriptionIds.read, nonce)

    async def lock_secret_no(self, request: actions.LockSecretNo, nonce: str = "") -> Reply[replies.Acknowledged]:
        return await self._send(request, replies.Acknowledged.read, nonce)

    async def unlock_secret_no(self, request: actions.UnlockSecretNo, nonce: str = "") -> Reply[replies.Acknowledged]:
        return await self._send(request, replies.Acknowledged.read, nonce)

    async def query_secret_no_detail(
        self, request: actions.QuerySecretNoDetail, nonce: str = ""
    ) -> Reply[replies.SecretNoInfo]:
        return await self._send(request, replies.SecretNoInfo.read, nonce)

    async def query_secret_no_remain(
        self, request: actions.QuerySecretNoRemain, nonce: str = ""
    ) -> Reply[replies.SecretNoRemain]:
        return await self._send(request, replies.SecretNoRemain.read, nonce)

    async def buy_secret_no(self, request: actions.BuySecretNo, nonce: str = "") -> Reply[replies.BoughtNumber]:
        return await self._send(request, replies.BoughtNumber.read, nonce)

    async def release_secret_no(self, request: actions.ReleaseSecretNo, nonce: str = "") -> Reply[replies.Acknowledged]:
        return await self._send(request, replies.Acknowledged.read, nonce)

    async def list_x_telephones(
        self, request: actions.ListXTelephones, nonce: str = ""
    ) -> Reply[replies.XTelephonePage]:
        return await self._send(request, replies.XTelephonePage.read, nonce)

    async def _send(
        self, request: actions.Request, read: Callable[[Answer], ContentT | None], nonce: str
    ) -> Reply[ContentT]:
        outcome = await self._caller.call(
            type(request).__name__, request.parameters(), nonce=nonce or secrets.token_hex(16)
        )
        return Reply(outcome, read(outcome.answer) if outcome.verdict is Verdict.DONE else None)
