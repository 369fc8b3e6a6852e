"""The provider's two signatures, as pure functions.

V3 is ACS3-HMAC-SHA256, the official SDK's own; V1 is HMAC-SHA1 with SignatureVersion=1.0 (the RPC signature page calls
it RPC, newer pages V2). Parameters come in decoded; both sides encode them canonically before they sign.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

V3_ALGORITHM = "ACS3-HMAC-SHA256"
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]*")


def percent_encode(text: str) -> str:
    """RFC 3986 over UTF-8: letters, digits and `-_.~` stay, every other byte becomes %XX in upper case.

    Raises:
        UnicodeEncodeError: a lone surrogate.
    """
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="~")


def canonical_query(parameters: Mapping[str, str]) -> str:
    """`name=value` joined with `&`, encoded, sorted by name in byte order; a blank value keeps its `=`."""
    # Code points sort as their UTF-8 bytes do.
    return "&".join([f"{percent_encode(name)}={percent_encode(parameters[name])}" for name in sorted(parameters)])


def string_to_sign_v1(*, method: str, parameters: Mapping[str, str]) -> str:
    """What V1 signs: every parameter of query and form body except Signature itself."""
    signed = {name: value for name, value in parameters.items() if name != "Signature"}
    # What is encoded already holds nothing else that would change.
    twice = canonical_query(signed).replace("%", "%25").replace("&", "%26").replace("=", "%3D")
    return f"{method}&%2F&{twice}"


def sign_v1(*, method: str, parameters: Mapping[str, str], secret: str) -> str:
    """The Signature parameter, base64, still to be percent-encoded. An STS token is simply one more parameter."""
    text = string_to_sign_v1(method=method, parameters=parameters)
    return base64.b64encode(hmac.digest(f"{secret}&".encode(), text.encode(), hashlib.sha1)).decode()


def signed_headers_v3(headers: Mapping[str, str]) -> str:
    """The names in lower case, sorted, joined with `;`."""
    return _signed_names(tuple(headers))[1]


@lru_cache(maxsize=64)
def _signed_names(given: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], str]:
    """Each name in lower case and as it was given, sorted; and the list of them: hardly ever another than before."""
    names = sorted((name.lower(), name) for name in given)
    return tuple(names), ";".join(name for name, _ in names)


def canonical_request_v3(*, method: str, query: str, headers: Mapping[str, str], content_sha256: str) -> str:
    """What V3 hashes. The path is always `/`.

    Args:
        method: upper case.
        query: a `canonical_query`; empty where there are no parameters.
        headers: exactly those that are signed; the server rebuilds them from the SignedHeaders list.
        content_sha256: of the raw body, lower-case hexadecimal.
    """
    names, signed = _signed_names(tuple(headers))
    lines = "".join([f"{name}:{headers[given].strip()}\n" for name, given in names])
    return f"{method}\n/\n{query}\n{lines}\n{signed}\n{content_sha256}"


def sign_v3(*, method: str, query: str, headers: Mapping[str, str], content_sha256: str, secret: str) -> str:
    """The Signature of the Authorization header, hexadecimal. The arguments are `canonical_request_v3`'s."""
    request = canonical_request_v3(method=method, query=query, headers=headers, content_sha256=content_sha256)
    text = f"{V3_ALGORITHM}\n{hashlib.sha256(request.encode()).hexdigest()}"
    return hmac.digest(secret.encode(), text.encode(), hashlib.sha256).hex()


def authorization_v3(*, access_key_id: str, headers: Mapping[str, str], signature: str) -> str:
    """The Authorization header: no blanks after the commas, no scope."""
    return f"{V3_ALGORITHM} Credential={access_key_id},SignedHeaders={signed_headers_v3(headers)},Signature={signature}"
