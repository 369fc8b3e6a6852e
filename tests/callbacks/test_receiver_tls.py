"""Only a receiver that proves its name is told anything."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.callbacks.dialling import Names
from tests.provider.loopback import Loopback, always, answer, serving
from worker.callbacks.client import receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.http import HttpAnswer, NotSentError

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
NAME = "shop.test"


class Authority:
    """Vouches for names, in files that `ssl` can read."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        own = _builder(self._name, self._name, self._key.public_key()).add_extension(basic, critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, begins: datetime = NOW - DAY, ends: datetime = NOW + DAY) -> ssl.SSLContext:
        """The TLS of a server with these names (or addresses), notes the name it was asked for."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
        alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = _builder(subject, self._name, key.public_key(), begins, ends)
        signed = builder.add_extension(alternative, critical=False).sign(self._key, hashes.SHA256())
        file = self._folder / f"{signed.serial_number}.pem"
        file.write_bytes(
            signed.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


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
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    alternative = x509.SubjectAlternativeName([x509.DNSName(NAME)])
    own = _builder(subject, subject, key.public_key()).add_extension(alternative, critical=False)
    pem = own.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "own.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    async with serving(always(answer()), tls=context) as receiver:
        with pytest.raises(NotSentError) as caught:
            await post(known, receiver, NAME)
    assert caught.value.kind == "tls"
    assert receiver.requests == []
