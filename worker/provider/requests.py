"""From an action and its parameters to a signed HTTP request. Pure: nonce and time come in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit

from worker.provider.signing import authorization_v3, canonical_query, sign_v1, sign_v3

API_VERSION = "2017-05-25"

SignatureVersion = Literal["v3", "v1"]
AnswerFormat = Literal["json", "xml"]

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_ACCEPT: Mapping[AnswerFormat, str] = {"json": "application/json", "xml": "application/xml"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key; with a security token, a temporary one of STS. Its repr shows neither secret nor token."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API answers.

    Attributes:
        origin: scheme, host and port as a URL begins.
        host: the Host header, which V3 signs.
    """

    origin: str
    host: str

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """`https://host[:port]`; http is for a sandbox.

        Raises:
            ValueError: another scheme, no host, or anything after host and port.
        """
        parts = urlsplit(text)
        extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
        if parts.scheme not in {"http", "https"} or not parts.hostname or extra:
            raise ValueError("the endpoint must be http(s)://host[:port] and nothing more")
        return cls(f"{parts.scheme}://{parts.netloc}", parts.netloc)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A POST, ready to be sent once. Its parts hold phone numbers: not for logs."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt at one action.

    Attributes:
        action: as the API names it, BindAxn.
        parameters: the business parameters, wire names and texts.
        nonce: SignatureNonce.
        timestamp: UTC, as `timestamp_text` writes it.
    """

    action: str
    parameters: Mapping[str, str] = field(repr=False)
    nonce: str
    timestamp: str


def timestamp_text(unix_ms: int) -> str:
    """`yyyy-MM-ddTHH:mm:ssZ`, UTC, as both signatures want it."""
    return _second_text(unix_ms // 1000)


@lru_cache(maxsize=16)
def _second_text(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def build_v3(call: Call, *, endpoint: Endpoint, credentials: Credentials, answer_format: AnswerFormat) -> SignedRequest:
    """Laid out as the official SDK does: business parameters in the query, an empty body, the rest in headers.

    Raises:
        UnicodeEncodeError: a lone surrogate among the parameters.
    """
    query = canonical_query(call.parameters)
    signed = _signed_headers(call, endpoint, credentials)
    secret = credentials.access_key_secret
    signature = sign_v3(method="POST", query=query, headers=signed, content_sha256=_EMPTY_SHA256, secret=secret)
    authorization = authorization_v3(access_key_id=credentials.access_key_id, headers=signed, signature=signature)
    headers = {**signed, "accept": _ACCEPT[answer_format], "authorization": authorization}
    return SignedRequest(f"{endpoint.origin}/?{query}", headers, b"")


def _signed_headers(call: Call, endpoint: Endpoint, credentials: Credentials) -> dict[str, str]:
    headers = {
        "host": endpoint.host,
        "x-acs-action": call.action,
        "x-acs-content-sha256": _EMPTY_SHA256,
        "x-acs-date": call.timestamp,
        "x-acs-signature-nonce": call.nonce,
        "x-acs-version": API_VERSION,
    }
    if credentials.security_token:
        headers["x-acs-accesskey-id"] = credentials.access_key_id
        headers["x-acs-security-token"] = credentials.security_token
    return headers


def build_v1(call: Call, *, endpoint: Endpoint, credentials: Credentials, answer_format: AnswerFormat) -> SignedRequest:
    """Everything in the form body, so that phone numbers stay out of the access logs on the way.

    Raises:
        UnicodeEncodeError: a lone surrogate among the parameters.
    """
    parameters = {**call.parameters, **_common_parameters(call, credentials, answer_format)}
    parameters["Signature"] = sign_v1(method="POST", parameters=parameters, secret=credentials.access_key_secret)
    headers = {"host": endpoint.host, "content-type": "application/x-www-form-urlencoded"}
    return SignedRequest(f"{endpoint.origin}/", headers, canonical_query(parameters).encode())


def _common_parameters(call: Call, credentials: Credentials, answer_format: AnswerFormat) -> dict[str, str]:
    parameters = {
        "AccessKeyId": credentials.access_key_id,
        "Action": call.action,
        # Always sent: the product's page and the general RPC page name different defaults.
        "Format": answer_format.upper(),
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": call.nonce,
        "SignatureVersion": "1.0",
        "Timestamp": call.timestamp,
        "Version": API_VERSION,
    }
    if credentials.security_token:
        parameters["SecurityToken"] = credentials.security_token
    return parameters
