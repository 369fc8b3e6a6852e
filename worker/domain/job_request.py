"""What the requests of all kinds have in common: their names, their faults, their digest, and our own fields."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.domain.callback_secret import CallbackSecretName
from worker.domain.callback_url import CallbackUrl
from worker.domain.job import JobKind, Lane
from worker.domain.masking import mask_value
from worker.domain.request_fields import Deadline, IdempotencyKey, OrderKey, ProducerLane
from worker.errors import FieldFault, InvalidRequestError

_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


class JobRequest(BaseModel):
    """Base of the requests. Fields may be given in snake_case or by the wire's names.

    Attributes:
        kind: of the job that the request becomes.
        field_by_wire_name: every other name under which a field may be given.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    model_config = ConfigDict(
        populate_by_name=True, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )
    kind: ClassVar[JobKind]
    field_by_wire_name: ClassVar[Mapping[str, str]]
    second_wire_names: ClassVar[Mapping[str, str]] = {}
    """Names beside a field's alias: the provider's own actions call one thing by two."""

    callback_secret_name: CallbackSecretName | None = None
    callback_url: CallbackUrl | None = None
    idempotency_key: IdempotencyKey | None = None
    callback_deadline: Deadline | None = None
    callback_order_key: OrderKey | None = None
    deadline: Deadline | None = None
    lane: ProducerLane = Lane.CHECKOUT

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        aliases = {field.alias: name for name, field in cls.model_fields.items() if field.alias}
        cls.field_by_wire_name = {**aliases, **cls.second_wire_names}

    def __init__(self, **given: Any) -> None:
        by_name, faults = self._by_field_names(given)
        faults += self._faults_between_fields(by_name, {fault.field for fault in faults})
        try:
            super().__init__(**by_name)
        except ValidationError as invalid:
            faults = [*self._faults_of(invalid), *faults]
        if faults:
            raise InvalidRequestError(faults)

    @classmethod
    def from_mapping(cls, given: object) -> Self:
        """A request that arrived as data.

        Raises:
            InvalidRequestError: it is no mapping of names to values, or breaks rules.
        """
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise InvalidRequestError([FieldFault("request", "", "must be a mapping of field names to values")])
        return cls(**given)

    def digest(self) -> str:
        """Of the request as given, without its idempotency key: equal for equal requests, also across releases."""
        given = self.model_dump(mode="json", exclude={"idempotency_key"}, exclude_none=True, exclude_defaults=True)
        return hashlib.sha256(_canonical(given).encode()).hexdigest()[:32]

    @classmethod
    def _faults_between_fields(cls, given: Mapping[str, Any], twice: AbstractSet[str]) -> list[FieldFault]:
        """Rules that concern more than one field.

        Args:
            given: by the fields' names.
            twice: fields that were given under two names, which is a fault already.
        """
        raise NotImplementedError

    @classmethod
    def _by_field_names(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldFault]]:
        by_name: dict[str, Any] = {}
        faults = []
        for given_name, value in sorted(given.items(), key=lambda item: item[0] in cls.field_by_wire_name):
            name = cls.field_by_wire_name.get(given_name, given_name)
            if name in by_name:
                faults.append(FieldFault(name, "", f"is given twice, also as {given_name}"))
            by_name[name] = value
        return by_name, faults

    @classmethod
    def _faults_of(cls, invalid: ValidationError) -> list[FieldFault]:
        places = {name: place for place, name in enumerate(cls._parameters_first())}
        errors = [dict(error) for error in invalid.errors(include_url=False)]
        errors.sort(key=lambda error: places.get(cls._name_in(error), len(places)))
        return [cls._fault(error) for error in errors]

    @classmethod
    def _parameters_first(cls) -> list[str]:
        ours = JobRequest.model_fields
        return [*(name for name in cls.model_fields if name not in ours), *ours]

    @classmethod
    def _fault(cls, error: dict[str, Any]) -> FieldFault:
        name = cls._name_in(error)
        if error["type"] == "missing":
            return FieldFault(name, "", "is required")
        if error["type"] == "extra_forbidden":
            return FieldFault(mask_value(name), "", cls._unknown_field_rule(name))
        return FieldFault(name, mask_value(error["input"]), _rule(error))

    @classmethod
    def _name_in(cls, error: Mapping[str, Any]) -> str:
        name = str(error["loc"][0]) if error["loc"] else ""
        return cls.field_by_wire_name.get(name, name)

    @classmethod
    def _unknown_field_rule(cls, given_name: str) -> str:
        near = difflib.get_close_matches(given_name, (*cls.model_fields, *cls.field_by_wire_name), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"is no field of {'an' if cls.kind.value.startswith('u') else 'a'} {cls.kind.value} request{hint}"


def _rule(error: Mapping[str, Any]) -> str:
    if error["type"] in ("too_long", "string_too_long"):
        return f"must be at most {error['ctx']['max_length']} characters"
    if error["type"] == "string_too_short":
        return "must not be empty"
    return str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
