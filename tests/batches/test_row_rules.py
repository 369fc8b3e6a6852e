"""Rows: their rules, their keys, what becomes of them; and that remembering changes nothing but the time."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.batches.like_rows import _CHECKS
from worker.batches.operations import ALL_FIELDS, FIELDS, Operation
from worker.batches.raw_rows import RawRow
from worker.batches.row_codec import RowCodec
from worker.batches.row_rules import BadRowError, RowRules
from worker.batches.rows import BindRow, ChangeRow, RebindRow, Row
from worker.domain.bind_request import BindRequest
from worker.domain.rebind_request import RebindRequest
from worker.domain.rebinding import RebindMode
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest

from .support import row_rules

A, X, SUBS_ID, JOB_ID = "13800000000", "17000000001", "1000000768798832", "01kap4w8z9v7r2c3d4e5f6g7h8"
BY_PROVIDER = {"subs_id": SUBS_ID, "phone_no_x": X}


def judged(given_: Mapping[str, Any], rules: RowRules | None = None, line: int = 2) -> Row | dict[str, str]:
    """The row, or its faults."""
    try:
        return (rules or row_rules()).row_of(RawRow(line, given_, ()))
    except BadRowError as bad:
        return {fault.field: fault.rule for fault in bad.faults}


def key_of(**given_: str) -> str:
    row = judged(given_)
    assert not isinstance(row, dict), row
    return row.key


def test_a_bind_row_becomes_a_bind_request() -> None:
    row = judged({"op": "bind", "phone_no_a": A, "expires_in": "2h", "key": "k", "callback_url": "https://h.example"})
    assert isinstance(row, BindRow)
    assert row.request() == BindRequest(phone_no_a=A, expires_in="2h", callback_url="https://h.example")


def test_a_bind_row_s_own_columns_say_how_its_binding_is_kept() -> None:
    row = judged(
        {"op": "bind", "phone_no_a": A, "expires_in": "2h", "renew_for": "30d", "extend_by": "1d", "renew_lead": "1h",
         "if_gone": "report"}
    )  # fmt: skip
    assert isinstance(row, BindRow)
    renew = {"for": "30d", "extend_by": "1d", "lead": "1h", "if_gone": "report"}
    assert row.request() == BindRequest(phone_no_a=A, expires_in="2h", renew=renew)


def test_so_do_a_rebind_row_s_for_the_new_binding() -> None:
    row = judged({"op": "rebind", "out_order_id": "o", "renew_until": "2027-02-01 12:00:00", "extend_by": "1d"})
    assert isinstance(row, RebindRow)
    renew = {"until": "2027-02-01 12:00:00", "extend_by": "1d"}
    assert row.request(JOB_ID) == RebindRequest(bind_job_id=JOB_ID, renew=renew)
    assert RowCodec.row_of(RowCodec.text_of(row)) == row


@pytest.mark.parametrize("given_", [{"renew_for": "5m"}, {"renew_until": "2026-12-01 12:10:00"}])
def test_a_rebind_row_that_keeps_the_old_end_is_not_judged_by_an_end_that_it_does_not_know(
    given_: dict[str, str],
) -> None:
    assert isinstance(judged({"op": "rebind", "out_order_id": "o", **given_}), RebindRow)
    assert isinstance(judged({"op": "rebind", "out_order_id": "o", "expires_in": "1d", **given_}), dict)


@pytest.mark.parametrize(
    ("operation", "aspect"),
    [
        ("move-a", {"phone_no_a": A}), ("move-b", {"phone_no_b": A}), ("set-expiration", {"expires_in": "2h"}),
        ("set-expiration", {"expiration": "2027-01-01 12:00:00"}), ("set-recording", {"is_recording_enabled": "false"}),
        ("set-out-id", {"out_id": "o"}), ("unbind", {}),
    ],
)  # fmt: skip
def test_a_change_row_becomes_a_request_under_each_name_of_its_binding(operation: str, aspect: dict[str, str]) -> None:
    request = UpdateRequest if aspect else UnbindRequest
    by_provider = judged({"op": operation, **BY_PROVIDER, **aspect, "is_confirmed": "true"})
    assert isinstance(by_provider, ChangeRow)
    assert by_provider.request(JOB_ID) == request(**BY_PROVIDER, **aspect, is_confirmed=True)
    by_job = judged({"op": operation, "bind_job_id": JOB_ID, **aspect})
    assert isinstance(by_job, ChangeRow)
    assert by_job.request() == request(bind_job_id=JOB_ID, **aspect)
    by_order = judged({"op": operation, "out_order_id": "order-1", **aspect})
    assert isinstance(by_order, ChangeRow)
    assert by_order.binding.out_order_id == "order-1"
    assert by_order.request(JOB_ID) == request(bind_job_id=JOB_ID, **aspect)


def test_a_rebind_row_keeps_what_it_does_not_say() -> None:
    plain = judged({"op": "rebind", **BY_PROVIDER})
    assert isinstance(plain, RebindRow)
    assert (plain.mode, plain.wishes, plain.binding.fields()) == (RebindMode.NEW_X, {}, BY_PROVIDER)
    new = judged(
        {"op": "rebind", "out_order_id": "o", "new_phone_no_x": X, "new_pool_key": "FC2", "expect_city": "上海",
         "new_out_order_id": "p", "expiration": "2027-01-01 12:00:00", "deadline": "2h"}
    )  # fmt: skip
    assert isinstance(new, RebindRow)
    assert new.wishes == {
        "phone_no_x": X, "pool_key": "FC2", "expect_city": "上海", "out_order_id": "p",
        "expiration": "2027-01-01 12:00:00", "deadline": "2h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given_", "faults"),
    [
        ({"op": "bind", "expires_in": "2h", "subs_id": "1", "phone_no_x": "1.7E+10"},
         {"phone_no_a": "is required", "subs_id": "is of no use for bind", "phone_no_x": "is in scientific notation"}),
        ({"op": "bind", "phone_no_a": A, "expiration": "2026-12-01 12:01:00"}, {"expiration": "must be more than 120"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "1s"}, {"expiration": "must be more than 120 s"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "2h", "lane": "checkout"}, {"lane": "is of no use for bind"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "2h", "key": "k" * 257}, {"key": "must be text, not too long"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "2h", "renew_while": "shut", "renew_lead": "x"},
         {"renew_while": "must be 'open'", "renew_lead": "must be a span of time"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "2h", "extend_by": "1d"}, {"renew_until": "must give exactly"}),
        ({"op": "bind", "phone_no_a": A, "expires_in": "2h", "renew_for": "1h"}, {"renew_for": "must be longer than"}),
        ({"op": "rebind", "out_order_id": "o", "renew_while": "shut", "if_gone": "pray"},
         {"renew_while": "must be 'open'", "if_gone": "must be 'rebind_same_x', "}),
        ({"op": "rebind", "out_order_id": "o", "extend_by": "1d"}, {"renew_until": "must give exactly"}),
        ({"op": "rebind", "out_order_id": "o", "expires_in": "2h", "renew_for": "1h"},
         {"renew_for": "must be longer than"}),
        ({"op": "rebind", "out_order_id": "o", "renew_for": "1d", "renew_lead": "0s", "phone_no_a": "1.38E+10"},
         {"phone_no_a": "is in scientific notation", "renew_lead": "must be more than 0 s"}),
        ({"op": "move-a", "out_order_id": "o", "phone_no_a": A, "extend_by": "1d"}, {"extend_by": "is of no use for"}),
        ({"op": "unbind", **BY_PROVIDER, "renew_while": "open"}, {"renew_while": "is of no use for unbind"}),
        ({"op": "unbind", "out_order_id": "a\nb"}, {"out_order_id": "must be text, not too long"}),
        ({"op": "unbind", "out_order_id": "o", "pool_key": "FC1"}, {"bind_job_id": "give one of bind_job_id, out_ord"}),
        ({"op": "unbind", **BY_PROVIDER, "product_type": "AXN_170", "pool_key": "FC1"},
         {"product_type": "give either pool_key or product_type"}),
        ({"op": "unbind", "subs_id": "1.00000076879883E+15", "phone_no_x": X}, {"subs_id": "is in scientific"}),
        ({"op": "set-recording", "out_order_id": "o", "is_recording_enabled": "maybe"},
         {"is_recording_enabled": "must be a valid boolean"}),
        ({"op": "rebind", "out_order_id": "o", "expires_in": "1s"}, {"expiration": "must be more than 120 s"}),
        ({"op": "rebind", "out_order_id": "o", "expires_in": "2h", "expiration": "2027-01-01 12:00:00"},
         {"expiration": "give either expiration or expires_in"}),
        ({"op": "rebind", "out_order_id": "o", "new_pool_key": "a\tb"}, {"new_pool_key": "must not hold control"}),
        ({"op": "set-out-id", "subs_id": SUBS_ID, "phone_no_x": X, "out_id": "#VALUE!"}, {"out_id": "is the error of"}),
    ],
)  # fmt: skip
def test_all_faults_of_a_row_are_named(given_: dict[str, str], faults: dict[str, str]) -> None:
    found = judged(given_)
    assert isinstance(found, dict), found
    assert {name: rule[: len(faults.get(name, ""))] for name, rule in found.items()} == faults


def test_a_row_s_key_does_not_depend_on_what_it_gets_by_default() -> None:
    defaults = {"pool_key": "FC9", "callback_url": "https://h.example"}
    row = judged({"op": "bind", "phone_no_a": A, "expires_in": "2h"}, row_rules(defaults=defaults))
    assert isinstance(row, BindRow)
    assert (row.key, row.wishes["pool_key"]) == (key_of(op="bind", phone_no_a=A, expires_in="2h"), "FC9")


def test_a_pool_is_wanted_where_the_binding_does_not_tell_it() -> None:
    rules = row_rules(pool_key="")
    assert judged({"op": "unbind", **BY_PROVIDER}, rules) == {
        "pool_key": "is required (or set AXN_POOL_KEY for all requests)"
    }
    assert isinstance(judged({"op": "rebind", "out_order_id": "o"}, rules), RebindRow)


def test_the_command_s_operation_and_a_row_s_must_agree() -> None:
    rules = row_rules(Operation.UNBIND)
    assert isinstance(judged({"out_order_id": "o"}, rules), ChangeRow)
    assert isinstance(judged({"op": "unbind", "out_order_id": "o"}, rules), ChangeRow)
    assert judged({"op": "rebind", "out_order_id": "o"}, rules) == {
        "op": "is not the operation that --op gives for all rows"
    }


def test_defaults_fill_what_a_row_leaves_empty() -> None:
    rules = row_rules(defaults={"callback_url": "https://all.example"})
    for _ in range(2):  # judged, then remembered
        row = judged({"op": "bind", "phone_no_a": A, "expires_in": "2h"}, rules)
        assert isinstance(row, BindRow)
        assert row.request().callback_url == "https://all.example"
    own = judged({"op": "unbind", "out_order_id": "o", "callback_url": "https://own.example"}, rules)
    assert isinstance(own, ChangeRow)
    assert own.wishes == {"callback_url": "https://own.example"}


def test_keys_are_the_same_in_every_release() -> None:
    assert key_of(op="bind", phone_no_a=A, expires_in="2h", out_order_id="o") == "fda2ea803a49a196a23e72077071c629"
    assert key_of(op="unbind", bind_job_id=JOB_ID) == "cc2bccc85f6ecbea57354e2a49ebe890"
    assert key_of(op="unbind", bind_job_id=JOB_ID, key="mine") == "5bddd654142d366c88a3594a2c22fc09"


def test_keys_tell_apart_what_rows_act_on_and_nothing_else() -> None:
    bind = {"op": "bind", "phone_no_a": A, "expires_in": "2h"}
    same = [key_of(**bind, **more) for more in ({}, {"expect_city": "上海"}, {"is_recording_enabled": "1"})]
    others = [
        key_of(**bind, **more)
        for more in (
            {}, {"phone_no_b": A}, {"phone_no_x": X}, {"pool_key": "FC2"}, {"out_id": A}, {"out_order_id": A},
            {"no_type": "AXN_170"}, {"key": A},
        )
    ]  # fmt: skip
    others += [
        key_of(op=operation, **name)
        for operation in ("unbind", "rebind")
        for name in (BY_PROVIDER, {"bind_job_id": JOB_ID}, {"out_order_id": JOB_ID})
    ]
    assert (len(set(same)), len(set(others))) == (1, len(others))
    assert key_of(op="unbind", **BY_PROVIDER) == key_of(op="unbind", **BY_PROVIDER, pool_key="FC1")
    assert key_of(op="unbind", out_order_id="o", key="k") == key_of(op="rebind", out_order_id="p", key="k")


NUMBERS = st.sampled_from(
    [A, X, "057188880000", "95013000000000", "95112345678", "1.38E+10", "138", "+8613800000000", "#"]
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("phone_no_a", "phone_no_b", "phone_no_x", "new_phone_no_x"), NUMBERS),
    "op": st.sampled_from(list(Operation)),
    "subs_id": st.sampled_from([SUBS_ID, "1E+15", "9" * 33, "١"]),
    "bind_job_id": st.sampled_from([JOB_ID, JOB_ID.upper(), "x"]),
    "expiration": st.sampled_from(["2027-01-01 12:00:00", "2027-01-01T12:00:00Z", "2026-12-01 12:01:00", "tomorrow"]),
    "expires_in": st.sampled_from(["2h", "1s", 7200, "x"]),
    "is_recording_enabled": st.sampled_from(["true", "1", 1, True, 1.0, "2"]),
    "call_timeout": st.sampled_from(["20", 20, 20.0, True, "0"]),
    "ring_config": st.sampled_from(['{"AXNRing_A":"1"}', {"AXNRing_A": "1"}, "[]"]),
    "mode": st.sampled_from(["new-x", "same-x", "x"]),
    "renew_until": st.sampled_from(["2027-01-01 12:00:00", "2027-01-01 12:00:01", "2026-12-01 13:00:00", "x"]),
    "renew_for": st.sampled_from(["1d", "32d", "90m", 7201, "x"]),
    "renew_while": st.sampled_from(["open", "shut"]),
    "extend_by": st.sampled_from(["1d", "119s", "x"]),
    "renew_lead": st.sampled_from(["1h", "13h", "0s"]),
    "if_gone": st.sampled_from(["report", "pray"]),
}
TEXTS = st.one_of(
    st.sampled_from(["o", "#N/A", "#1", "a\nb", "k" * 257, "x" * 1025, "\ud800"]), st.text(min_size=1, max_size=4)
)
USUAL = ["op", "phone_no_a", "expires_in", "out_order_id", "subs_id", "phone_no_x", "out_id", "key", "bind_job_id"]


@st.composite
def files(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows of few shapes, as a file has them, most fields with few values."""
    columns = st.one_of(
        st.lists(st.sampled_from(USUAL), unique=True, min_size=1),
        st.sampled_from(list(Operation)).flatmap(lambda op: st.lists(st.sampled_from(sorted(FIELDS[op])), unique=True)),
        st.sampled_from([["op", "phone_no_a", "expires_in"], ["op", "subs_id", "phone_no_x", "out_id"]]),
        st.sampled_from(["renew_until", "renew_for"]).map(lambda name: ["op", "phone_no_a", "expiration", name]),
    )
    shapes = draw(st.lists(columns, min_size=1, max_size=2))
    operation = draw(st.sampled_from(list(Operation)))
    rows = []
    for _ in range(draw(st.integers(2, 12))):
        row = {name: draw(VALUES.get(name, TEXTS)) for name in draw(st.sampled_from(shapes))}
        rows.append(row | ({"op": operation.value} if draw(st.booleans()) else {}))
    return rows


