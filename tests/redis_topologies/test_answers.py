"""What is read out of commands and of a cluster's answers."""

from typing import Any

import pytest
from redis.exceptions import DataError, ResponseError

from worker.redis_cluster_answers import least, slot_of, slots_from
from worker.redis_urls import many_servers

#: Of the tag 123456789, the example of Redis's cluster specification: its CRC16 is 31C3.
SPEC_SLOT = 0x31C3


@pytest.mark.parametrize(
    ("command", "slot"),
    [
        (("GET", "{123456789}x"), SPEC_SLOT),
        (("get", b"{123456789}y"), SPEC_SLOT),
        (("EVALSHA", "f" * 40, 2, "{123456789}a", "{123456789}b", "argument"), SPEC_SLOT),
        (("EVALSHA", "f" * 40, 0, "{p00}a"), None),
        (("TIME",), None),
        (("SCRIPT LOAD", "return 1"), None),
        (("CONFIG GET", "appendfsync"), None),
    ],
)
def test_a_command_goes_where_its_key_is(command: tuple[Any, ...], slot: int | None) -> None:
    assert slot_of(command) == slot


def test_a_command_that_says_no_place_is_refused() -> None:
    with pytest.raises(DataError, match="RANDOMKEY names no key"):
        slot_of(("RANDOMKEY",))


def test_the_least_of_what_nodes_reached_counts() -> None:
    refused = ResponseError("no")
    assert least([1, 0, 2]) == 0
    assert least([[1, 2], [1, 0]]) == [1, 0]
    assert least([1, refused]) is refused


def test_nodes_without_a_name_of_their_own_are_at_the_host_that_was_asked() -> None:
    told = [[0, 1, ["", 7000, "id"], ["10.0.0.2", 7001, "id"]], [2, 2, ["?", 7002, "id"]], [3, 3, [None, 7003, "id"]]]
    slots, replicas = slots_from(told, ("10.0.0.9", 1))
    assert slots == {0: ("10.0.0.9", 7000), 1: ("10.0.0.9", 7000), 2: ("10.0.0.9", 7002), 3: ("10.0.0.9", 7003)}
    assert replicas == [("10.0.0.2", 7001)]


def test_one_server_s_url_keeps_user_options_and_address() -> None:
    servers = many_servers("rediss+cluster://u:p%40@[::1]:7000,b?ssl_ca_certs=%2Fca.pem")
    assert servers is not None
    assert servers.addresses == (("::1", 7000), ("b", 6379))
    assert servers.url_at(servers.addresses[0]) == "rediss://u:p%40@[::1]:7000/0?ssl_ca_certs=%2Fca.pem"
