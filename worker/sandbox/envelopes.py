"""What every request carries besides its business parameters, whichever of the two ways it was signed."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from worker.sandbox import signatures
from worker.sandbox.refusals import GatewayError, missing
from worker.sandbox.requests import DecodedRequest

_AUTHORIZATION = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Envelope(ABC):
    """A signed request, ready to be checked. A text the request did not carry is ""."""

    request: DecodedRequest
    action: str
    version: str
    access_key_id: str
    security_token: str
    timestamp: str
    nonce: str

    def check_complete(self) -> None:
        """Refuse what lacks a common parameter or names another algorithm."""
        if not self.timestamp:
            raise GatewayError(400, "IllegalTimestamp", "The input parameter Timestamp is mandatory.")
        if not self.nonce:
            raise missing("SignatureNonce")

    @abstractmethod
    def string_to_sign(self) -> str:
        """The string the signature must be of, rebuilt from what was received."""

    @abstractmethod
    def is_signed_with(self, secret: str, string_to_sign: str) -> bool:
        """Whether the signature received is the one this secret gives."""


@dataclass(frozen=True, slots=True)
class RpcEnvelope(Envelope):
    """V1: everything is a parameter of the query or the form."""

    def check_complete(self) -> None:
        for name in ("AccessKeyId", "SignatureMethod", "SignatureVersion"):
            if not self._parameter(name):
                raise missing(name)
        if self._parameter("SignatureMethod").upper() != "HMAC-SHA1":
            raise GatewayError(400, "InvalidSignatureMethod", "The specified SignatureMethod is not supported.")
        if self._parameter("SignatureVersion") != "1.0":
            raise GatewayError(400, "InvalidSignatureVersion", "The specified SignatureVersion is not supported.")
        if not self._parameter("Signature"):
            raise GatewayError(400, "IncompleteSignature", "The request signature does not conform to standards.")
        # super() does not work in a dataclass with slots.
        Envelope.check_complete(self)

    def string_to_sign(self) -> str:
        return signatures.rpc_string_to_sign(self.request.wire.method, self.request.pairs)

    def is_signed_with(self, secret: str, string_to_sign: str) -> bool:
        return signatures.same(self._parameter("Signature"), signatures.rpc_signature(secret, string_to_sign))

    def _parameter(self, name: str) -> str:
        return self.request.parameters.get(name, "")


@dataclass(frozen=True, slots=True)
class Acs3Envelope(Envelope):
    """V3: common parameters are headers, and the Authorization header names those that were signed."""

    algorithm: str
    signed_names: tuple[str, ...]
    signature: str

    def check_complete(self) -> None:
        if self.algorithm != signatures.ACS3_ALGORITHM:
            raise GatewayError(400, "InvalidSignatureMethod", "The specified signature algorithm is not supported.")
        if not self.signature:
            raise GatewayError(400, "IncompleteSignature", "The Authorization header does not conform to standards.")
        Envelope.check_complete(self)
        unsigned = self._must_be_signed() - set(self.signed_names)
        if unsigned:
            raise GatewayError(
                400, "IncompleteSignature", f"These headers must be signed: {';'.join(sorted(unsigned))}."
            )

    def string_to_sign(self) -> str:
        wire = self.request.wire
        body_hash = signatures.body_hash(wire.body)
        return signatures.acs3_string_to_sign(
            signatures.acs3_canonical_request(
                wire.method,
                self.request.path,
                self.request.query,
                headers=wire.headers,
                signed_names=self.signed_names,
                body_hash=body_hash,
            )
        )

    def is_signed_with(self, secret: str, string_to_sign: str) -> bool:
        wire = self.request.wire
        signature_holds = signatures.same(self.signature, signatures.acs3_signature(secret, string_to_sign))
        # The header is signed as sent; a client that hashes one body and sends another is caught only here.
        return signature_holds and wire.header("x-acs-content-sha256") == signatures.body_hash(wire.body)

    def _must_be_signed(self) -> set[str]:
        received = {name for name, _ in self.request.wire.headers if name.startswith("x-acs-")}
        return received | {"host", "x-acs-content-sha256"}


def read_envelope(request: DecodedRequest) -> Envelope:
    """Tell the two signatures apart by the Authorization header, as the gateway must."""
    authorization = request.wire.header("authorization")
    if authorization.startswith("ACS3-"):
        return _read_acs3(request, authorization)
    return _read_rpc(request, request.parameters)


def _read_rpc(request: DecodedRequest, parameters: Mapping[str, str]) -> RpcEnvelope:
    return RpcEnvelope(
        request=request,
        action=parameters.get("Action", ""),
        version=parameters.get("Version", ""),
        access_key_id=parameters.get("AccessKeyId", ""),
        security_token=parameters.get("SecurityToken", ""),
        timestamp=parameters.get("Timestamp", ""),
        nonce=parameters.get("SignatureNonce", ""),
    )


def _read_acs3(request: DecodedRequest, authorization: str) -> Acs3Envelope:
    algorithm, _, rest = authorization.partition(" ")
    match = _AUTHORIZATION.fullmatch(rest.strip())
    key_id, names, signature = match.groups() if match else ("", "", "")
    header = request.wire.header
    return Acs3Envelope(
        request=request,
        action=header("x-acs-action"),
        version=header("x-acs-version"),
        access_key_id=key_id,
        security_token=header("x-acs-security-token"),
        timestamp=header("x-acs-date"),
        nonce=header("x-acs-signature-nonce"),
        algorithm=algorithm,
        signed_names=tuple(names.lower().split(";")),
        signature=signature,
    )
