"""The seal by itself: what it gives back, and what it must not."""

import base64
import hmac
import json
import re
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.domain.encryption_keys import KEY_BYTES, is_plain_first, new_key, parse_key, parse_ring
from worker.errors import SealError
from worker.ledger.seal import NO_SEAL, Seal, index_in, key_id_of
from worker.ledger.sealed_records import opened_record, resealed_value, sealed_pairs

OLD, NEW, INDEX = (secrets.token_bytes(KEY_BYTES) for _ in range(3))
SEAL = Seal({"old": OLD}, INDEX)
ROTATED = Seal({"new": NEW, "old": OLD}, INDEX)
FIELDS = ("request", "old", "phone_no_x", "old_phone_no_x", "body", "orphan:77", "code", "out_order_id")
SEALED = frozenset(FIELDS[:6])
numbers = st.from_regex(r"1[0-9]{10}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
owners = st.from_regex(r"[a-z0-9]{26}", fullmatch=True)


@given(owner=owners, place=texts, text=texts, content=st.binary(max_size=80))
def test_what_is_sealed_is_opened_and_shows_nothing(owner: str, place: str, text: str, content: bytes) -> None:
    sealed = SEAL.number(owner, place, text)
    assert key_id_of(sealed) == "old"
    assert index_in(sealed) == SEAL.blind(text) == ROTATED.blind(text)
    assert SEAL.number(owner, place, text) != sealed, "no two are equal, whatever they hold"
    for seal in (SEAL, ROTATED):
        assert seal.opened(owner, place, sealed) == text
        assert seal.opened(owner, place, seal.text(owner, place, text)) == text
        assert seal.unpacked(owner, place, SEAL.packed(owner, place, content)) == content


@given(owner=owners, place=texts, number=numbers, data=st.data())
def test_what_was_moved_cut_or_changed_is_never_read_as_a_number(
    owner: str, place: str, number: str, data: st.DataObject
) -> None:
    sealed = SEAL.number(owner, place, number)
    at = data.draw(st.integers(len("~1."), len(sealed) - 1))
    letter = data.draw(st.sampled_from("Aa0_~.").filter(lambda letter: letter != sealed[at]))
    wrong = {
        (owner, place + "x", sealed), (owner[::-1] + "x", place, sealed), (owner, place, sealed[:at]),
        (owner, place, sealed[:at] + letter + sealed[at + 1 :]),
        (owner, place, sealed.replace(index_in(sealed), SEAL.blind(number + "0"))),
    }  # fmt: skip
    for of, where, text in wrong:
        told = ""
        try:
            told = SEAL.opened(of, where, text)
        except SealError as refused:
            told = str(refused)
        # The last letter of base64 has bits that mean nothing: changed, it may be the very same text.
        assert number not in told or ((of, where) == (owner, place) and at == len(sealed) - 1)


@pytest.mark.parametrize(
    "seal", [NO_SEAL, Seal({"new": NEW}, INDEX), Seal({"old": NEW}, INDEX)], ids=["off", "no such key", "another key"]
)
def test_without_the_key_it_is_said_which_one_is_missing(seal: Seal) -> None:
    for read in (
        lambda: seal.opened("job", "request.PhoneNoA", SEAL.number("job", "request.PhoneNoA", "13800001234")),
        lambda: seal.unpacked("batch", "chunk:0", SEAL.packed("batch", "chunk:0", b"rows")),
    ):
        with pytest.raises(SealError, match="'old'"):
            read()


@settings(max_examples=50)
@given(owner=owners, a=numbers, x=numbers, order=texts)
def test_a_record_is_sealed_opened_and_sealed_anew(owner: str, a: str, x: str, order: str) -> None:
    parameters = {"PhoneNoA": a, "OutOrderId": order, "PhoneNoX": x}
    text = json.dumps(parameters, ensure_ascii=False, separators=(",", ":"))
    values = (text, text, x, a, text, json.dumps({"phone_no_x": x, "subs_id": order}), "OK", a)
    record = dict(zip(FIELDS, values, strict=True))
    pairs = [part for pair in record.items() for part in pair]
    sealed = sealed_pairs(SEAL, owner, pairs)
    stored = dict(zip(sealed[::2], sealed[1::2], strict=True)) | {"orphans": "1"}
    assert stored["out_order_id"] == a, "what producers name in their own words stays"
    assert json.loads(stored["request"])["OutOrderId"] == order
    secret = [value for name, value in stored.items() if name != "out_order_id"]
    assert not any(number in value for value in secret for number in (a, x) if number not in order)
    assert opened_record(SEAL, owner, stored) == record | {"orphans": "1"}
    assert opened_record(NO_SEAL, owner, record) == record
    for given_as in (stored, record):
        anew = {"orphans": "1"} | {
            name: resealed_value(ROTATED, owner, name, value) for name, value in given_as.items() if name in SEALED
        }
        assert opened_record(Seal({"new": NEW}, INDEX), owner, anew).items() <= (record | {"orphans": "1"}).items()
        assert all(resealed_value(ROTATED, owner, name, value) == value for name, value in anew.items())
    assert sealed_pairs(NO_SEAL, owner, pairs) is pairs


def test_digests_are_told_apart_and_cannot_be_guessed_without_the_index_key() -> None:
    keyed, plain = SEAL.digests("d1")
    assert plain == "d1"
    assert keyed not in (*SEAL.digests("d2"), *Seal({"old": OLD}, NEW).digests("d1"))
    assert SEAL.digests("") == [""]
    assert NO_SEAL.digests("d1") == ["d1"]


@pytest.mark.parametrize(
    ("ring", "told"),
    [
        ("nokey", "entry 1: must be id:key"),
        (f"A B:{new_key()}", "entry 1: must be id:key"),
        (f"a:{new_key()},b:c2hvcnQ=", "entry 2 (b): must be the base64 of 32 bytes"),
        (f"a:{new_key()},a:{new_key()}", "entry 2: the id a stands for another key"),
        ("a:" + "§" * 44, "entry 1 (a): must be the base64"),
    ],
    ids=["no id", "spaces", "too short", "an id twice", "no base64"],
)
def test_a_ring_that_cannot_be_is_named_without_its_keys(ring: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as wrong:
        parse_ring(ring)
    assert not any(len(part) > 40 and part in str(wrong.value) for part in ring.replace(",", ":").split(":"))


def test_the_blind_index_is_half_of_a_plain_hmac() -> None:
    expected = hmac.digest(INDEX, b"number:13800001234", "sha256")[:16]
    assert base64.urlsafe_b64decode(SEAL.blind("13800001234") + "==") == expected


def test_a_ring_keeps_its_order() -> None:
    keys = [new_key(), new_key()]
    assert parse_ring(f" b:{keys[0]}, a:{keys[1]},") == {"b": parse_key(keys[0]), "a": parse_key(keys[1])}
    assert list(parse_ring(f"b:{keys[0]},a:{keys[1]}")) == ["b", "a"]
    assert list(parse_ring(f"plain,b:{keys[0]}")) == ["b"]
    assert (is_plain_first(f"plain,b:{keys[0]}"), is_plain_first(f"b:{keys[0]}")) == (True, False)
