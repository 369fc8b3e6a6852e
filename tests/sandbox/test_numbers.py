"""The actions on numbers: lock and unlock, look at, buy and give back, list."""

from typing import Any

import pytest

from .conftest import POOL, Sandbox, Start
from .signing_client import Reply


async def numbers(sandbox: Sandbox, pool: str = POOL) -> list[str]:
    reply = await sandbox.client.call("ListXTelephones", ReqId="r", CustomerPoolKey=pool, PageSize="100")
    return [item["Telephone"] for item in reply.body["Data"]["List"]]


async def on(sandbox: Sandbox, action: str, number: str) -> Reply:
    return await sandbox.client.call(action, PoolKey=POOL, SecretNo=number)


async def status(sandbox: Sandbox, number: str) -> int:
    info: dict[str, Any] = (await on(sandbox, "QuerySecretNoDetail", number)).body["SecretNoInfoDTO"]
    found: int = info["SecretStatus"]
    return found


async def test_a_locked_number_is_skipped_and_an_unlocked_one_is_drawn_again(sandbox: Sandbox) -> None:
    first, *others = await numbers(sandbox)
    assert (await on(sandbox, "LockSecretNo", first)).code == "OK"
    assert [(await sandbox.bind())["SecretNo"] for _ in others] == others
    assert await sandbox.bind_code() == (200, "isv.NO_AVAILABLE_NUMBER")
    assert (await on(sandbox, "UnlockSecretNo", first)).code == "OK"
    assert (await sandbox.bind())["SecretNo"] == first


async def test_a_locked_number_can_be_named_and_stays_locked_after_its_binding(sandbox: Sandbox) -> None:
    first, *others = await numbers(sandbox)
    for _ in range(2):
        await on(sandbox, "LockSecretNo", first)
    bound = await sandbox.bind(PhoneNoX=first)
    assert await status(sandbox, first) == 1
    await sandbox.client.call("UnbindSubscription", PoolKey=POOL, SecretNo=first, SubsId=bound["SubsId"])
    assert await status(sandbox, first) == 2
    assert [(await sandbox.bind())["SecretNo"] for _ in others] == others
    assert await sandbox.bind_code() == (200, "isv.NO_AVAILABLE_NUMBER")


async def test_unlocking_a_bound_number_does_not_free_it(sandbox: Sandbox) -> None:
    first, second, *_ = await numbers(sandbox)
    await sandbox.bind(PhoneNoX=first)
    await on(sandbox, "LockSecretNo", first)
    await on(sandbox, "UnlockSecretNo", first)
    await on(sandbox, "UnlockSecretNo", second)
    assert (await sandbox.bind())["SecretNo"] == second
    assert await sandbox.bind_code(PhoneNoX=first) == (200, "isv.BIND_CONFLICT")


async def test_a_number_tells_its_state_and_origin(sandbox: Sandbox) -> None:
    first = (await numbers(sandbox))[0]
    reply = await on(sandbox, "QuerySecretNoDetail", first)
    assert reply.body["SecretNoInfoDTO"] == {
        "SecretStatus": 0,
        "CertifyStatus": 1,
        "Vendor": 1,
        "City": "上海",
        "Province": "上海",
        "PurchaseTime": "2026-01-02 11:04:05",
    }


@pytest.mark.parametrize("action", ["LockSecretNo", "UnlockSecretNo", "QuerySecretNoDetail", "ReleaseSecretNo"])
async def test_a_number_of_nobody_is_refused(sandbox: Sandbox, action: str) -> None:
    assert (await on(sandbox, action, "17099999999")).code == "isv.NO_NOT_EXIST"
    assert (await sandbox.client.call(action, PoolKey=POOL)).code == "MissingSecretNo"
    assert (await sandbox.client.call(action, PoolKey="FC0", SecretNo="1")).code == "isv.POOLKEY_NOT_EXISTS"


async def remain(sandbox: Sandbox, **parameters: str) -> dict[str, Any]:
    reply = await sandbox.client.call("QuerySecretNoRemain", **({"City": "上海", "SpecId": "1"} | parameters))
    found: dict[str, Any] = reply.body["SecretRemainDTO"]
    return found