@given(rows=files())
@settings(max_examples=200, deadline=None)
def test_rows_are_judged_the_same_whether_or_not_others_are_remembered(rows: list[dict[str, Any]]) -> None:
    remembering, forgetting = row_rules(), row_rules(remembers=False)
    for line, row in enumerate(rows, 2):
        quick, slow = judged(row, remembering, line), judged(row, forgetting, line)
        assert quick == slow
        if isinstance(quick, ChangeRow):
            quick.request(JOB_ID)  # is refused where it breaks a rule
        elif isinstance(quick, BindRow):
            quick.request()


@pytest.mark.parametrize("column", [{"renew_until": "2027-01-01 12:00:00"}, {"renew_for": "31d"}])
def test_an_end_is_judged_anew_where_it_must_come_before_that_of_the_renewals(column: dict[str, str]) -> None:
    rules, ends = row_rules(), ("2026-12-31 12:00:00", "2026-12-02 12:00:00", "2027-01-02 12:00:00")
    rows = [judged({"op": "bind", "phone_no_a": A, "expiration": end, **column}, rules) for end in ends]
    assert [isinstance(row, BindRow) for row in rows] == [True, True, False]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)


@given(
    row=st.dictionaries(st.sampled_from(sorted(ALL_FIELDS)), JSON, max_size=6), told=st.sampled_from(["", *Operation])
)
@settings(max_examples=200, deadline=None)
def test_whatever_json_holds_is_a_row_or_bad(row: dict[str, Any], told: str) -> None:
    usable = {name: value for name, value in row.items() if value not in (None, "")}
    found = judged(usable | ({"op": told} if told else {}))
    assert found


