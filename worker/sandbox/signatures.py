"""Both signature algorithms, written from the provider's specification and from nothing else of this project.

V1 is the RPC signature (HMAC-SHA1, `SignatureVersion=1.0`), V3 is ACS3-HMAC-SHA256.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import quote

Pairs = Iterable[tuple[str, str]]

ACS3_ALGORITHM = "ACS3-HMAC-SHA256"


def percent_encode(text: str) -> str:
    """UTF-8, everything but letters, digits and `-_.~` as upper-case `%XX`."""
    return quote(text, safe="~")


def canonical_query(pairs: Pairs) -> str:
    """Decoded pairs, sorted by name (then value) in byte order, encoded again; a blank value keeps its `=`."""
    # Code point order is UTF-8 byte order.
    return "&".join(f"{percent_encode(name)}={percent_encode(value)}" for name, value in sorted(pairs))


def rpc_string_to_sign(method: str, pairs: Pairs) -> str:
    """What V1 signs: all decoded query and form parameters except `Signature`."""
    signed = canonical_query((name, value) for name, value in pairs if name != "Signature")
    return f"{method}&%2F&{percent_encode(signed)}"


def rpc_signature(secret: str, string_to_sign: str) -> str:
    digest = hmac.digest(f"{secret}&".encode(), string_to_sign.encode(), hashlib.sha1)
    return base64.b64encode(digest).decode()


def acs3_canonical_request(
    method: str, path: str, query: Pairs, *, headers: Pairs, signed_names: Iterable[str], body_hash: str
) -> str:
    """What V3 hashes. `headers` are those received, `signed_names` the lower-case names the client says it signed."""
    names = sorted(signed_names)
    values: dict[str, list[str]] = {name: [] for name in names}
    for name, value in headers:
        if name.lower() in values:
            values[name.lower()].append(value.strip())
    header_lines = "".join(f"{name}:{','.join(sorted(values[name]))}\n" for name in names)
    return "\n".join([method, path, canonical_query(query), header_lines, ";".join(names), body_hash])


def acs3_string_to_sign(canonical_request: str) -> str:
    # A header may hold bytes that are not UTF-8; they come through the server as lone surrogates.
    raw = canonical_request.encode("utf-8", "surrogateescape")
    return f"{ACS3_ALGORITHM}\n{hashlib.sha256(raw).hexdigest()}"


def acs3_signature(secret: str, string_to_sign: str) -> str:
    return hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()


def body_hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def same(received: str, expected: str) -> bool:
    """Compare in a time that does not tell how much of the two agrees."""
    return hmac.compare_digest(received.encode("utf-8", "replace"), expected.encode())