async def test_what_is_for_sale_is_counted_by_city_spec_and_prefix(start: Start) -> None:
    sandbox = await start(for_sale=(("上海", 3), ("北京", 2)))
    assert await remain(sandbox) == {"City": "上海", "Amount": 3}
    assert await remain(sandbox, City="全国") == {"City": "全国", "Amount": 5}
    assert await remain(sandbox, SpecId="2") == {"City": "上海", "Amount": 0}
    assert (await remain(sandbox, SecretNo="170"))["Amount"] == 3
    assert (await remain(sandbox, SecretNo="171"))["Amount"] == 0
    listed = [{"City": "上海", "Amount": 3}, {"City": "北京", "Amount": 2}]
    assert await remain(sandbox, City="全国列表") == {
        "City": "全国列表",
        "Amount": 5,
        "RemainDTOList": {"remainDTO": listed},
    }


async def test_the_list_of_cities_repeats_an_element_in_xml(start: Start) -> None:
    sandbox = await start(for_sale=(("上海", 3), ("北京", 2)))
    prepared = sandbox.client.v1("QuerySecretNoRemain", {"City": "全国列表", "SpecId": "1"}, common={"Format": "XML"})
    async with sandbox.client.session.post(prepared.url) as response:
        text = await response.text()
    assert (
        "<RemainDTOList><remainDTO><City>上海</City><Amount>3</Amount></remainDTO>"
        "<remainDTO><City>北京</City><Amount>2</Amount></remainDTO></RemainDTOList>"
    ) in text


async def test_a_bought_number_is_the_pool_s_and_no_longer_for_sale(start: Start) -> None:
    sandbox = await start(for_sale=(("上海", 1), ("北京", 1)))
    wish = {"PoolKey": POOL, "City": "上海", "SpecId": "1"}
    bought = (await sandbox.client.call("BuySecretNo", **wish)).body["SecretBuyInfoDTO"]["SecretNo"]
    assert bought in await numbers(sandbox)
    assert (await sandbox.bind(PhoneNoX=bought))["SecretNo"] == bought
    assert (await remain(sandbox, City="全国"))["Amount"] == 1
    assert (await sandbox.client.call("BuySecretNo", **wish)).code == "isv.NO_AVAILABLE_NUMBER"
    assert (await sandbox.client.call("BuySecretNo", **(wish | {"SpecId": "4"}))).code == "isv.INVALID_PARAMETERS"


async def test_a_released_number_is_gone_but_not_while_it_is_bound(sandbox: Sandbox) -> None:
    first, second, *_ = await numbers(sandbox)
    bound = await sandbox.bind(PhoneNoX=first)
    assert (await on(sandbox, "ReleaseSecretNo", first)).code == "isv.FORBIDDEN_ACTION"
    await sandbox.client.call("UnbindSubscription", PoolKey=POOL, SecretNo=first, SubsId=bound["SubsId"])
    assert (await on(sandbox, "ReleaseSecretNo", first)).code == "OK"
    assert first not in await numbers(sandbox)
    assert (await sandbox.bind())["SecretNo"] == second


async def test_numbers_are_listed_a_page_at_a_time(sandbox: Sandbox) -> None:
    reply = await sandbox.client.call("ListXTelephones", ReqId="r", PageNo="2", PageSize="4")
    assert reply.code == "0000"
    data = reply.body["Data"]
    assert (data["PageNo"], data["PageSize"], data["Total"]) == (2, 4, 6)
    assert [item["CustomerPoolKey"] for item in data["List"]] == [POOL, "FC999999"]
    assert await numbers(sandbox, "FC0") == []


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, "MissingReqId"),
        ({"ReqId": "r" * 21}, "isv.INVALID_PARAMETERS"),
        ({"ReqId": "r", "PageNo": "0"}, "isv.INVALID_PARAMETERS"),
    ],
)
async def test_a_bad_listing_is_refused(sandbox: Sandbox, parameters: dict[str, str], code: str) -> None:
    assert (await sandbox.client.call("ListXTelephones", **parameters)).code == code
