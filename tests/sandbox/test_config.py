"""The spellings of pools, keys and limits, and what is said of bad ones."""

from dataclasses import replace
from typing import Any

import pytest

from worker.sandbox.config import AccessKey, Limit, PoolSpec, parse_access_key, parse_limit, parse_pool
from worker.sandbox.server import build_app

from .conftest import CONFIG


def test_a_pool_holds_numbers_by_city() -> None:
    assert parse_pool("FC123456=1000@上海,500@北京") == PoolSpec("FC123456", (("上海", 1000), ("北京", 500)))


def test_a_pool_needs_no_city() -> None:
    assert parse_pool("FC1=20") == PoolSpec("FC1", (("", 20),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FC1", "write KEY=COUNT@CITY"),
        ("=5", "write KEY=COUNT@CITY"),
        ("FC1=", "write KEY=COUNT@CITY"),
        ("FC1=x@上海", "'x@上海' must be a whole number above 0"),
        ("FC1=0", "must be a whole number above 0"),
        ("FC1=²", "must be a whole number above 0"),
        ("FC1=5@", "names no city after @"),
        ("FC1=5@上海,6@上海", "city given more than once: 上海"),
    ],
)
def test_a_bad_pool_is_told_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="pool") as refused:
        parse_pool(text)
    assert said in str(refused.value)


def test_an_access_key_may_have_a_token_and_the_token_colons() -> None:
    assert parse_access_key("id:secret") == AccessKey("id", "secret")
    assert parse_access_key("id:secret:to:ken") == AccessKey("id", "secret", "to:ken")


@pytest.mark.parametrize("text", ["id", "id:", ":hush", "id:hush:"])
def test_a_bad_access_key_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="ID:SECRET") as refused:
        parse_access_key(text)
    assert "hush" not in str(refused.value)


def test_a_key_does_not_show_its_secret() -> None:
    assert "hush" not in repr(AccessKey("id", "hush", "hush-token"))


def test_a_limit_is_an_action_and_a_rate() -> None:
    assert parse_limit("BindAxn=50") == Limit("BindAxn", 50)


@pytest.mark.parametrize("text", ["BindAxn", "=5", "BindAxn=", "BindAxn=0", "BindAxn=1.5", "BindAxn=-1"])
def test_a_bad_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="limit"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pools": (PoolSpec("FC1", ()), PoolSpec("FC1", ()))}, "pools: pool key given more than once: FC1"),
        ({"access_keys": (AccessKey("a", "b"), AccessKey("a", "c"))}, "access_keys: key id given more than once: a"),
        ({"limits": (Limit("BindAxn", 1), Limit("BindAxn", 2))}, "limits: action given more than once: BindAxn"),
        ({"throttle_style": "soft"}, "throttle_style: 'soft' is not known"),
        ({"port": 65_536}, "port: must be at most 65535"),
        ({"latency_ms": -1}, "latency_ms: must be 0 or more"),
        ({"retry_after_ms": 0}, "retry_after_ms: must be 1 or more"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **changes)


def test_a_limit_on_an_unknown_action_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="'BindAx' is not an action of this sandbox"):
        build_app(replace(CONFIG, limits=(Limit("BindAx", 1),)))


def test_more_numbers_than_the_prefix_holds_are_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="170xxxxxxxx holds 100000000"):
        build_app(replace(CONFIG, pools=(parse_pool("FC1=100000001"),)))