@pytest.mark.parametrize("name", sorted(_CHECKS))
@given(value=st.one_of(TEXTS, NUMBERS, st.from_regex(r"[01][0-9]{9,12}", fullmatch=True)))
@settings(max_examples=40, deadline=None)
def test_a_free_field_is_judged_alone_as_it_is_in_a_row(name: str, value: str) -> None:
    shape = {
        "subs_id": {"op": "unbind", "phone_no_x": X},
        "bind_job_id": {"op": "unbind"},
        "new_phone_no_x": {"op": "rebind", "bind_job_id": JOB_ID},
        "new_out_order_id": {"op": "rebind", "bind_job_id": JOB_ID},
    }.get(name, {"op": "bind", "phone_no_a": A, "expires_in": "2h"})
    is_good = not isinstance(judged({**shape, name: value}, row_rules(remembers=False)), dict)
    assert (_CHECKS[name](value) and value != "#N/A") == is_good


def test_a_remembered_row_saves_judging(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = row_rules()
    row = {"op": "bind", "phone_no_a": A, "expires_in": "2h"}
    judged(row, rules)
    monkeypatch.setattr(rules, "_judge", None)  # whoever calls it fails
    assert isinstance(judged({**row, "phone_no_a": X}, rules), BindRow)
    with pytest.raises(TypeError):
        judged({**row, "expires_in": "3h"}, rules)
    with pytest.raises(TypeError):
        judged({**row, "phone_no_a": "1"}, rules)


@pytest.mark.parametrize(
    ("expiration", "is_good"), [("2027-02-01 00:00:00", True), ("2026-12-01 12:02:00", False), ("x", False)]
)
def test_an_expiration_is_judged_alone_as_it_is_in_a_row(expiration: str, is_good: bool) -> None:
    rules = row_rules()
    row = {"op": "bind", "phone_no_a": A, "expiration": "2027-01-01 12:00:00"}
    judged(row, rules)
    for by in (rules, row_rules(remembers=False)):
        assert isinstance(judged({**row, "expiration": expiration}, by), BindRow) == is_good
