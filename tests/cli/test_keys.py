"""`axn keys`: a key, what is under which, and a rotation."""

import asyncio
import json
import os
from pathlib import Path

import pytest
import redis

from tests.privacy.filled import Parts, fill
from worker import producers
from worker.domain.encryption_keys import new_key, parse_key
from worker.ledger.seal import NO_SEAL, Seal
from worker.redis_scripts import connect

from .conftest import Axn

INDEX = new_key()


def filled(url: str, seal: Seal = NO_SEAL) -> None:
    async def once() -> None:
        client = connect(url, timeout_ms=2000)
        await fill(Parts(client, seal))
        await client.aclose()

    asyncio.run(once())


def test_a_new_key_is_one_that_the_settings_take(axn: Axn) -> None:
    ended = axn("keys", "new", "--id", "2026a", "--json")
    told = json.loads(ended.out)
    assert told["entry"] == f"2026a:{told['key']}"
    assert parse_key(told["key"])
    key_id, _, key = axn("keys", "new").out.strip().partition(":")
    assert key_id.startswith("k20")
    assert parse_key(key)
    assert parse_key(axn("keys", "new", "--index").out.strip())
    assert axn("keys", "new", "--id", "A b").status == 2


@pytest.mark.parametrize(
    ("keys", "index", "told"),
    [
        ("a:c2hvcnQ=", INDEX, "AXN_ENCRYPTION__KEYS: entry 1 (a): must be the base64 of 32 bytes"),
        (f"a:{new_key()}", "", "AXN_ENCRYPTION__INDEX_KEY: is required with AXN_ENCRYPTION__KEYS"),
        (f"a:{new_key()}", "short", "AXN_ENCRYPTION__INDEX_KEY: must be the base64 of 32 bytes"),
        (f"a:{INDEX}", INDEX, "AXN_ENCRYPTION__INDEX_KEY: must not be a key of AXN_ENCRYPTION__KEYS"),
    ],
    ids=["short key", "no index key", "short index key", "index key in the ring"],
)
def test_a_wrong_key_is_named_by_its_variable_and_not_shown(
    axn: Axn, monkeypatch: pytest.MonkeyPatch, keys: str, index: str, told: str
) -> None:
    monkeypatch.setenv("AXN_ENCRYPTION__KEYS", keys)
    monkeypatch.setenv("AXN_ENCRYPTION__INDEX_KEY", index)
    ended = axn("keys", "show")
    assert ended.status == 2
    assert told in ended.err
    assert keys.partition(":")[2] not in ended.err


def _told_in_the_guide() -> str:
    """What docs/privacy.md shows of a rotation's end."""
    page = Path(__file__).parents[2] / "docs" / "privacy.md"
    (line,) = [line.strip() for line in page.read_text(encoding="utf-8").splitlines() if "all numbers are" in line]
    return line


def test_plain_numbers_are_sealed_and_an_old_key_can_be_dropped(
    axn: Axn, ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(os.environ["AXN_REDIS_URL"])
    shown = {one["id"]: one for one in json.loads(axn("keys", "show", "--json").out)["keys"]}
    assert list(shown) == [""]
    plain = shown[""]["records"]
    assert plain > 5
    assert axn("keys", "rotate").status == 2, "there is no key yet"
    old, new = new_key(), new_key()
    monkeypatch.setenv("AXN_ENCRYPTION__INDEX_KEY", INDEX)
    for ring, resealed in ((f"old:{old}", plain), (f"new:{new},old:{old}", plain)):
        monkeypatch.setenv("AXN_ENCRYPTION__KEYS", ring)
        producers.close()
        told = json.loads(axn("keys", "rotate", "--json").out)
        assert told["is_done"]
        assert told["resealed"] == resealed
    assert told["droppable"] == ["old"]
    ended = axn("keys", "rotate")
    assert ended.status == 0
    assert _told_in_the_guide().replace("2027a", "new").replace("2026a", "old") in ended.out
    monkeypatch.setenv("AXN_ENCRYPTION__KEYS", f"other:{new}")
    producers.close()
    ended = axn("keys", "show")
    assert ended.status == 1
    assert "MISSING in the ring" in ended.out
    ended = axn("keys", "rotate")
    assert ended.status == 1
    assert "add those, and rotate again" in ended.err
