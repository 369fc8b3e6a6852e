"""Keys in a real Redis: who has which, how long, and what races and resends come to."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from worker.callbacks.rotation import Rotation, RotationRefusedError, Rotations, host_owner, named_owner
from worker.callbacks.signature import HmacKey, fingerprint_of, new_key
from worker.ledger.callback_secrets import MOST_LIVE_KEYS, CallbackSecrets, RefusedRotation, StoredSecret
from worker.ledger.keys import callback_secret_key

SHOP = host_owner("shop.example")
HOUR_MS = 3_600_000
OLD, NEW = HmacKey(bytes(range(24))), HmacKey(bytes(range(100, 132)))


@pytest.fixture
def rotations(redis: Redis) -> Rotations:
    return Rotations(CallbackSecrets(redis))


def in_hours(stored: StoredSecret) -> list[tuple[str, int | None]]:
    """Fingerprints of the live keys, and in how many hours each retires."""
    live = stored.live_keys(stored.now_ms)
    return [
        (key.fingerprint, round((key.retired_at - stored.now_ms) / HOUR_MS) if key.retired_at else None) for key in live
    ]


def print_of(rotation: Rotation) -> str:
    return rotation.fingerprint


async def test_the_first_key_of_a_host_leaves_the_default_its_grace_and_that_of_a_name_has_none(
    redis: Redis, rotations: Rotations
) -> None:
    for owner, default_hours in ((SHOP, 24), (named_owner("orders"), 0)):
        made = await rotations.rotate(owner, grace_ms=24 * HOUR_MS)
        assert in_hours(made.stored) == [(print_of(made), None)]
        until = made.stored.default_until
        assert round((until - made.stored.now_ms) / HOUR_MS if until else 0) == default_hours
        assert made.stored.keys[0].secret == made.key.secret
        assert made.key.secret not in repr(made) + repr(made.stored)
    assert await redis.keys("axn1:*") != []
    assert {str(stored.owner) for stored in await rotations.secrets.read_all()} == {"host:shop.example", "name:orders"}


async def test_old_keys_sign_on_until_their_grace_ends_and_a_shorter_one_ends_them_sooner(rotations: Rotations) -> None:
    first = await rotations.rotate(SHOP, grace_ms=24 * HOUR_MS)
    second = await rotations.rotate(SHOP, grace_ms=48 * HOUR_MS)
    assert in_hours(second.stored) == [(print_of(second), None), (print_of(first), 48)]
    assert round((second.stored.default_until - second.stored.now_ms) / HOUR_MS) == 24
    third = await rotations.rotate(SHOP, grace_ms=2 * HOUR_MS)
    newest, *others = in_hours(third.stored)
    assert newest == (print_of(third), None)
    assert dict(others) == {print_of(second): 2, print_of(first): 2}  # of one millisecond, perhaps: in any order
    assert round((third.stored.default_until - third.stored.now_ms) / HOUR_MS) == 2
    last = await rotations.rotate(SHOP, grace_ms=0)
    assert [key.fingerprint for key in last.stored.keys] == [print_of(last)]
    assert last.stored.default_until <= last.stored.now_ms


async def test_an_ended_key_is_gone_with_the_next_rotation(redis: Redis, rotations: Rotations) -> None:
    first = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    client: Any = redis
    await client.hset(callback_secret_key(SHOP), f"retired_at:{print_of(first)}", 1)
    assert print_of(first) not in dict(in_hours(await rotations.secrets.read(SHOP)))
    await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    assert not [name for name in await client.hkeys(callback_secret_key(SHOP)) if name.endswith(print_of(first))]


async def test_one_may_go_back_to_a_key_that_still_signs(rotations: Rotations) -> None:
    for key in (OLD, NEW, OLD):
        made = await rotations.rotate(SHOP, grace_ms=HOUR_MS, given=key)
    assert in_hours(made.stored) == [(fingerprint_of(OLD), None), (fingerprint_of(NEW), 1)]
    with pytest.raises(RotationRefusedError, match=r"newest key already"):
        await rotations.rotate(SHOP, grace_ms=0, given=OLD)
    assert len(in_hours(await rotations.secrets.read(SHOP))) == 2


async def test_no_more_than_ten_keys_are_live(rotations: Rotations) -> None:
    for _ in range(MOST_LIVE_KEYS):
        made = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    with pytest.raises(RotationRefusedError, match=r"10 live keys.* retires in 1\.0 h"):
        await rotations.rotate(SHOP, grace_ms=2 * HOUR_MS)
    assert in_hours(await rotations.secrets.read(SHOP)) == in_hours(made.stored)
    assert len(in_hours((await rotations.rotate(SHOP, grace_ms=0)).stored)) == 1


async def test_of_rotations_at_once_one_is_made_and_no_key_is_live_that_nobody_was_told_of(
    rotations: Rotations,
) -> None:
    before = await rotations.rotate(SHOP, grace_ms=HOUR_MS)
    ends = await asyncio.gather(*(rotations.rotate(SHOP, grace_ms=HOUR_MS) for _ in range(5)), return_exceptions=True)
    made = [end for end in ends if isinstance(end, Rotation)]
    refused = [end for end in ends if isinstance(end, RotationRefusedError)]
    assert len(made) + len(refused) == 5
    assert made
    assert all("somebody else" in str(end) for end in refused)
    live = dict(in_hours(await rotations.secrets.read(SHOP)))
    assert set(live) == {print_of(before), *(print_of(one) for one in made)}


async def test_a_resent_rotation_changes_nothing_and_one_that_comes_too_late_is_refused(
    redis: Redis, rotations: Rotations
) -> None:
    client: Any = redis

    async def sent() -> str:
        made = await rotations.secrets.rotate(
            SHOP, fingerprint=fingerprint_of(OLD), secret=OLD.secret, version=0, grace_ms=HOUR_MS
        )
        return made.why if isinstance(made, RefusedRotation) else made.keys[0].secret

    assert await sent() == OLD.secret
    record = await client.hgetall(callback_secret_key(SHOP))
    assert await sent() == OLD.secret
    assert await client.hgetall(callback_secret_key(SHOP)) == record
    newer = await rotations.rotate(SHOP, grace_ms=HOUR_MS, given=NEW)
    assert await sent() == "overtaken"
    assert in_hours(await rotations.secrets.read(SHOP)) == in_hours(newer.stored)


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("shop.example", "shop.example"),
        ("Shop.EXAMPLE.", "shop.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("10.1.2.3", "10.1.2.3"),
        ("fd00::5", "fd00::5"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_is_taken_as_its_urls_name_it(given: str, host: str) -> None:
    assert host_owner(given).name == host


@pytest.mark.parametrize(
    "given",
    ["", ".", "https://shop.example/", "shop.example/axn", "shop.example:443", "a@b", "a b", "a..b", "-", "x" * 254],
)
def test_what_is_no_host_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="must be a host alone"):
        host_owner(given)


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a:b", "x" * 65, "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        named_owner(name)


def test_a_host_and_a_name_that_are_written_alike_are_two() -> None:
    assert callback_secret_key(SHOP) != callback_secret_key(named_owner("shop.example"))
    assert new_key(is_ed25519=False).secret != new_key(is_ed25519=False).secret
