"""The twelve typed calls over a loopback server: what is sent, and what is read from lenient answers."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.provider.loopback import Received, always, answer, serving
from tests.provider.test_client import decoded_query, provider
from worker.domain.outcome import Verdict
from worker.provider import actions, replies
from worker.provider.answers import parse_answer
from worker.provider.api import ProviderApi, Reply

X = {"PoolKey": "FC123456", "SecretNo": "17000000000"}
BINDING = {"PoolKey": "FC123456", "SubsId": "1"}
GIVEN: dict[str, dict[str, Any]] = {
    "BindAxn": {"PoolKey": "FC123456", "PhoneNoA": "15000000000", "Expiration": "2026-01-02 12:00:00"},
    "UnbindSubscription": {**BINDING, "SecretNo": "17000000000"},
    "UpdateSubscription": {**BINDING, "PhoneNoX": "17000000000", "OperateType": "updateOutId", "OutId": "o"},
    "QuerySubscriptionDetail": {**BINDING, "PhoneNoX": "17000000000"},
    "QuerySubsId": {"PhoneNoX": "17000000000"},
    "LockSecretNo": X,
    "UnlockSecretNo": X,
    "QuerySecretNoDetail": X,
    "QuerySecretNoRemain": {"City": "上海", "SpecId": 1},
    "BuySecretNo": {"PoolKey": "FC123456", "City": "上海", "SpecId": 2},
    "ReleaseSecretNo": X,
    "ListXTelephones": {"ReqId": "r1"},
}
METHODS: dict[str, Callable[..., Awaitable[Reply[Any]]]] = {
    "BindAxn": ProviderApi.bind_axn,
    "UnbindSubscription": ProviderApi.unbind_subscription,
    "UpdateSubscription": ProviderApi.update_subscription,
    "QuerySubscriptionDetail": ProviderApi.query_subscription_detail,
    "QuerySubsId": ProviderApi.query_subs_id,
    "LockSecretNo": ProviderApi.lock_secret_no,
    "UnlockSecretNo": ProviderApi.unlock_secret_no,
    "QuerySecretNoDetail": ProviderApi.query_secret_no_detail,
    "QuerySecretNoRemain": ProviderApi.query_secret_no_remain,
    "BuySecretNo": ProviderApi.buy_secret_no,
    "ReleaseSecretNo": ProviderApi.release_secret_no,
    "ListXTelephones": ProviderApi.list_x_telephones,
}
#: Action, what the answer holds beside its Code, what is read.
CONTENTS: list[tuple[str, dict[str, Any], replies.Content]] = [
    (
        "BindAxn",
        {"SecretBindDTO": {"SubsId": 1000000768798832, "SecretNo": " 17000000000 ", "Extension": None}},
        replies.BoundNumber(subs_id="1000000768798832", secret_no="17000000000"),
    ),
    ("UnbindSubscription", {"ChargeId": True}, replies.Unbound(charge_id="true")),
    ("UpdateSubscription", {}, replies.Acknowledged()),
    (
        "QuerySubscriptionDetail",
        {
            "secretBindDetailDTO": {
                "phoneNoA": "15000000000",
                "Status": "1",
                "NeedRecord": False,
                "CallRestrict": "CONTROL_AX_DISABLE ",
                "GroupId": 12,
                "asrStatus": "True",
                "ExpireDate": "2026-01-02 12:00:00",
            }
        },
        replies.SubscriptionDetail(
            phone_no_a="15000000000",
            status=1,
            need_record=False,
            call_restrict="CONTROL_AX_DISABLE",
            group_id=12,
            asr_status=True,
            expire_date="2026-01-02 12:00:00",
        ),
    ),
    ("QuerySubsId", {"SubsId": "1, 2,"}, replies.SubscriptionIds(subs_ids=("1", "2"))),
    ("QuerySubsId", {"SubsId": ""}, replies.SubscriptionIds()),
    ("QuerySubsId", {}, replies.SubscriptionIds()),
    ("QuerySubsId", {"SubsId": [1, "2, ,3"]}, replies.SubscriptionIds(subs_ids=("1", "2", "3"))),
    ("LockSecretNo", {}, replies.Acknowledged()),
    ("UnlockSecretNo", {}, replies.Acknowledged()),
    (
        "QuerySecretNoDetail",
        {"SecretNoInfoDTO": {"SecretStatus": "1", "CertifyStatus": 2, "Vendor": "x", "Province": "上海"}},
        replies.SecretNoInfo(secret_status=1, certify_status=2, province="上海"),
    ),
    (
        "QuerySecretNoRemain",
        {
            "SecretRemainDTO": {
                "City": "全国",
                "Amount": 3,
                "RemainDTOList": {"remainDTO": [{"City": "上海", "Amount": "2"}, None, {"City": "北京", "Amount": 1}]},
            }
        },
        replies.SecretNoRemain(
            city="全国",
            amount=3,
            cities=(replies.CityRemain(city="上海", amount=2), replies.CityRemain(city="北京", amount=1)),
        ),
    ),
    ("BuySecretNo", {"SecretBuyInfoDTO": {"SecretNo": 17000000000}}, replies.BoughtNumber(secret_no="17000000000")),
    ("ReleaseSecretNo", {}, replies.Acknowledged()),
    (
        "ListXTelephones",
        {
            "Code": "0000",
            "Success": True,
            "Data": {
                "PageNo": 1,
                "PageSize": "20",
                "Total": 1,
                "List": [{"Telephone": 17000000000, "TelephoneStatus": 4, "SmsStatus": "1"}],
            },
        },
        replies.XTelephonePage(
            page_no=1,
            page_size=20,
            total=1,
            telephones=(replies.XTelephone(telephone="17000000000", telephone_status="4", sms_status=1),),
        ),
    ),
]


async def called(action: str, served: bytes) -> tuple[Reply[Any], Received]:
    request = getattr(actions, action).model_validate(GIVEN[action])
    async with serving(always(answer(served))) as server, provider(server.origin) as client:
        reply = await METHODS[action](ProviderApi(client), request)
    (received,) = server.requests
    return reply, received


@pytest.mark.parametrize(("action", "beside", "content"), CONTENTS)
async def test_each_action_is_sent_under_its_name_and_its_answer_read(
    action: str, beside: dict[str, Any], content: replies.Content
) -> None:
    reply, received = await called(action, json.dumps({"Code": "OK", **beside}).encode())
    assert reply.outcome.verdict is Verdict.DONE
    assert reply.content == content
    assert received.headers["x-acs-action"] == action
    assert decoded_query(received) == {name: str(value) for name, value in GIVEN[action].items()}


def test_no_action_is_left_out() -> None:
    assert {row[0] for row in CONTENTS} == set(GIVEN) == set(METHODS)


@pytest.mark.parametrize("action", GIVEN)
async def test_a_failure_has_no_content(action: str) -> None:
    reply, _ = await called(action, b'{"Code":"isv.SUBS_NOT_EXIST","SubsId":"1","SecretBindDTO":{}}')
    assert (reply.outcome.verdict, reply.content) == (Verdict.GONE, None)


@pytest.mark.parametrize("action", ["QuerySubscriptionDetail", "QuerySecretNoDetail", "QuerySecretNoRemain"])
@pytest.mark.parametrize("dto", [{}, None, "", [], "none"])
async def test_a_success_that_says_nothing_has_no_content(action: str, dto: Any) -> None:
    names = ("SecretBindDetailDTO", "SecretNoInfoDTO", "SecretRemainDTO")
    reply, _ = await called(action, json.dumps({"Code": "OK", **dict.fromkeys(names, dto)}).encode())
    assert (reply.outcome.verdict, reply.content) == (Verdict.DONE, None)


async def test_each_call_has_a_nonce_of_its_own_unless_it_is_given_one() -> None:
    request = actions.LockSecretNo.model_validate(X)
    async with serving(always(answer(b'{"Code":"OK"}'))) as server, provider(server.origin) as client:
        api = ProviderApi(client)
        for nonce in ("", "", "n" * 32):
            await api.lock_secret_no(request, nonce)
    nonces = [received.headers["x-acs-signature-nonce"] for received in server.requests]
    assert len(set(nonces)) == 3
    assert [len(nonce) for nonce in nonces] == [32, 32, 32]
    assert nonces[2] == "n" * 32


@pytest.mark.parametrize(
    "listed",
    [
        b"<RemainDTOList><remainDTO><City>a</City><Amount>1</Amount></remainDTO></RemainDTOList>",
        b"<RemainDTOList><City>a</City><Amount>1</Amount></RemainDTOList>",
        b"<RemainDTOList><RemainDTO><City>a</City><Amount>1</Amount></RemainDTO></RemainDTOList>",
    ],
)
def test_a_list_of_one_in_xml_is_a_list(listed: bytes) -> None:
    body = b"<AResponse><SecretRemainDTO>" + listed + b"</SecretRemainDTO></AResponse>"
    content = replies.SecretNoRemain.read(parse_answer(body) or {})
    assert content is not None
    assert content.cities == (replies.CityRemain(city="a", amount=1),)


def test_contents_show_no_number() -> None:
    content = replies.XTelephonePage.read({"Data": {"List": [{"Telephone": "17000000000"}]}})
    assert "170****0000" in repr(content)
    assert "17000000000" not in repr(content) + repr(replies.SubscriptionIds(subs_ids=("17000000000",)))


WIRE_NAMES = st.sampled_from(
    [
        "SubsId",
        "Data",
        "List",
        "SecretRemainDTO",
        "RemainDTOList",
        "remainDTO",
        "SecretBindDetailDTO",
        "Status",
        "Amount",
    ]
)
WIRE_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WIRE_NAMES, inner, max_size=4),
    max_leaves=12,
)
KINDS = [kind for kind in vars(replies).values() if isinstance(kind, type) and issubclass(kind, replies.Content)]


@given(st.dictionaries(WIRE_NAMES, WIRE_VALUES, max_size=5), st.sampled_from(KINDS))
def test_reading_never_raises(wire: dict[str, Any], kind: type[replies.Content]) -> None:
    content = kind.read(parse_answer(json.dumps(wire).encode()) or {})
    assert content is None or isinstance(content, kind)
