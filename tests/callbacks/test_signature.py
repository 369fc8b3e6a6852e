import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from worker.callbacks.signature import decode_secrets, signature_headers

KEYS = [bytes(range(24)), bytes(range(100, 132))]
BODY = '{"message":"号码已用完"}'.encode()


def secret_of(key: bytes) -> str:
    return "whsec_" + base64.b64encode(key).decode()


def headers_of(*keys: bytes, body: bytes = BODY) -> dict[str, str]:
    return signature_headers(webhook_id="k1-1", unix_s=int(time.time()), body=body, keys=keys)


def test_the_specifications_own_library_verifies_a_signature() -> None:
    assert Webhook(secret_of(KEYS[0])).verify(BODY, headers_of(KEYS[0])) == {"message": "号码已用完"}


def test_with_two_keys_the_holder_of_either_verifies() -> None:
    headers = headers_of(*KEYS)
    assert headers["webhook-signature"].count("v1,") == 2
    for key in KEYS:
        Webhook(secret_of(key)).verify(BODY, headers)


def test_another_key_or_another_body_is_not_verified() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(KEYS[1])).verify(BODY, headers_of(KEYS[0]))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(KEYS[0])).verify(BODY + b" ", headers_of(KEYS[0]))


def test_secrets_are_read_with_and_without_prefix_and_padding() -> None:
    padded = base64.b64encode(b"sixteen bytes !!").decode()
    assert decode_secrets(f"whsec_{padded} {padded.rstrip('=')}") == (b"sixteen bytes !!",) * 2
    assert decode_secrets("") == ()


@pytest.mark.parametrize("text", ["whsec_", "whsec_a", "whsec_!!!!", "whsec_ключ", "whsec_QUJD whsec_*", "whsec_QU=JD"])
def test_a_malformed_secret_is_refused_with_the_variables_name_and_without_the_secret(text: str) -> None:
    with pytest.raises(ValueError, match="AXN_CALLBACK_SECRET must be whsec_") as caught:
        decode_secrets(text)
    assert text == "whsec_" or text not in str(caught.value)
