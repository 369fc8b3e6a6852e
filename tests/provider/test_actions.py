"""The typed requests: names and texts on the wire, and what is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from worker.provider import actions
from worker.provider.wire import wire_name

#: Every parameter of each action beside the three of old accounts: the provider's parameter tables.
WIRE: dict[str, str] = {
    "BindAxn": "PhoneNoA Expiration PoolKey NoType PhoneNoB PhoneNoX ExpectCity IsRecordingEnabled OutId OutOrderId "
    "CallDisplayType CallRestrict CallTimeout ASRStatus ASRModelId RingConfig Extend",
    "UnbindSubscription": "PoolKey ProductType SubsId SecretNo",
    "UpdateSubscription": "PoolKey ProductType SubsId PhoneNoX OperateType PhoneNoA PhoneNoB Expiration GroupId "
    "CallRestrict CallDisplayType OutId IsRecordingEnabled ASRStatus ASRModelId RingConfig",
    "QuerySubscriptionDetail": "PoolKey ProductType SubsId PhoneNoX",
    "QuerySubsId": "PhoneNoX PoolKey",
    "LockSecretNo": "PoolKey SecretNo",
    "UnlockSecretNo": "PoolKey SecretNo",
    "QuerySecretNoDetail": "PoolKey SecretNo",
    "QuerySecretNoRemain": "City SpecId SecretNo",
    "BuySecretNo": "PoolKey City SpecId SecretNo DisplayPool",
    "ReleaseSecretNo": "PoolKey SecretNo",
    "ListXTelephones": "ReqId CustomerPoolKey CallerParentId PageNo PageSize",
}
OLD_ACCOUNTS = {"OwnerId", "ResourceOwnerId", "ResourceOwnerAccount"}
BOUND = {"SubsId": "1000000768798832", "PhoneNoX": "17000000000", "PoolKey": "FC123456"}
UPDATES: list[tuple[str, str, Any, str]] = [
    ("updateNoA", "PhoneNoA", "15000000000", "15000000000"),
    ("updateNoB", "PhoneNoB", "15000000001", "15000000001"),
    ("updateExpire", "Expiration", datetime(2026, 1, 2, 4, tzinfo=UTC), "2026-01-02 12:00:00"),
    ("updateAxgGroup", "GroupId", "12", "12"),
    ("updateCallRestrict", "CallRestrict", "CONTROL_CLEAR_DISABLE", "CONTROL_CLEAR_DISABLE"),
    ("updateCallDisplayType", "CallDisplayType", 1, "1"),
    ("updateOutId", "OutId", "o 1", "o 1"),
    ("updateIsRecordingEnabled", "IsRecordingEnabled", False, "false"),
]


def refused(action: str, given: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        getattr(actions, action).model_validate(given)
    return str(caught.value)


@pytest.mark.parametrize("action", WIRE)
def test_every_parameter_of_an_action_has_its_field_and_no_other(action: str) -> None:
    fields = getattr(actions, action).model_fields
    assert {wire_name(name) for name in fields} == {*WIRE[action].split(), *OLD_ACCOUNTS}


def test_a_bind_becomes_the_wire_s_texts() -> None:
    request = actions.BindAxn(
        phone_no_a="15000000000",
        expiration=datetime(2026, 1, 2, 4, tzinfo=UTC),
        pool_key="FC123456",
        is_recording_enabled=True,
        asr_status=False,
        asr_model_id="m",
        call_timeout=20,
        owner_id=7,
    )
    assert request.parameters() == {
        "PhoneNoA": "15000000000",
        "Expiration": "2026-01-02 12:00:00",
        "PoolKey": "FC123456",
        "IsRecordingEnabled": "true",
        "ASRStatus": "false",
        "ASRModelId": "m",
        "CallTimeout": "20",
        "OwnerId": "7",
    }


@pytest.mark.parametrize(("operate_type", "aspect", "value", "wire"), UPDATES)
def test_each_update_sends_its_aspect(operate_type: str, aspect: str, value: Any, wire: str) -> None:
    given = {**BOUND, "OperateType": operate_type, aspect: value}
    request = actions.UpdateSubscription.model_validate(given)
    assert request.parameters() == {**BOUND, "OperateType": operate_type, aspect: wire}


@pytest.mark.parametrize(("operate_type", "aspect", "value", "wire"), UPDATES)
def test_an_update_without_its_aspect_or_with_another_is_refused(
    operate_type: str, aspect: str, value: Any, wire: str
) -> None:
    another, other_value = ("OutId", "o") if aspect != "OutId" else ("PhoneNoA", "15000000000")
    given = {**BOUND, "OperateType": operate_type}
    for aspects in ({}, {another: other_value}, {aspect: value, another: other_value}):
        assert f"{operate_type} takes" in refused("UpdateSubscription", {**given, **aspects})


def test_the_table_of_updates_is_complete() -> None:
    assert [update[0] for update in UPDATES] == list(actions.ASPECTS)


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("UnbindSubscription", {"SubsId": "1", "SecretNo": "17000000000"}),
        ("QuerySubscriptionDetail", {"SubsId": "1", "PhoneNoX": "17000000000"}),
        ("UpdateSubscription", {"SubsId": "1", "PhoneNoX": "17000000000", "OperateType": "updateOutId", "OutId": "o"}),
    ],
)
def test_a_binding_is_looked_for_in_a_pool_or_a_product(action: str, given: dict[str, str]) -> None:
    assert "PoolKey or ProductType must be given" in refused(action, given)
    request = getattr(actions, action).model_validate({**given, "ProductType": "AXN_170"})
    assert request.parameters() == {**given, "ProductType": "AXN_170"}


def test_a_bind_needs_a_pool_or_an_old_account_s_type() -> None:
    given = {"PhoneNoA": "15000000000", "Expiration": "2026-01-02 12:00:00"}
    assert "PoolKey or NoType must be given" in refused("BindAxn", given)
    assert actions.BindAxn.model_validate({**given, "NoType": "NO_170"}).parameters() == {**given, "NoType": "NO_170"}


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("ListXTelephones", {"ReqId": "x" * 21}),
        ("ListXTelephones", {"ReqId": "x", "PageNo": 0}),
        ("ListXTelephones", {}),
        ("QuerySecretNoRemain", {"City": "上海", "SpecId": 4}),
        ("QuerySecretNoRemain", {"City": "上海", "SpecId": 1, "SecretNo": "1" * 19}),
        ("BuySecretNo", {"PoolKey": "FC1", "City": "上海", "SpecId": 1, "SecretNo": "17x"}),
        ("LockSecretNo", {"PoolKey": "FC1", "SecretNo": ""}),
        ("ReleaseSecretNo", {"PoolKey": "FC1", "SecretNo": 17000000000}),
        ("QuerySubsId", {"PhoneNoX": "17000000000", "Phone": "x"}),
    ],
)
def test_what_the_provider_s_pages_exclude_is_refused(action: str, given: dict[str, Any]) -> None:
    assert refused(action, given)


def test_neither_repr_nor_error_shows_a_number() -> None:
    given = {"PoolKey": "FC1", "SecretNo": "17000000000"}
    request = actions.LockSecretNo.model_validate(given)
    assert "170****0000" in repr(request)
    for text in (repr(request), str(request), refused("LockSecretNo", {**given, "x": "17000000000", "PoolKey": 1})):
        assert "17000000000" not in text
