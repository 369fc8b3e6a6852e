"""The provider's own clients, unmodified, are served by the sandbox: its signatures and its shapes hold for them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from worker.sandbox.config import parse_limit

from .conftest import CONFIG, PHONE_A, PHONE_B, POOL, Clock
from .official_clients import AlibabaCloudClient, LegacyClient, OfficialClient, Refused, in_shanghai, served

# The current client dates its requests in a way Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utcnow:DeprecationWarning:alibabacloud_tea_openapi\.utils"
)

Connect = Callable[..., OfficialClient]


@pytest.fixture(params=[AlibabaCloudClient, LegacyClient], ids=["alibabacloud-v3", "aliyun-v1"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Start a sandbox, its clock moved by so many seconds, and give a client of it."""
    with ExitStack() as stack:

        def connect_one(*, secret: str = "testsecret", clock_s: float = 0, **changes: Any) -> OfficialClient:
            url = stack.enter_context(served(replace(CONFIG, **changes), Clock(time.time() + clock_s)))
            client: OfficialClient = request.param(url, secret)
            return client

        yield connect_one


def bind(client: OfficialClient, **changes: str) -> dict[str, Any]:
    wanted = {"PoolKey": POOL, "PhoneNoA": PHONE_A, "PhoneNoB": PHONE_B, "Expiration": in_shanghai(hours=1)}
    return client.call("BindAxn", **(wanted | changes))


def refusal(client: OfficialClient) -> Refused:
    with pytest.raises(Refused) as refused:
        bind(client)
    return refused.value


def test_a_binding_lives_and_ends(connect: Connect) -> None:
    client = connect()
    reply = bind(client, OutId="a b*c~d/e+f&g=h", ExpectCity="北京")
    assert reply["Code"] == "OK"
    subs_id, number = reply["SecretBindDTO"]["SubsId"], reply["SecretBindDTO"]["SecretNo"]
    x_of = {"PoolKey": POOL, "PhoneNoX": number}
    binding = x_of | {"SubsId": subs_id}
    assert client.call("QuerySubsId", **x_of)["SubsId"] == subs_id
    moved = in_shanghai(hours=3)
    updated = client.call("UpdateSubscription", **binding, OperateType="updateExpire", Expiration=moved)
    assert updated["Code"] == "OK"
    detail = client.call("QuerySubscriptionDetail", **binding)["SecretBindDetailDTO"]
    wanted = {"PhoneNoA": PHONE_A, "PhoneNoB": PHONE_B, "PhoneNoX": number, "ExpireDate": moved, "Status": 1}
    assert wanted.items() <= detail.items()
    assert client.call("UnbindSubscription", PoolKey=POOL, SecretNo=number, SubsId=subs_id)["Code"] == "OK"
    assert client.call("QuerySubsId", **x_of)["SubsId"] == ""


def test_a_boolean_of_either_client_is_understood(connect: Connect) -> None:
    client = connect()
    bound = client.call(
        "BindAxn", PoolKey=POOL, PhoneNoA=PHONE_A, Expiration=in_shanghai(hours=1), IsRecordingEnabled=True
    )["SecretBindDTO"]
    binding = {"PoolKey": POOL, "PhoneNoX": bound["SecretNo"], "SubsId": bound["SubsId"]}
    assert client.call("QuerySubscriptionDetail", **binding)["SecretBindDetailDTO"]["NeedRecord"] is True


def test_a_refusal_of_the_product_is_an_ordinary_answer(connect: Connect) -> None:
    assert bind(connect(), PhoneNoX="17099999999")["Code"] == "isv.FORBIDDEN_ACTION"


def test_a_throttled_client_reads_the_code_and_does_not_come_back_by_itself(connect: Connect) -> None:
    client = connect(limits=(parse_limit("BindAxn=1"),))
    bind(client)
    refused = refusal(client)
    assert (refused.status, refused.code) == (400, "Throttling.User")


def test_a_wrong_secret_is_told_so(connect: Connect) -> None:
    client = connect(secret="another")
    refused = refusal(client)
    assert (refused.status, refused.code) == (400, client.WRONG_SECRET)


@pytest.mark.parametrize("clock_s", [1000, -1000])
def test_a_timestamp_off_the_sandbox_s_clock_is_refused(connect: Connect, clock_s: float) -> None:
    refused = refusal(connect(clock_s=clock_s))
    assert (refused.status, refused.code) == (400, "InvalidTimeStamp.Expired")
