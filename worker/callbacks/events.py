"""What a callback says.

Every event of a job has the same fields for its kind, empty where there is nothing to tell; a release may add fields,
and raises the version where one goes or changes its meaning. A body is always below 20 kB, whatever was put into it.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from worker.domain.job import JobKind, JobState, Orphan
from worker.domain.masking import mask_number, mask_text

PAYLOAD_VERSION = 1
LONGEST_BODY_BYTES = 20_000
_REFERENCE_BYTES = 4_096
"""What a valid OutId or OutOrderId takes at most: it is never cut."""
_MESSAGE_BYTES = 6_144
_OTHER_BYTES = 256
_MOST_CODES = 50
_BYTES_OF = {"out_id": _REFERENCE_BYTES, "out_order_id": _REFERENCE_BYTES, "message": _MESSAGE_BYTES}
_OUTCOMES = {
    JobState.BOUND: "succeeded",
    JobState.OLD_LEFT_BOUND: "old_left_bound",
    JobState.UPDATED: "succeeded",
    JobState.UNBOUND: "succeeded",
    JobState.FAILED: "failed",
    JobState.IN_DOUBT: "in_doubt",
    JobState.EXPIRED: "expired",
}


class BindingEvent(StrEnum):
    """What may happen to a binding that is kept."""

    RENEWED = "renewed"
    """It lasts longer now."""
    RENEWAL_FAILED = "renewal_failed"
    """It could not be renewed, and a person should look; it is tried on up to its end."""
    REBOUND = "rebound"
    """It had ended, and A was bound anew."""
    LOST = "lost"
    """It has ended, and nothing came in its place."""


_STATE_AFTER = {
    BindingEvent.RENEWED: "active",
    BindingEvent.RENEWAL_FAILED: "active",
    BindingEvent.REBOUND: "replaced",
    BindingEvent.LOST: "lapsed",
}


def ended_body(
    *,
    kind: JobKind,
    job_id: str,
    state: JobState,
    unix_ms: int,
    attempts: int,
    parameters: Mapping[str, str],
    fields: Mapping[str, str | int],
    full_phone_no_a: bool = False,
) -> str:
    """The JSON text of a job's end; the same text goes out with every try.

    Args:
        kind: what was asked for.
        job_id: whose end it is.
        state: which end.
        unix_ms: when.
        attempts: how many were numbered.
        parameters: the action's business parameters.
        fields: what the settlement writes: phone_no_x, subs_id, code and so on; of a rebind also how far it came.
        full_phone_no_a: tell A itself; else only its masked form leaves.
    """
    data: dict[str, str | int] = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": state.value,
        "phone_no_a": _phone_no_a(parameters, full_phone_no_a),
        "phone_no_x": fields.get("phone_no_x") or parameters.get("PhoneNoX") or parameters.get("SecretNo", ""),
        "subs_id": fields.get("subs_id") or parameters.get("SubsId", ""),
        "expiration": parameters.get("Expiration", ""),
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
        "code": fields.get("code", ""),
        "message": mask_text(str(fields.get("message", ""))),
        "request_id": fields.get("request_id", ""),
        "attempts": attempts,
    }
    if kind in (JobKind.BIND, JobKind.REBIND):
        # A chosen X that was not bound is nobody's number.
        data |= {"phone_no_x": fields.get("phone_no_x", ""), "possible_orphans": fields.get("possible_orphans", 0)}
    if kind is JobKind.REBIND:
        data |= {name: fields.get(name, "") for name in ("mode", "step", "old_phone_no_x", "old_subs_id")}
    if kind is JobKind.UPDATE:
        data["operate_type"] = parameters.get("OperateType", "")
    return _event(f"{kind.value}.{_OUTCOMES[state]}", unix_ms, data)


def orphan_found_body(
    *,
    job_id: str,
    state: JobState,
    unix_ms: int,
    parameters: Mapping[str, str],
    orphan: Orphan,
    full_phone_no_a: bool = False,
) -> str:
    """The JSON text that tells of a binding which was made for a job and is not the one it ended with.

    Args:
        job_id: for which it was made.
        state: of that job.
        unix_ms: when it was found.
        parameters: of that job.
        orphan: the binding, and the job that unbinds it, if one does.
        full_phone_no_a: tell A itself; else only its masked form leaves.
    """
    data: dict[str, str | int] = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": state.value,
        "phone_no_a": _phone_no_a(parameters, full_phone_no_a),
        "phone_no_x": orphan.phone_no_x,
        "subs_id": orphan.subs_id,
        "expiration": parameters.get("Expiration", ""),
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
        "unbind_job_id": orphan.unbind_job_id,
    }
    return _event("binding.orphaned", unix_ms, data)


def binding_body(
    event: BindingEvent,
    *,
    job_id: str,
    unix_ms: int,
    parameters: Mapping[str, str],
    fields: Mapping[str, str | int],
    full_phone_no_a: bool = False,
) -> str:
    """The JSON text that tells what became of a binding that is kept.

    Args:
        event: what.
        job_id: of the job that made the binding.
        unix_ms: when.
        parameters: BindAxn's, as they stand after it.
        fields: phone_no_x, subs_id, renewals; where there are any, code and message; of a binding made anew, those of
            the new one, old_phone_no_x, old_subs_id and new_job_id.
        full_phone_no_a: tell A itself; else only its masked form leaves.
    """
    data: dict[str, str | int] = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": _STATE_AFTER[event],
        "phone_no_a": _phone_no_a(parameters, full_phone_no_a),
        "phone_no_x": fields.get("phone_no_x", ""),
        "subs_id": fields.get("subs_id", ""),
        "expiration": parameters.get("Expiration", ""),
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
        "renewals": fields.get("renewals", 0),
        "code": fields.get("code", ""),
        "message": mask_text(str(fields.get("message", ""))),
    }
    if event is BindingEvent.REBOUND:
        data |= {name: fields.get(name, "") for name in ("old_phone_no_x", "old_subs_id", "new_job_id")}
    return _event(f"binding.{event.value}", unix_ms, data)


def batch_finished_body(
    *, batch_id: str, name: str, unix_ms: int, rows: int, by_state: Mapping[str, int], by_code: Mapping[str, int]
) -> str:
    """The JSON text that tells that all rows of a batch have their outcomes.

    Args:
        batch_id: of the batch.
        name: of the batch, numbers masked.
        unix_ms: when.
        rows: how many it has.
        by_state: rows by the state of their outcome.
        by_code: rows that did not succeed, by code; the most frequent are told.
    """
    frequent = sorted(by_code.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CODES]
    return _event(
        "batch.finished",
        unix_ms,
        {
            "version": PAYLOAD_VERSION,
            "batch_id": batch_id,
            "name": mask_text(name),
            "rows": rows,
            "by_state": dict(by_state),
            "by_code": {_cut(code, _OTHER_BYTES): count for code, count in frequent},
        },
    )


def _phone_no_a(parameters: Mapping[str, str], full_phone_no_a: bool) -> str:
    number = parameters.get("PhoneNoA", "")
    return number if full_phone_no_a else mask_number(number)


def _event(type_: str, unix_ms: int, data: Mapping[str, str | int | Mapping[str, int]]) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    bounded = {
        name: _cut(value, _BYTES_OF.get(name, _OTHER_BYTES)) if isinstance(value, str) else value
        for name, value in data.items()
    }
    return _json({"type": type_, "timestamp": moment, "data": bounded})


def _cut(text: str, most_bytes: int) -> str:
    """The text, or as much of its beginning as takes so many bytes in JSON.

    Half a surrogate pair, which no UTF-8 can hold and a provider's answer may, becomes a question mark.
    """
    if text.isascii() and len(text) * _MOST_BYTES_OF_ASCII <= most_bytes:
        return text
    text = text.encode(errors="replace").decode()
    if _size(text) <= most_bytes:
        return text
    room, kept = most_bytes - _size("…"), 0
    for letter in text:
        room -= _size(letter)
        if room < 0:
            break
        kept += 1
    return text[:kept] + "…"


#: In JSON a control character is six: \\u0000.
_MOST_BYTES_OF_ASCII = 6


def _size(text: str) -> int:
    return len(_json(text).encode()) - len('""')


_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def ping_body(unix_ms: int) -> str:
    """The JSON text of an event that tells of nothing: a person tries whether the receiver takes it."""
    return _event("ping", unix_ms, {"version": PAYLOAD_VERSION})
