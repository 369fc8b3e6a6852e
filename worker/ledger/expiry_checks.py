"""Whether an account's ExpireDate reads as what was set: found out once, by the first renewal of the account.

The provider's pages name no zone for Expiration. Should it read our times otherwise than we write them, each renewal
could shorten a binding; so until one has been read back no other is made, and after a difference none is, until a
person says that it may be tried again.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redis.asyncio import Redis

from worker.ledger.renewal_keys import expiry_check_key, expiry_checker_key


class ExpiryState(StrEnum):
    """What is known."""

    UNKNOWN = "unknown"
    """Nobody has looked yet: the next renewal does."""
    OK = "ok"
    """It reads as it was set."""
    MISMATCH = "mismatch"
    """It does not: this account's renewals stand still."""


@dataclass(frozen=True, slots=True)
class ExpiryCheck:
    """What was found, and when.

    Attributes:
        expected, read: as on the wire; `read` is empty where the answer had none that can be read.
        seconds: how much later than expected it reads; negative: sooner; 0 where nothing can be read.
        binding_id: at which it was found.
        at_ms: Unix ms by Redis's clock; 0: never.
    """

    state: ExpiryState
    expected: str = ""
    read: str = ""
    seconds: int = 0
    binding_id: str = ""
    at_ms: int = 0


class ExpiryChecks:
    """Of one account.

    Args:
        redis: a client that decodes replies to text.
        account: as `worker.pace.keys.account_of` names it.
    """

    def __init__(self, redis: Redis, account: str) -> None:
        self._redis = redis
        self._key = expiry_check_key(account)
        self._checker_key = expiry_checker_key(account)

    async def read(self) -> ExpiryCheck:
        """What is known."""
        client: Any = self._redis
        record: dict[str, str] = await client.hgetall(self._key)
        if "state" not in record:
            return ExpiryCheck(ExpiryState.UNKNOWN)
        return ExpiryCheck(
            ExpiryState(record["state"]),
            record.get("expected", ""),
            record.get("read", ""),
            int(record.get("seconds", 0)),
            record.get("binding_id", ""),
            int(record.get("at", 0)),
        )

    async def write(self, check: ExpiryCheck) -> None:
        """Say what was found."""
        client: Any = self._redis
        fields = {
            "state": check.state.value, "expected": check.expected, "read": check.read, "seconds": check.seconds,
            "binding_id": check.binding_id, "at": check.at_ms,
        }  # fmt: skip
        await client.hset(self._key, mapping=fields)

    async def check_again(self) -> None:
        """Forget what was found: the next renewal looks anew."""
        await self._redis.delete(self._key, self._checker_key)

    async def become_checker(self, token: str, lease_ms: int) -> bool:
        """Be the one who looks; nobody else is for so long. The same token again is refused, too."""
        return bool(await self._redis.set(self._checker_key, token, nx=True, px=lease_ms))

    async def stop_checking(self) -> None:
        """Let somebody else look."""
        await self._redis.delete(self._checker_key)
