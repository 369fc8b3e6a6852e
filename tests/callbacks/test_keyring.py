"""Which keys sign, how soon a rotation is heeded, and what signs while Redis is away."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.callbacks.keyring import NoKeyError, SharedKeyring
from worker.callbacks.rotation import Rotations, host_owner, named_owner
from worker.callbacks.signature import HmacKey, SigningKey
from worker.clock import SystemClock
from worker.domain.callback_secret import SecretOwner
from worker.domain.masking import mask_text
from worker.ledger.callback_secrets import CallbackSecrets, StoredSecret

SHOP = host_owner("shop.example")
DEFAULT = HmacKey(bytes(24))
FRESH_MS, HOUR_MS = 5_000, 3_600_000


class SetClock(SystemClock):
    """Stands still until it is set on."""

    def __init__(self) -> None:
        self.at_ms = 0.0

    def monotonic_ms(self) -> float:
        return self.at_ms


class WatchedStore:
    """A real store whose reads are counted, and fail or hang where told so."""

    def __init__(self, redis: Redis) -> None:
        self.secrets = CallbackSecrets(redis)
        self.reads: list[SecretOwner] = []
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, owner: SecretOwner) -> StoredSecret:
        self.reads.append(owner)
        await self.gate.wait()
        if self.is_away:
            raise RedisConnectionError("away")
        return await self.secrets.read(owner)


@pytest.fixture
def store(redis: Redis) -> WatchedStore:
    return WatchedStore(redis)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def rotations(redis: Redis) -> Rotations:
    return Rotations(CallbackSecrets(redis))


def keyring_on(
    store: WatchedStore, clock: SetClock, *, default: Sequence[SigningKey] = (DEFAULT,), most: int = 100
) -> SharedKeyring:
    return SharedKeyring(store, default=default, clock=clock, fresh_ms=FRESH_MS, patience_ms=50, most=most)


async def secrets_of(keyring: SharedKeyring, host: str = "shop.example", name: str = "") -> list[str]:
    return [key.secret for key in await keyring.keys_for(host, name)]


async def test_a_host_has_its_own_keys_and_the_default_while_it_gives_way(
    store: WatchedStore, clock: SetClock, rotations: Rotations
) -> None:
    keyring = keyring_on(store, clock)
    made = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    assert await secrets_of(keyring) == [made.key.secret, DEFAULT.secret]
    assert await secrets_of(keyring, "other.example") == [DEFAULT.secret]
    store.is_away = True
    clock.at_ms += HOUR_MS - FRESH_MS
    assert await secrets_of(keyring) == [made.key.secret, DEFAULT.secret]
    clock.at_ms += FRESH_MS + 1
    assert await secrets_of(keyring) == [made.key.secret]


async def test_a_request_with_a_named_secret_is_signed_with_that_alone(
    store: WatchedStore, clock: SetClock, rotations: Rotations
) -> None:
    keyring = keyring_on(store, clock)
    made = await rotations.rotate(named_owner("orders"), grace_ms=0)
    await rotations.rotate(SHOP, grace_ms=0)
    assert await secrets_of(keyring, name="orders") == [made.key.secret]
    with pytest.raises(NoKeyError, match="secret renewals has no key"):
        await secrets_of(keyring, name="renewals")


async def test_all_live_keys_sign_the_newest_first_and_a_key_of_both_sorts_once(
    store: WatchedStore, clock: SetClock, rotations: Rotations
) -> None:
    for key in (DEFAULT, None, None):
        made = await rotations.rotate(SHOP, grace_ms=HOUR_MS, given=key, is_ed25519=key is None)
    secrets = await secrets_of(keyring_on(store, clock))
    assert len(secrets) == 3
    assert secrets[0] == made.key.secret
    assert secrets.count(DEFAULT.secret) == 1


async def test_a_rotation_is_heeded_within_seconds_and_a_try_costs_no_read(
    store: WatchedStore, clock: SetClock, rotations: Rotations
) -> None:
    keyring = keyring_on(store, clock)
    assert await asyncio.gather(*(secrets_of(keyring) for _ in range(20))) == [[DEFAULT.secret]] * 20
    made = await rotations.rotate(SHOP, grace_ms=0)
    clock.at_ms += FRESH_MS - 1
    assert await secrets_of(keyring) == [DEFAULT.secret]
    assert len(store.reads) == 1
    clock.at_ms += 1
    assert await secrets_of(keyring) == [made.key.secret]
    assert len(store.reads) == 2


@pytest.mark.parametrize("hangs", [False, True])
async def test_while_redis_is_away_the_last_known_keys_sign_until_they_retire(
    store: WatchedStore, clock: SetClock, rotations: Rotations, hangs: bool
) -> None:
    keyring = keyring_on(store, clock)
    old = await rotations.rotate(SHOP, grace_ms=0)
    new = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    assert await secrets_of(keyring) == [new.key.secret, old.key.secret]
    store.is_away = True
    if hangs:
        store.gate.clear()
    clock.at_ms += FRESH_MS
    for _ in range(3):  # it is asked once in five seconds, not at each try
        assert await secrets_of(keyring) == [new.key.secret, old.key.secret]
    assert len(store.reads) == 2
    clock.at_ms += HOUR_MS
    assert await secrets_of(keyring) == [new.key.secret]
    with pytest.raises(NoKeyError, match="could not be read from Redis"):
        await secrets_of(keyring, "never.asked.example")
    store.gate.set()
    store.is_away = False
    clock.at_ms += FRESH_MS
    assert await secrets_of(keyring, "never.asked.example") == [DEFAULT.secret]


async def test_a_key_that_cannot_be_used_here_leaves_the_signing_to_the_others(
    store: WatchedStore,
    clock: SetClock,
    rotations: Rotations,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    new = await rotations.rotate(SHOP, grace_ms=HOUR_MS, is_ed25519=True)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with caplog.at_level(logging.ERROR):
        assert await secrets_of(keyring_on(store, clock, default=())) == [old.key.secret]
    assert f"callback key unusable owner=host:shop.example fingerprint={mask_text(new.fingerprint)}" in caplog.text
    assert new.key.secret not in caplog.text


async def test_without_any_key_it_says_so(store: WatchedStore, clock: SetClock) -> None:
    with pytest.raises(NoKeyError, match=r"AXN_CALLBACK_SECRET is not set, and shop\.example has no keys"):
        await secrets_of(keyring_on(store, clock, default=()))


async def test_it_remembers_only_so_many_and_forgets_the_one_not_asked_for_longest(
    store: WatchedStore, clock: SetClock
) -> None:
    keyring = keyring_on(store, clock, most=2)
    for host in ("a", "b", "a", "c", "a", "b"):
        await secrets_of(keyring, host)
    assert [owner.name for owner in store.reads] == ["a", "b", "c", "b"]
