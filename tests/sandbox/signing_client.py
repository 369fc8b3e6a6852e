"""A small client that signs in its own way: neither the engine's signer nor the sandbox's verifier."""

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

VERSION = "2017-05-25"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Prepared:
    """A signed request that a test may still spoil."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def but(self, **changes: Any) -> "Prepared":
        return replace(self, **changes)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    root: str
    body: dict[str, Any]

    @property
    def code(self) -> str:
        return str(self.body["Code"])


def escaped(text: str) -> str:
    return quote(text, safe="-_.~")


def joined(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{escaped(name)}={escaped(parameters[name])}" for name in sorted(parameters))


@dataclass
class SigningClient:
    """Sends actions to a sandbox at `base`; `now` dates the requests."""

    session: ClientSession
    base: str
    now: Callable[[], float]
    key_id: str = "testid"
    secret: str = "testsecret"
    token: str = ""

    def _timestamp(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def v1(
        self,
        action: str,
        parameters: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        form: bool = False,
        common: Mapping[str, str | None] | None = None,
    ) -> Prepared:
        """Sign the old way. A common parameter given as None is left out, otherwise replaced."""
        wanted: dict[str, str | None] = {
            "AccessKeyId": self.key_id,
            "Action": action,
            "Format": "JSON",
            "SignatureMethod": "HMAC-SHA1",
            "SignatureNonce": uuid.uuid4().hex,
            "SignatureVersion": "1.0",
            "Timestamp": self._timestamp(),
            "Version": VERSION,
            "SecurityToken": self.token or None,
            **(common or {}),
        }
        outer = {name: value for name, value in wanted.items() if value is not None}
        business = dict(parameters or {})
        string_to_sign = f"{method}&%2F&{escaped(joined(outer | business))}"
        digest = hmac.new(f"{self.secret}&".encode(), string_to_sign.encode(), hashlib.sha1).digest()
        outer["Signature"] = base64.b64encode(digest).decode()
        if form:
            return Prepared(method, f"{self.base}/?{joined(outer)}", dict(FORM), joined(business).encode())
        return Prepared(method, f"{self.base}/?{joined(outer | business)}")

    def v3(
        self,
        action: str,
        parameters: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        form: bool = False,
        headers: Mapping[str, str | None] | None = None,
    ) -> Prepared:
        """Sign the new way. A header given as None is left out, otherwise added or replaced, and signed."""
        text = joined(parameters or {})
        body = text.encode() if form else b""
        wanted: dict[str, str | None] = {
            "host": self.base.removeprefix("http://"),
            "x-acs-action": action,
            "x-acs-version": VERSION,
            "x-acs-date": self._timestamp(),
            "x-acs-signature-nonce": uuid.uuid4().hex,
            "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-acs-security-token": self.token or None,
            "content-type": FORM["content-type"] if form else None,
            **(headers or {}),
        }
        signed = {name: value for name, value in sorted(wanted.items()) if value is not None}
        names = ";".join(signed)
        query = "" if form else text
        lines = "".join(f"{name}:{value.strip()}\n" for name, value in signed.items())
        request = f"{method}\n/\n{query}\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
        string_to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.new(self.secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
        scheme = f"ACS3-HMAC-SHA256 Credential={self.key_id},SignedHeaders={names},Signature={signature}"
        url = f"{self.base}/?{query}" if query else f"{self.base}/"
        return Prepared(method, url, {**signed, "authorization": scheme}, body)

    async def send(self, prepared: Prepared, *, timeout_s: float = 10) -> Reply:
        async with self.session.request(
            prepared.method,
            URL(prepared.url, encoded=True),
            headers=prepared.headers,
            data=prepared.body or None,
            timeout=ClientTimeout(total=timeout_s),
        ) as response:
            raw = await response.read()
            if "xml" in response.headers["Content-Type"]:
                root = ET.fromstring(raw)
                return Reply(response.status, response.headers.copy(), root.tag, _xml(root))
            return Reply(response.status, response.headers.copy(), "", json.loads(raw))

    async def call(self, action: str, **parameters: str) -> Reply:
        """The usual case: V3, POST, parameters in the query."""
        return await self.send(self.v3(action, parameters))

    async def admin(self, method: str, path: str, payload: object = None) -> tuple[int, dict[str, Any]]:
        async with self.session.request(method, f"{self.base}/_sandbox/{path}", json=payload) as response:
            return response.status, await response.json()


def _xml(element: ET.Element) -> dict[str, Any]:
    return {child.tag: _xml(child) if len(child) else child.text or "" for child in element}
