"""What the provider's bytes say, read leniently and without ever raising.

JSON and XML come to the same mapping: the wire's field names, every scalar a text without blanks at its ends, an
absent value an empty text. So an id that comes as a number is read like one that comes as a text.
"""

import json
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

Answer = Mapping[str, Any]

#: Answers are two levels deep, four for number lists; deeper ones are somebody's joke.
_DEEPEST = 6

# The official SDK reads requestId, code and message too, and re-serialised answers have been seen with secretBindDTO.
_NAMES = """
AccessDeniedDetail Amount ASRModelId ASRStatus AuthMsg BindTime BuyTime CallRestrict CertifyStatus ChargeId City
Code CustomerPoolKey CustomerPoolName Data ExpireDate Extension GmtCreate GroupId List Message NeedRecord PageNo
PageSize PhoneNoA PhoneNoB PhoneNoX Province PurchaseTime ReleaseTime remainDTO RemainDTOList RequestId
SecretBindDetailDTO SecretBindDTO SecretBuyInfoDTO SecretNo SecretNoInfoDTO SecretRemainDTO SecretStatus
SmsStatus Status SubsId Success Telephone TelephoneStatus Total UnbindTime Vendor
"""
_WIRE_NAMES = {name.lower(): name for name in _NAMES.split()}
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_EXACT_NAMES = frozenset(_WIRE_NAMES.values())


def parse_answer(body: bytes) -> Answer | None:
    """The answer's fields, or None where the bytes are neither a JSON object nor an answer in XML."""
    text = body.decode("utf-8-sig", "replace").strip()
    # Well-formed web pages of a proxy are XML as well: an answer's root is `<Action>Response` or `Error`.
    parsed = _parse_xml(text) if text.startswith("<") else _parse_json(text)
    return parsed if isinstance(parsed, dict) else None


def bound_number(answer: Answer) -> tuple[str, str, str] | None:
    """SubsId, SecretNo (the private number X) and Extension of a BindAxn answer; None without the first two.

    A failed bind may carry an empty SecretBindDTO, a null or none at all. Extension is not a dialling extension but an
    echo of B or a placeholder, and may be empty.
    """
    bound = answer.get("SecretBindDTO")
    if not isinstance(bound, Mapping):
        return None
    subs_id, secret_no, extension = (_text(bound.get(name)) for name in ("SubsId", "SecretNo", "Extension"))
    return (subs_id, secret_no, extension) if subs_id and secret_no else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parse_json(text: str) -> Any:
    try:
        # Numbers keep their digits: ids have more of them than a float, and hostile ones more than int() takes.
        return _plain(_JSON.decode(text))
    except (ValueError, RecursionError):
        return None


def _parse_xml(text: str) -> Any:
    try:
        root = fromstring(_without_declaration(text), forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return None
    return _plain(_children(root)) if _is_answer(root) else None


def _without_declaration(text: str) -> str:
    """The document alone: its bytes are decoded already, whatever encoding the declaration names."""
    return text.partition("?>")[2].lstrip() if text.startswith("<?xml") else text


def _is_answer(root: Element) -> bool:
    name = _local_name(root)
    return name == "Error" or name.endswith("Response")


def _local_name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _children(element: Element, depth: int = 0) -> dict[str, Any]:
    children: dict[str, Any] = {}
    for child in element if depth < _DEEPEST else ():
        value = _children(child, depth + 1) if len(child) else child.text
        name = _local_name(child)
        if name in children:
            earlier = children[name]
            children[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        else:
            children[name] = value
    return children


def _plain(value: Any, depth: int = 0) -> Any:
    if isinstance(value, dict | list) and depth > _DEEPEST:
        return ""
    if isinstance(value, dict):
        return _plain_object(value, depth)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    return _scalar(value)


def _plain_object(fields: dict[str, Any], depth: int) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for raw_name, value in fields.items():
        if raw_name in _EXACT_NAMES:  # as nearly always
            plain[raw_name] = value.strip() if isinstance(value, str) and value.isascii() else _plain(value, depth + 1)
            continue
        name = _scalar(raw_name)
        wire_name = _WIRE_NAMES.get(name.lower(), name)
        # A field under its exact name outranks a variant of it.
        if wire_name == name or wire_name not in fields:
            plain[wire_name] = _plain(value, depth + 1)
    return plain


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # JSON can spell lone surrogates, which nobody behind us could encode.
    return text.encode("utf-8", "replace").decode().strip()
