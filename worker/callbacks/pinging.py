"""One signed `ping`, sent as any callback is, that says in words what went wrong."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from worker.callbacks.events import ping_body
from worker.callbacks.guard import ReceiverRules
from worker.callbacks.keyring import Keyring
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import SigningKey
from worker.clock import Clock
from worker.domain.callback_secret import SecretOwner
from worker.http import HttpClient

_MEANINGS = {
    "denied": "every address of that name is in a private or special network; AXN_CALLBACK_ALLOW_NETS names "
    "networks in which receivers may be",
    "dns": "no address is known for that name",
    "connect.refused": "nothing listens there, or the network does not lead there",
    "connect.timeout": "no connection within AXN_CONNECT_TIMEOUT",
    "tls": "no TLS connection: its certificate is not valid for that name, or it speaks no TLS",
    "timeout": "no complete answer within AXN_CALLBACK_TIMEOUT",
    "disconnected": "it hung up before it answered",
    "reset": "it broke the connection off",
    "answer.malformed": "its answer is cut short, or is no HTTP",
    "answer.too_large": "its answer is longer than 64 KiB",
    "url": "the URL cannot be called",
    "no_secret": "nothing is sent unsigned: set AXN_CALLBACK_SECRET",
}
_STATUS_MEANINGS = {
    400: "it takes the event for malformed",
    401: "it does not take the signature: compare the secrets, and its clock",
    403: "it does not take the signature: compare the secrets, and its clock",
    404: "nobody takes callbacks at that path",
    405: "it takes no POST at that path",
    410: "it wants no callbacks any more: sent to a callback, this answer disables the receiver",
    413: "it takes no body of that size",
    429: "it is asked too often",
}


@dataclass(frozen=True, slots=True)
class Ping:
    """What a ping came to.

    Attributes:
        webhook_id: under which the receiver saw it.
        status: the HTTP status; 0 where there was no answer.
        ms: how long it took.
        error: the class of failure; empty for a 2xx.
        meaning: the failure in words; empty for a 2xx.
    """

    url: str
    webhook_id: str
    status: int
    ms: int
    error: str
    meaning: str

    @property
    def is_delivered(self) -> bool:
        """2xx, and nothing else."""
        return not self.error


@dataclass(frozen=True, slots=True)
class OwnersKeyring:
    """The keys of one owner, whichever receiver is called."""

    keyring: Keyring
    owner: SecretOwner

    async def keys_for(self, _receiver: str, _secret_name: str) -> Sequence[SigningKey]:
        """See `Keyring`."""
        if self.owner.is_host:
            return await self.keyring.keys_for(self.owner.name, "")
        return await self.keyring.keys_for("", self.owner.name)


class Pinger:
    """Sends pings.

    Args:
        http: the sender's, to be closed with this.
        sender: the one that callbacks go through.
        rules: what a URL is checked by when a request names it.
    """

    def __init__(self, http: HttpClient, sender: CallbackSender, rules: ReceiverRules, clock: Clock) -> None:
        self._http = http
        self._sender = sender
        self._rules = rules
        self._clock = clock

    async def ping(self, url: str) -> Ping:
        """Send one event of type `ping` and judge the answer. Raises nothing."""
        webhook_id = f"ping-{secrets.token_hex(8)}"
        if fault := self._rules.fault_of(url):
            return Ping(url, webhook_id, 0, 0, "not_allowed", f"callback_url {fault}")
        result = await self._sender.send(url=url, webhook_id=webhook_id, body=ping_body(self._clock.unix_ms()))
        meaning = "" if result.is_delivered else meaning_of(result.status, result.error)
        return Ping(url, webhook_id, result.status, result.ms, result.error, meaning)

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()


def meaning_of(status: int, error: str) -> str:
    """A failed try in words."""
    if not status:
        return _MEANINGS.get(error, error)
    if status in range(300, 400):
        return "it sends the caller elsewhere, and redirects are never followed: give the final URL"
    return _STATUS_MEANINGS.get(status, "it answered with no 2xx, so the event counts as not delivered")
