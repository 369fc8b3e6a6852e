"""The requests of the provider's twelve actions for private numbers.

Classes are named as the API names its actions, attributes as its parameters in snake_case; the wire's own names are
accepted as well. What the provider's pages say about values is checked here, what they leave open is not.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, PositiveInt, StringConstraints, model_validator

from worker.domain.expiration import wire_expiration
from worker.domain.request_fields import ExpirationTime, Text
from worker.provider.wire import WireModel

CallRestrict = Literal["CONTROL_AX_DISABLE", "CONTROL_BX_DISABLE"]
OperateType = Literal[
    "updateNoA",
    "updateNoB",
    "updateExpire",
    "updateAxgGroup",
    "updateCallRestrict",
    "updateCallDisplayType",
    "updateOutId",
    "updateIsRecordingEnabled",
]
SpecId = Literal[1, 2, 3]
"""Numbers of a virtual operator (170, 171), of a carrier, or beginning with 95."""
NumberPrefix = Annotated[str, StringConstraints(pattern=r"^\d{1,18}$")]

#: What each OperateType sets, and therefore needs.
ASPECTS: dict[OperateType, str] = {
    "updateNoA": "phone_no_a",
    "updateNoB": "phone_no_b",
    "updateExpire": "expiration",
    "updateAxgGroup": "group_id",
    "updateCallRestrict": "call_restrict",
    "updateCallDisplayType": "call_display_type",
    "updateOutId": "out_id",
    "updateIsRecordingEnabled": "is_recording_enabled",
}


class Request(WireModel):
    """What every action takes.

    Attributes:
        owner_id: with the next two, of use to old accounts only.

    Raises:
        ValidationError: a value or a name is wrong; the text shows no value.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    owner_id: int | None = None
    resource_owner_id: int | None = None
    resource_owner_account: Text | None = None

    def parameters(self) -> dict[str, str]:
        """The wire's names and texts; what was not given is left out."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        return {name: _wire_text(value) for name, value in given.items()}


def _wire_text(value: Any) -> str:
    if isinstance(value, datetime):
        return wire_expiration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


class _BindingRequest(Request):
    """An action on a binding of a pool, or of an old account's product such as AXN_170."""

    pool_key: Text | None = None
    product_type: Text | None = None

    @model_validator(mode="after")
    def _belongs_somewhere(self) -> Self:
        if self.pool_key is None and self.product_type is None:
            raise ValueError("PoolKey or ProductType must be given")
        return self


class _NumberRequest(Request):
    """An action on one number X of a pool."""

    pool_key: Text
    secret_no: Text


class BindAxn(Request):
    """Bind a number X to A.

    Attributes:
        expiration: the wire's `yyyy-MM-dd HH:mm:ss` in Asia/Shanghai, or a time with its zone.
        phone_no_x: without it the provider picks a number, and after a lost answer nobody can tell which.
        expect_city: in Chinese.
        no_type: instead of a PoolKey, for old accounts.
        call_timeout: seconds that one number rings.
        ring_config: a JSON object.
    """

    phone_no_a: Text
    expiration: ExpirationTime
    pool_key: Text | None = None
    no_type: Text | None = None
    phone_no_b: Text | None = None
    phone_no_x: Text | None = None
    expect_city: Text | None = None
    is_recording_enabled: bool | None = None
    out_id: Text | None = None
    out_order_id: Text | None = None
    call_display_type: Literal[1, 2, 3] | None = None
    call_restrict: CallRestrict | None = None
    call_timeout: PositiveInt | None = None
    asr_status: bool | None = None
    asr_model_id: Text | None = None
    ring_config: Text | None = None
    extend: Text | None = None

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if self.pool_key is None and self.no_type is None:
            raise ValueError("PoolKey or NoType must be given")
        return self


class UnbindSubscription(_BindingRequest):
    """End a binding: needs both its id and its X."""

    subs_id: Text
    secret_no: Text


class UpdateSubscription(_BindingRequest):
    """Set one aspect of a binding. The last writer wins, so a late repetition may undo a newer update."""

    subs_id: Text
    phone_no_x: Text
    operate_type: OperateType
    phone_no_a: Text | None = None
    phone_no_b: Text | None = None
    expiration: ExpirationTime | None = None
    group_id: Text | None = None
    call_restrict: CallRestrict | Literal["CONTROL_CLEAR_DISABLE"] | None = None
    call_display_type: Literal[1, 2, 3] | None = None
    out_id: Text | None = None
    is_recording_enabled: bool | None = None
    asr_status: bool | None = None
    asr_model_id: Text | None = None
    ring_config: Text | None = None

    @model_validator(mode="after")
    def _sets_its_own_aspect_only(self) -> Self:
        given = [aspect for aspect in ASPECTS.values() if getattr(self, aspect) is not None]
        if given != [ASPECTS[self.operate_type]]:
            raise ValueError(f"{self.operate_type} takes {ASPECTS[self.operate_type]} and no other aspect")
        return self


class QuerySubscriptionDetail(_BindingRequest):
    """Read one binding."""

    subs_id: Text
    phone_no_x: Text


class QuerySubsId(Request):
    """Which bindings X has. The provider's page wants a PoolKey, its SDK does not."""

    phone_no_x: Text
    pool_key: Text | None = None


class LockSecretNo(_NumberRequest):
    """Keep X out of the provider's own choice."""


class UnlockSecretNo(_NumberRequest):
    """Let the provider choose X again."""


class QuerySecretNoDetail(_NumberRequest):
    """Read one X of one's own: state, place, operator."""


class ReleaseSecretNo(_NumberRequest):
    """Give X back; refused while it is bound."""


class QuerySecretNoRemain(Request):
    """How many numbers are for sale; says nothing about free numbers in one's own pool.

    Attributes:
        city: a name in Chinese, 全国 or 全国列表; 全国通用 for SpecId 3.
        secret_no: how they begin.
    """

    city: Text
    spec_id: SpecId
    secret_no: NumberPrefix | None = None


class BuySecretNo(Request):
    """Buy a number. Costs money, and a repetition buys another one.

    Attributes:
        secret_no: how it begins.
    """

    pool_key: Text
    city: Text
    spec_id: SpecId
    secret_no: NumberPrefix | None = None
    display_pool: bool | None = None


class ListXTelephones(Request):
    """List numbers page by page.

    Attributes:
        req_id: the caller's id of this request; the provider drops repetitions.
        caller_parent_id: the account's uid.
        page_no: from 1.
    """

    req_id: Annotated[Text, Field(max_length=20)]
    customer_pool_key: Text | None = None
    caller_parent_id: int | None = None
    page_no: PositiveInt | None = None
    page_size: PositiveInt | None = None
