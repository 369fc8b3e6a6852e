"""Only a receiver that proves its name is told anything."""

import ssl
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.callbacks.certificates import DAY, NAME, NOW, Authority, self_signed
from tests.callbacks.dialling import Names
from tests.provider.loopback import Loopback, always, answer, serving
from worker.callbacks.client import receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.http import HttpAnswer, NotSentError


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("known"), name="known")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), name="stranger")


async def post(authority: Authority, receiver: Loopback, host: str) -> HttpAnswer:
    rules = ReceiverRules(allow_nets=[ip_network("127.0.0.1/32")], ports=[receiver.port])
    names = Names({NAME: [["127.0.0.1"]], "other.test": [["127.0.0.1"]], "a.b.shop.test": [["127.0.0.1"]]})
    client = receiver_client(
        rules, max_connections=1, connect_timeout_ms=5_000, ca_file=str(authority.file), lookup=names
    )
    try:
        return await client.post(f"https://{host}:{receiver.port}/", headers={}, content=b"{}", total_timeout_ms=5_000)
    finally:
        await client.aclose()


@pytest.mark.parametrize("host", [NAME, "SHOP.test", f"{NAME}.", "127.0.0.1", "other.test"])
async def test_a_receiver_of_its_name_is_called(known: Authority, host: str) -> None:
    asked: list[object] = []
    tls = known.server(NAME, "127.0.0.1", "other.test")
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with serving(always(answer()), tls=tls) as receiver:
        assert (await post(known, receiver, host)).status == 200
    assert asked == [None if host == "127.0.0.1" else host.lower().removesuffix(".")]


REFUSED: dict[str, Callable[[Authority, Authority], ssl.SSLContext]] = {
    "expired": lambda known, _: known.server(NAME, begins=NOW - 2 * DAY, ends=NOW - DAY),
    "not yet valid": lambda known, _: known.server(NAME, begins=NOW + DAY, ends=NOW + 2 * DAY),
    "of another name": lambda known, _: known.server("other.test"),
    "of names beside it": lambda known, _: known.server("*.shop.test", "ashop.test", "shop.test.example"),
    "of its address only": lambda known, _: known.server("127.0.0.1"),
    "without an alternative name": lambda known, _: known.server(),
    "of an authority nobody knows": lambda _, stranger: stranger.server(NAME),
}


@pytest.mark.parametrize("fault", REFUSED)
async def test_a_certificate_with_a_fault_is_told_nothing(known: Authority, stranger: Authority, fault: str) -> None:
    async with serving(always(answer()), tls=REFUSED[fault](known, stranger)) as receiver:
        with pytest.raises(NotSentError) as caught:
            await post(known, receiver, NAME)
    assert caught.value.kind == "tls"
    assert receiver.requests == []


async def test_a_certificate_that_vouches_for_itself_is_told_nothing(known: Authority, tmp_path: Path) -> None:
    context = self_signed(tmp_path, NAME)
    async with serving(always(answer()), tls=context) as receiver:
        with pytest.raises(NotSentError) as caught:
            await post(known, receiver, NAME)
    assert caught.value.kind == "tls"
    assert receiver.requests == []
