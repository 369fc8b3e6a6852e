"""What the doctor says of numbers at rest."""

import secrets

import pytest
from redis.asyncio import Redis

from tests.privacy.filled import Parts, fill
from worker.doctor.finding import Level
from worker.doctor.privacy_checks import check_numbers
from worker.domain.encryption_keys import KEY_BYTES
from worker.ledger.seal import NO_SEAL, Seal

INDEX, OLD, NEW = (secrets.token_bytes(KEY_BYTES) for _ in range(3))
SEALED, ROTATED = Seal({"old": OLD}, INDEX), Seal({"new": NEW, "old": OLD}, INDEX)


@pytest.mark.parametrize(
    ("written", "here", "level", "told"),
    [
        (NO_SEAL, NO_SEAL, Level.GOOD, "stand in Redis as they are"),
        (SEALED, SEALED, Level.GOOD, "are sealed by old"),
        (NO_SEAL, SEALED, Level.WARNING, "some records are not sealed by old"),
        (SEALED, ROTATED, Level.WARNING, "some records are not sealed by new"),
        (SEALED, NO_SEAL, Level.ERROR, "(keys: old)"),
        (SEALED, Seal({"old": NEW}, INDEX), Level.ERROR, "(keys: old)"),
    ],
)
async def test_it_tells_whether_numbers_can_be_read_here(
    redis: Redis, written: Seal, here: Seal, level: Level, told: str
) -> None:
    await fill(Parts(redis, written))
    finding = await check_numbers(redis, here)
    assert finding.level is level
    assert told in finding.told


async def test_an_empty_ledger_is_as_it_should_be(redis: Redis) -> None:
    assert (await check_numbers(redis, SEALED)).level is Level.GOOD
