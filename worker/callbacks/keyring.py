"""Which keys sign a callback: the named secret's of its request, else its receiver's own, else AXN_CALLBACK_SECRET."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from worker.callbacks.signature import SigningKey, parse_secret
from worker.clock import Clock
from worker.domain.callback_secret import SecretOwner
from worker.ledger.callback_secrets import StoredSecret
from worker.logs import get_log

_log = get_log(__name__)


class NoKeyError(Exception):
    """A callback cannot be signed now; the message says why, for people."""


class Keyring(Protocol):
    """Who knows the keys."""

    async def keys_for(self, receiver: str, secret_name: str) -> Sequence[SigningKey]:
        """All live keys, the newest first.

        Args:
            receiver: the host that is called, as `receiver_of` writes it.
            secret_name: the secret that the request named, or empty.

        Raises:
            NoKeyError: there are none.
        """


class SecretStore(Protocol):
    """Where keys are kept: `worker.ledger.callback_secrets`."""

    async def read(self, owner: SecretOwner) -> StoredSecret:
        """The keys of one owner, with none where it has none."""


@dataclass(frozen=True, slots=True)
class FixedKeyring:
    """The same keys for every receiver."""

    keys: Sequence[SigningKey]

    async def keys_for(self, _receiver: str, _secret_name: str) -> Sequence[SigningKey]:
        """These, if there are any."""
        return _some(self.keys, "AXN_CALLBACK_SECRET is not set")


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of one owner, and when by this process's clock."""

    stored: StoredSecret
    keys: Sequence[tuple[SigningKey, int]]
    read_ms: float

    def live(self, now_ms: float) -> list[SigningKey]:
        return [key for key, retired_at in self.keys if not retired_at or retired_at > now_ms]


class SharedKeyring:
    """The keys that all workers share, in Redis, kept here for some seconds.

    So a rotation is heeded everywhere that soon, and no try costs a read. While Redis is away the last keys known sign
    on, and retire at their time all the same.

    Args:
        default: the keys of receivers without their own.
        fresh_ms: for how long keys are believed before they are read again.
        patience_ms: how long a try waits for a read.
        most: owners to remember; the one not asked for longest is forgotten first.
    """

    def __init__(
        self,
        store: SecretStore,
        *,
        default: Sequence[SigningKey],
        clock: Clock,
        fresh_ms: int = 5_000,
        patience_ms: int = 1_000,
        most: int = 4_096,
    ) -> None:
        self._store = store
        self._default = default
        self._clock = clock
        self._fresh_ms = fresh_ms
        self._patience_ms = patience_ms
        self._most = most
        self._known: dict[SecretOwner, _Known] = {}
        self._asked_ms: dict[SecretOwner, float] = {}
        self._reads: dict[SecretOwner, asyncio.Task[None]] = {}

    async def keys_for(self, receiver: str, secret_name: str) -> Sequence[SigningKey]:
        """See `Keyring`."""
        owner = SecretOwner(secret_name, is_host=False) if secret_name else SecretOwner(receiver, is_host=True)
        known = await self._latest(owner)
        now_ms = known.stored.now_ms + self._clock.monotonic_ms() - known.read_ms
        keys = known.live(now_ms)
        if secret_name:
            return _some(keys, f"the secret {secret_name} has no key that can be used here")
        if not known.stored.version:
            return _some(self._default, f"AXN_CALLBACK_SECRET is not set, and {receiver} has no keys of its own")
        if known.stored.default_until > now_ms:
            held = {key.secret for key in keys}
            keys += [key for key in self._default if key.secret not in held]
        return _some(keys, f"{receiver} has no key that can be used here")

    async def _latest(self, owner: SecretOwner) -> _Known:
        now_ms = self._clock.monotonic_ms()
        if owner in self._known and now_ms - self._asked_ms[owner] < self._fresh_ms:
            return self._touched(owner)
        if owner not in self._reads:
            read = self._reads[owner] = asyncio.create_task(self._read(owner))
            read.add_done_callback(lambda _: self._reads.pop(owner, None))
        # Not cut off where it takes long: its answer is of use to the next try.
        await asyncio.wait({self._reads[owner]}, timeout=self._patience_ms / 1000)
        if owner not in self._known:
            raise NoKeyError("its keys could not be read from Redis")
        self._asked_ms[owner] = now_ms
        return self._touched(owner)

    async def _read(self, owner: SecretOwner) -> None:
        try:
            stored = await self._store.read(owner)
            known = _Known(stored, _usable(stored), self._clock.monotonic_ms())
        except (RedisError, OSError, ValueError) as failure:
            _log.warning(
                "callback keys not read, the last known ones sign on", owner=str(owner), error=type(failure).__name__
            )
            return
        self._known[owner] = known
        self._asked_ms[owner] = known.read_ms
        while len(self._known) > self._most:
            oldest = next(iter(self._known))
            del self._known[oldest], self._asked_ms[oldest]

    def _touched(self, owner: SecretOwner) -> _Known:
        known = self._known[owner] = self._known.pop(owner)
        return known


def _usable(stored: StoredSecret) -> list[tuple[SigningKey, int]]:
    usable: list[tuple[SigningKey, int]] = []
    for key in stored.live_keys(stored.now_ms):
        try:
            usable.append((parse_secret(key.secret), key.retired_at))
        except ValueError as wrong:  # the others sign: a receiver in the midst of a change may hold either
            _log.error(
                "callback key unusable", owner=str(stored.owner), fingerprint=key.fingerprint, message=str(wrong)
            )
    return usable


def _some(keys: Sequence[SigningKey], otherwise: str) -> Sequence[SigningKey]:
    if keys:
        return keys
    raise NoKeyError(otherwise)
