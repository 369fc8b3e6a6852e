"""The keys that sign callbacks, of receiver hosts and of named secrets, as Redis holds them.

A hash for each owner, all in one slot: `version` counts rotations, `current` is the newest key's fingerprint; of each
key `secret:F`, `created_at:F` and, where it is to end, `retired_at:F`. `default_until`: so long AXN_CALLBACK_SECRET
signs beside the host's first key of its own. Whoever reads this Redis can sign as this system does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis

from worker.domain.callback_secret import SecretOwner
from worker.ledger.keys import CALLBACK_SECRETS_KEY, callback_secret_key
from worker.redis_faults import asking
from worker.redis_scripts import load_script

MOST_LIVE_KEYS = 10
_CREATED = "created_at:"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key. Times in Unix ms by Redis's clock; `retired_at` is 0 for the newest, which does not end."""

    fingerprint: str
    secret: str = field(repr=False)
    created_at: int
    retired_at: int


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """All keys of one owner, newest first, those that have ended among them.

    Attributes:
        now_ms: when it was read, Unix ms by Redis's clock.
        version: how often it was rotated; 0: it has no keys.
        default_until: until when AXN_CALLBACK_SECRET signs, too; 0 where it does not.
    """

    owner: SecretOwner
    now_ms: int
    version: int
    keys: tuple[StoredKey, ...]
    default_until: int

    def live_keys(self, now_ms: int) -> list[StoredKey]:
        """Those that sign at this time."""
        return [key for key in self.keys if not key.retired_at or key.retired_at > now_ms]


@dataclass(frozen=True, slots=True)
class RefusedRotation:
    """Nothing was changed.

    Attributes:
        why: `overtaken` by another rotation, `current`: this key is the newest already, `full`: too many live keys.
        free_in_ms: for `full`, when the next of them retires.
    """

    why: str
    free_in_ms: int


class CallbackSecrets:
    """Reads and rotates them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._read = load_script(redis, "worker.ledger", "read_callback_secret")
        self._rotate = load_script(redis, "worker.ledger", "rotate_callback_secret")

    async def read(self, owner: SecretOwner) -> StoredSecret:
        """The keys of one owner, with none where it has none."""
        return _stored(owner, await self._read([callback_secret_key(owner)], []))

    async def read_all(self) -> list[StoredSecret]:
        """Everything, hosts first, by name."""
        members: set[str] = await self._redis.smembers(CALLBACK_SECRETS_KEY)  # type: ignore[misc, assignment, unused-ignore]
        owners = sorted((SecretOwner.parse(member) for member in members), key=lambda one: (not one.is_host, one.name))
        pipeline = self._redis.pipeline(transaction=False)
        for owner in owners:
            await self._read([callback_secret_key(owner)], [], client=pipeline)
        return [_stored(owner, reply) for owner, reply in zip(owners, await pipeline.execute(), strict=True)]

    async def unknown_names(self, names: Iterable[str]) -> frozenset[str]:
        """Those of these named secrets that have no key, in one pipeline.

        Raises:
            LedgerUnavailableError: says what is wrong with Redis.
        """
        asked = sorted(set(names))
        async with asking(self._redis, is_one_call=False), self._redis.pipeline(transaction=False) as pipeline:
            for name in asked:
                pipeline.exists(callback_secret_key(SecretOwner(name, is_host=False)))
            found = await pipeline.execute()
        return frozenset(name for name, is_there in zip(asked, found, strict=True) if not is_there)

    async def rotate(
        self, owner: SecretOwner, *, fingerprint: str, secret: str, version: int, grace_ms: int
    ) -> StoredSecret | RefusedRotation:
        """Make this the newest key; see rotate_callback_secret.lua.

        Args:
            owner: whose.
            fingerprint: of the new key.
            secret: the new key.
            version: as read before.
            grace_ms: how long the others sign on.

        Returns:
            All keys as they stand now. They come with the same reply: nothing may go wrong between the rotation and
            what is told of it.
        """
        status, now_ms, *further = await self._rotate(
            [callback_secret_key(owner), CALLBACK_SECRETS_KEY],
            [str(owner), fingerprint, secret, version, grace_ms, MOST_LIVE_KEYS, "1" if owner.is_host else ""],
        )
        if status == "rotated":
            return _stored(owner, [now_ms, *further])
        return RefusedRotation(str(status), int(further[0]) - int(now_ms) if further else 0)


def _stored(owner: SecretOwner, reply: Sequence[str]) -> StoredSecret:
    now_ms, *flat = reply
    record = dict(zip(flat[::2], flat[1::2], strict=True))
    current = record.get("current", "")
    keys = [_key(record, name.removeprefix(_CREATED)) for name in record if name.startswith(_CREATED)]
    keys.sort(key=lambda key: (key.fingerprint == current, key.created_at, key.fingerprint), reverse=True)
    return StoredSecret(
        owner, int(now_ms), int(record.get("version", 0)), tuple(keys), int(record.get("default_until", 0))
    )


def _key(record: Mapping[str, str], fingerprint: str) -> StoredKey:
    return StoredKey(
        fingerprint,
        record.get(f"secret:{fingerprint}", ""),
        int(record[_CREATED + fingerprint]),
        int(record.get(f"retired_at:{fingerprint}", 0)),
    )
