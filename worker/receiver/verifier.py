"""Whether a call is signed as Standard Webhooks demands, by the specification's own library."""

import binascii
from collections.abc import Mapping, Sequence

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Verifier:
    """Verifies calls against several secrets, so that one can be replaced while both are in use.

    Raises:
        ValueError: a secret is empty or not base64.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._webhooks = [_webhook(place, secret) for place, secret in enumerate(secrets, start=1)]

    def refusal(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Return why a call is not verified, or None when it is."""
        wanted = {name: headers[name] for name in HEADERS if name in headers}
        reasons = [_refusal(webhook, wanted, body) for webhook in self._webhooks]
        return None if None in reasons else reasons[0]


def _webhook(place: int, secret: str) -> Webhook:
    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, binascii.Error) as error:
        # The secret itself must not get into a log.
        raise ValueError(f"secret number {place} is empty or not base64") from error


def _refusal(webhook: Webhook, headers: dict[str, str], body: bytes) -> str | None:
    try:
        webhook.verify(body, headers, json_parse=False)
    except WebhookVerificationError as error:
        return str(error)
    except ValueError as error:
        # The library lets its decoders' errors through: bad base64, no comma in a signature, a body that is not UTF-8.
        return f"Malformed signature or body ({type(error).__name__})"
    return None
