"""The wish to have a binding kept, in the requests that make one: their field `renew`."""

import difflib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from worker.domain.durations import Duration, duration_ms
from worker.domain.expiration import unix_ms
from worker.domain.job_request import JobRequest
from worker.domain.renewal import LEAST_EXTENSION_MS, IfGone, RenewalPolicy
from worker.domain.request_fields import ExpirationTime
from worker.errors import FieldFault

FORM = '{"until": …}, {"for": "30d"} or {"while": "open"}, with extend_by, lead and if_gone where wanted'
_NAMES = ("until", "for", "while", "extend_by", "lead", "if_gone")
_LEAST_EXTENSION = timedelta(milliseconds=LEAST_EXTENSION_MS)


def _mapping(given: object) -> object:
    if isinstance(given, RenewWish):
        return given
    try:
        given = json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        given = None
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return dict(given)
    raise ValueError(f"must be a mapping: {FORM}")


class RenewWish(BaseModel):
    """One of `until`, `for` and `while`, and how.

    Attributes:
        until: the binding is kept up to this moment.
        for_: the same as a span from its beginning; given as `for`.
        while_: `open`: until its order is closed; given as `while`.
        extend_by: one renewal's length; default: the binding's first length.
        lead: how long before the end; default: a tenth of extend_by, ten minutes at least.
        if_gone: what follows when there is nothing left to renew.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    until: ExpirationTime | None = None
    for_: Duration | None = Field(None, alias="for")
    while_: Literal["open"] | None = Field(None, alias="while")
    extend_by: Duration | None = None
    lead: Duration | None = None
    if_gone: Annotated[IfGone, Field(strict=False)] = IfGone.REBIND_SAME_X

    @field_validator("extend_by")
    @classmethod
    def _is_long_enough(cls, extend_by: timedelta | None) -> timedelta | None:
        if extend_by is not None and extend_by < _LEAST_EXTENSION:
            raise ValueError(f"must be at least {_LEAST_EXTENSION.total_seconds():g} s")
        return extend_by

    @field_validator("lead")
    @classmethod
    def _is_within_a_period(cls, lead: timedelta | None, given: ValidationInfo) -> timedelta | None:
        extend_by = given.data.get("extend_by")
        if lead is not None and not lead:
            raise ValueError("must be more than 0 s")
        if lead is not None and extend_by is not None and 2 * lead > extend_by:
            raise ValueError("must be at most half of extend_by")
        return lead

    @model_validator(mode="after")
    def _ends_in_one_way(self) -> Self:
        if [self.until, self.for_, self.while_].count(None) != 2:  # noqa: PLR2004 - one of the three
            raise ValueError(f"must give exactly one of until, for and while: {FORM}")
        return self

    @property
    def policy(self) -> RenewalPolicy:
        """The same in ms, not begun."""
        return RenewalPolicy(
            until_ms=unix_ms(self.until) if self.until else 0,
            for_ms=_ms(self.for_),
            extend_by_ms=_ms(self.extend_by),
            lead_ms=_ms(self.lead),
            if_gone=self.if_gone,
        )


def _ms(span: timedelta | None) -> int:
    return max(1, duration_ms(span)) if span is not None else 0


class RenewedRequest(JobRequest):
    """Base of the requests that make a binding.

    Attributes:
        renew: keep the binding; None: it ends with its Expiration.
    """

    renew: Annotated[RenewWish, BeforeValidator(_mapping)] | None = None

    @classmethod
    def _fault(cls, error: dict[str, Any]) -> FieldFault:
        where = error["loc"]
        if where[:1] != ("renew",) or where[1:2] == ():
            return super()._fault(error)
        inner = super()._fault({**error, "loc": where[1:]})
        rule = inner.rule if error["type"] != "extra_forbidden" else _unknown_name_rule(str(where[1]))
        return FieldFault(f"renew.{inner.field}", inner.value, rule)


def _unknown_name_rule(given: str) -> str:
    near = difflib.get_close_matches(given, _NAMES, n=1)
    return f"is no part of renew{f'; did you mean {near[0]}?' if near else ''}: it is {FORM}"


def faults_of_wish(wish: RenewWish | None, expiration: datetime | None, now: datetime) -> list[FieldFault]:
    """What only the binding's first length shows.

    Args:
        wish: whose form is right.
        expiration: the binding's first end, an aware datetime; None where that is a fault already.
        now: likewise.
    """
    if wish is None or expiration is None:
        return []
    faults = []
    if wish.until is not None and wish.until <= expiration:
        faults.append(FieldFault("renew.until", "", "must be later than the expiration, or there is nothing to renew"))
    if wish.for_ is not None and now + wish.for_ <= expiration:
        faults.append(FieldFault("renew.for", "", "must be longer than the binding's first length"))
    return faults
