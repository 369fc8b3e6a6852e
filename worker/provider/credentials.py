"""Where the account's key comes from: given once, or asked of the provider's own chain and asked again in time."""

import asyncio
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from worker.clock import Clock
from worker.errors import SettingsError
from worker.logs import get_log
from worker.provider.requests import Credentials

_log = get_log(__name__)

#: How long an answer of the chain is used where it names no expiry: the chain renews tokens itself, well before they
#: end, and hands out what it holds at no cost.
_FRESH_MS = 60_000
#: How long before its expiry a token is no longer used for new requests.
_MARGIN_MS = 300_000
#: How long a chain that just failed is left alone while an earlier key still holds.
_PAUSE_MS = 5_000

_PACKAGE = "alibabacloud_credentials.provider"


class CredentialsUnavailableError(Exception):
    """The source has no key to give. The text names the failure's class only: a source's own words may hold a key."""


class CredentialsSource(Protocol):
    """What signs the next request."""

    async def current(self) -> Credentials:
        """A key that holds now.

        Raises:
            CredentialsUnavailableError: there is none.
        """

    def forget(self) -> None:
        """The provider has refused the key last given: do not give it again without asking."""


class StaticCredentials:
    """The one key of the settings: there is nothing to wait for."""

    def __init__(self, credentials: Credentials) -> None:
        self.key = credentials

    async def current(self) -> Credentials:
        return self.key

    def forget(self) -> None:
        """There is no other."""


class ChainCredentials:
    """What a blocking chain gives, asked in a thread, by one caller at a time, and kept for a while.

    Args:
        chain: returns an object with the getters of the official package's credentials: get_access_key_id,
            get_access_key_secret, get_security_token and, where it is known, get_expiration in Unix seconds.
        clock: tells when to ask again.
    """

    def __init__(self, chain: Callable[[], Any], clock: Clock) -> None:
        self._chain = chain
        self._clock = clock
        self._kept: Credentials | None = None
        self._ask_again_ms = 0
        self._ends_ms = 0
        self._asking: asyncio.Task[Credentials] | None = None

    async def current(self) -> Credentials:
        if self._kept is not None and self._clock.unix_ms() < self._ask_again_ms:
            return self._kept
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        # Shielded: one caller's cancellation or deadline is not the others'.
        return await asyncio.shield(self._asking)

    def forget(self) -> None:
        self._kept = None

    async def _ask(self) -> Credentials:
        try:
            return self._keep(await asyncio.to_thread(self._chain))
        except Exception as failure:  # noqa: BLE001 - the chain's sources fail in their own ways
            return self._fall_back(type(failure).__name__)

    def _keep(self, given: Any) -> Credentials:
        key_id, secret, token = given.get_access_key_id(), given.get_access_key_secret(), given.get_security_token()
        if not key_id or not secret:
            raise ValueError("an empty key")
        now_ms = self._clock.unix_ms()
        expiration = getattr(given, "get_expiration", lambda: None)()
        self._ends_ms = int(expiration * 1000) if expiration else 0
        self._ask_again_ms = self._ends_ms - _MARGIN_MS if expiration else now_ms + _FRESH_MS
        self._kept = Credentials(key_id, secret, token or "")
        return self._kept

    def _fall_back(self, failure: str) -> Credentials:
        now_ms = self._clock.unix_ms()
        if self._kept is None or now_ms >= self._ends_ms:
            self._kept = None
            raise CredentialsUnavailableError(failure) from None
        _log.warning("the credentials chain failed; the earlier key still holds", error=str(failure))
        self._ask_again_ms = now_ms + _PAUSE_MS
        return self._kept


def official_chain() -> Callable[[], Any]:
    """The provider's own chain: environment, OIDC role, CLI and profile files, the machine's RAM role, a URI.

    Raises:
        SettingsError: its package is not installed.
    """
    try:
        package = importlib.import_module(_PACKAGE)
    except ImportError:
        raise SettingsError("AXN_CREDENTIALS=chain needs: pip install 'axn-bind-worker[credentials]'") from None
    chain: Callable[[], Any] = package.DefaultCredentialsProvider().get_credentials
    return chain
