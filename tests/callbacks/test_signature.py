"""Signatures against the specification's vectors and its own library."""

import base64
import sys
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from worker.callbacks.signature import (
    Ed25519Key,
    HmacKey,
    MissingExtraError,
    SigningKey,
    decode_secrets,
    fingerprint_of,
    new_key,
    parse_secret,
    signature_headers,
)

VECTOR_ID, VECTOR_TIME, VECTOR_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
VECTORS = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==": (
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    ),
}
HMAC_SECRET, ED25519_SECRET = VECTORS


def signatures(webhook_id: str, unix_s: int, body: bytes, *keys: SigningKey) -> list[str]:
    headers = signature_headers(webhook_id=webhook_id, unix_s=unix_s, body=body, keys=keys)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (webhook_id, str(unix_s))
    return headers["webhook-signature"].split(" ")


def test_the_published_vectors_come_out_in_the_keys_order() -> None:
    made = signatures(VECTOR_ID, VECTOR_TIME, VECTOR_BODY, *decode_secrets(" ".join(VECTORS)))
    assert made == list(VECTORS.values())


@given(
    body=st.text(st.characters(codec="utf-8")),
    webhook_id=st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-_"), min_size=1),
    unix_s=st.integers(0, 4_000_000_000),
    key=st.binary(min_size=24, max_size=64),
    seed=st.binary(min_size=32, max_size=32),
)
def test_other_libraries_agree_on_any_body_id_and_time(
    body: str, webhook_id: str, unix_s: int, key: bytes, seed: bytes
) -> None:
    symmetric, asymmetric = HmacKey(key), Ed25519Key(seed)
    v1, v1a = signatures(webhook_id, unix_s, body.encode(), symmetric, asymmetric)
    assert v1 == Webhook(symmetric.secret).sign(webhook_id, datetime.fromtimestamp(unix_s, UTC), body)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(asymmetric.public_key.removeprefix("whpk_")))
    identifier, _, signature = v1a.partition(",")
    assert identifier == "v1a"
    public.verify(base64.b64decode(signature), f"{webhook_id}.{unix_s}.{body}".encode())


def test_the_specifications_own_library_verifies_beside_a_signature_of_the_other_kind() -> None:
    now_s = int(datetime.now(UTC).timestamp())
    keys = [new_key(is_ed25519=True), new_key(is_ed25519=False), new_key(is_ed25519=False)]
    headers = signature_headers(webhook_id="k1-1", unix_s=now_s, body="号码".encode(), keys=keys)
    for key in keys[1:]:
        Webhook(key.secret).verify("号码".encode(), headers, json_parse=False)


def test_secrets_are_read_in_every_form_and_written_in_one() -> None:
    pair = base64.b64decode(ED25519_SECRET.removeprefix("whsk_"))
    seed_alone = "whsk_" + base64.b64encode(pair[:32]).decode()
    assert [key.secret for key in decode_secrets(f"{ED25519_SECRET.rstrip('=')}  {seed_alone}")] == [ED25519_SECRET] * 2
    assert parse_secret(ED25519_SECRET).public_key == "whpk_" + base64.b64encode(pair[32:]).decode()
    assert parse_secret(HMAC_SECRET.removeprefix("whsec_")).secret == HMAC_SECRET
    assert [len(key.secret) for key in (new_key(is_ed25519=False), new_key(is_ed25519=True))] == [6 + 44, 5 + 88]
    assert decode_secrets("") == ()


def encoded(prefix: str, length: int) -> str:
    return prefix + base64.b64encode(bytes(length)).decode()


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        ("whsec_", "24 to 64 bytes"),
        ("whsec_a", "24 to 64 bytes"),
        ("whsec_!!!!", "24 to 64 bytes"),
        ("whsec_ключ", "24 to 64 bytes"),
        ("whsec_QU=JD", "24 to 64 bytes"),
        (encoded("whsec_", 23), "24 to 64 bytes"),
        (encoded("whsec_", 65), "24 to 64 bytes"),
        (encoded("whsk_", 31), "ed25519 seed"),
        (encoded("whsk_", 64), "not the seed's"),
        (encoded("whpk_", 32), "public key"),
        (f"{HMAC_SECRET} whsec_*", "24 to 64 bytes"),
    ],
)
def test_a_malformed_secret_is_refused_with_the_variables_name_and_without_the_secret(secret: str, rule: str) -> None:
    with pytest.raises(ValueError, match=f"^AXN_CALLBACK_SECRET must.*{rule}") as caught:
        decode_secrets(secret)
    assert secret in {"whsec_", "whsec_a"} or secret.rsplit(" ", maxsplit=1)[-1] not in str(caught.value)


@pytest.mark.parametrize("length", [24, 64])
def test_the_specifications_bounds_are_within(length: int) -> None:
    assert parse_secret(encoded("whsec_", length)) == HmacKey(bytes(length))


def test_without_the_extra_an_ed25519_key_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'axn-bind-worker\[ed25519\]'"):
        parse_secret(ED25519_SECRET)
    with pytest.raises(ValueError, match=r"^AXN_CALLBACK_SECRET whsk_ keys"):
        decode_secrets(ED25519_SECRET)
    assert parse_secret(HMAC_SECRET).public_key == ""


def test_no_key_shows_itself_and_its_fingerprint_is_of_what_the_receiver_holds() -> None:
    hmac_key, ed25519_key = parse_secret(HMAC_SECRET), parse_secret(ED25519_SECRET)
    assert "xf2" not in repr(hmac_key) + repr(ed25519_key)
    # printf %s whsec_… | sha256sum, and of whpk_…
    assert (fingerprint_of(hmac_key), fingerprint_of(ed25519_key)) == ("96ad2ccd8146", "ff15916e1303")
