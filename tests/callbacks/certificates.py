"""Certificates made on the spot, good and bad, in files that `ssl` can read."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
#: The common name of every server here: it must count for nothing.
NAME = "shop.test"


class Authority:
    """Vouches for names."""

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        basic = x509.BasicConstraints(ca=True, path_length=None)
        own = _builder(self._name, self._name, self._key.public_key()).add_extension(basic, critical=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, begins: datetime = NOW - DAY, ends: datetime = NOW + DAY) -> ssl.SSLContext:
        """The TLS of a server with these names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(NAME), self._name, key.public_key(), begins, ends)
        return _context(self._folder, _with_names(builder, names).sign(self._key, hashes.SHA256()), key)


def self_signed(folder: Path, *names: str) -> ssl.SSLContext:
    """The TLS of a server that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(NAME)
    builder = _with_names(_builder(subject, subject, key.public_key()), names)
    return _context(folder, builder.sign(key, hashes.SHA256()), key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


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


def _with_names(builder: x509.CertificateBuilder, names: tuple[str, ...]) -> x509.CertificateBuilder:
    alternative = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return builder.add_extension(alternative, critical=False)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _context(folder: Path, signed: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
    file = folder / f"{signed.serial_number}.pem"
    file.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
