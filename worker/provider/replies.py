"""What the provider's answers hold, typed. Reading never raises: a number that is none is None, a missing text empty.

They are read from `parse_answer`'s mapping, whose scalars are texts without blanks at their ends.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field

from worker.provider.answers import Answer
from worker.provider.wire import WireModel, items

_MOST_DIGITS = 18


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole_number(value: Any) -> int | None:
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _truth(value: Any) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())


def _ids(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list | tuple) else [value]
    return tuple(part.strip() for text in texts for part in _text(text).split(",") if part.strip())


Words = Annotated[str, BeforeValidator(_text)]
WholeNumber = Annotated[int | None, BeforeValidator(_whole_number)]
Truth = Annotated[bool | None, BeforeValidator(_truth)]
Ids = Annotated[tuple[str, ...], BeforeValidator(_ids)]


class Content(WireModel):
    """What an answer says beside its Code. Local times are `yyyy-MM-dd HH:mm:ss`, presumably in Asia/Shanghai."""

    #: The object in the answer that holds it; empty: the answer itself.
    within: ClassVar[str] = ""

    @classmethod
    def read(cls, answer: Answer) -> Self | None:
        """None where the answer holds nothing of it: the object is missing, empty or no object."""
        fields = answer.get(cls.within) if cls.within else answer
        return cls.model_validate(dict(fields)) if isinstance(fields, Mapping) and fields else None


class Acknowledged(Content):
    """Nothing but the success itself."""


class BoundNumber(Content):
    """A new binding. `extension` is an echo of B or a placeholder, not a dialling extension."""

    within: ClassVar[str] = "SecretBindDTO"
    subs_id: Words = ""
    secret_no: Words = ""
    extension: Words = ""


class Unbound(Content):
    """`charge_id` is a relic: `true`."""

    charge_id: Words = ""


class SubscriptionDetail(Content):
    """A binding. `status`: 1 active, 0 lapsed. `call_restrict` is empty where nothing is restricted."""

    within: ClassVar[str] = "SecretBindDetailDTO"
    phone_no_a: Words = ""
    phone_no_x: Words = ""
    phone_no_b: Words = ""
    expire_date: Words = ""
    gmt_create: Words = ""
    status: WholeNumber = None
    subs_id: Words = ""
    need_record: Truth = None
    call_restrict: Words = ""
    extension: Words = ""
    group_id: WholeNumber = None
    asr_status: Truth = None
    asr_model_id: Words = ""


class SubscriptionIds(Content):
    """The bindings of an X: none, one or several."""

    subs_ids: Ids = Field((), alias="SubsId")


class SecretNoInfo(Content):
    """A number of one's own. `secret_status`: 0 idle, 1 bound, 2 locked, 3 frozen."""

    within: ClassVar[str] = "SecretNoInfoDTO"
    secret_status: WholeNumber = None
    certify_status: WholeNumber = None
    vendor: WholeNumber = None
    city: Words = ""
    province: Words = ""
    purchase_time: Words = ""


class CityRemain(WireModel):
    """Numbers for sale in one city."""

    city: Words = ""
    amount: WholeNumber = None


class SecretNoRemain(Content):
    """Numbers for sale; `cities` only where the whole country was asked for as a list."""

    within: ClassVar[str] = "SecretRemainDTO"
    city: Words = ""
    amount: WholeNumber = None
    cities: Annotated[tuple[CityRemain, ...], BeforeValidator(partial(items, name="remainDTO"))] = Field(
        (), alias="RemainDTOList"
    )


class BoughtNumber(Content):
    """A number just bought."""

    within: ClassVar[str] = "SecretBuyInfoDTO"
    secret_no: Words = ""


class XTelephone(WireModel):
    """A number in the list.

    `telephone_status`: 0 idle, 1 allotted, 2 bought, 3 being verified, 4 verified, 5 refused, 6 being unbound,
    7 not unbound, 8 released, 99 released after a time-out.
    """

    telephone: Words = ""
    telephone_status: Words = ""
    customer_pool_key: Words = ""
    customer_pool_name: Words = ""
    buy_time: Words = ""
    bind_time: Words = ""
    unbind_time: Words = ""
    release_time: Words = ""
    sms_status: WholeNumber = None
    auth_msg: Words = ""


class XTelephonePage(Content):
    """A page of the list; `total` counts all pages."""

    within: ClassVar[str] = "Data"
    page_no: WholeNumber = None
    page_size: WholeNumber = None
    total: WholeNumber = None
    telephones: Annotated[tuple[XTelephone, ...], BeforeValidator(items)] = Field((), alias="List")
