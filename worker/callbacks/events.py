"""What a callback says."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.domain.job import JobKind, JobState, Orphan
from worker.domain.masking import mask_number

PAYLOAD_VERSION = 1
_OUTCOMES = {
    JobState.BOUND: "succeeded",
    JobState.UPDATED: "succeeded",
    JobState.UNBOUND: "succeeded",
    JobState.FAILED: "failed",
    JobState.IN_DOUBT: "in_doubt",
    JobState.EXPIRED: "expired",
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
) -> str:
    """The JSON text of a job's end; the same text goes out with every try.

    Args:
        kind: what was asked for.
        job_id: whose end it is.
        state: which end.
        unix_ms: when.
        attempts: how many were numbered.
        parameters: the action's business parameters. Of A only a masked form leaves.
        fields: what the settlement writes: phone_no_x, subs_id, code and so on.
    """
    told = _of_a_bind(parameters, fields) if kind is JobKind.BIND else _of_a_change(parameters)
    data = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": state.value,
        **told,
        "code": fields.get("code", ""),
        "message": fields.get("message", ""),
        "request_id": fields.get("request_id", ""),
        "attempts": attempts,
    }
    if kind is JobKind.BIND:
        data["possible_orphans"] = fields.get("possible_orphans", 0)
    return _event(f"{kind.value}.{_OUTCOMES[state]}", unix_ms, data)


def _of_a_bind(parameters: Mapping[str, str], fields: Mapping[str, str | int]) -> dict[str, str | int]:
    return {
        "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
        "phone_no_x": fields.get("phone_no_x", ""),
        "subs_id": fields.get("subs_id", ""),
        "expiration": parameters.get("Expiration", ""),
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
    }


def _of_a_change(parameters: Mapping[str, str]) -> dict[str, str | int]:
    told: dict[str, str | int] = {
        "phone_no_x": parameters.get("PhoneNoX") or parameters.get("SecretNo", ""),
        "subs_id": parameters.get("SubsId", ""),
    }
    if "OperateType" in parameters:
        told |= {
            "operate_type": parameters["OperateType"],
            "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
            "expiration": parameters.get("Expiration", ""),
            "out_id": parameters.get("OutId", ""),
        }
    return told


def _event(type_: str, unix_ms: int, data: Mapping[str, str | int]) -> str:
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"type": type_, "timestamp": moment, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def orphan_found_body(*, job_id: str, unix_ms: int, parameters: Mapping[str, str], orphan: Orphan) -> str:
    """The JSON text that tells of a binding which was made for a job and is not the one it ended with.

    Args:
        job_id: for which it was made.
        unix_ms: when it was found.
        parameters: of that job. Of A only a masked form leaves.
        orphan: the binding, and the job that unbinds it, if one does.
    """
    data: dict[str, str | int] = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
        "phone_no_x": orphan.phone_no_x,
        "subs_id": orphan.subs_id,
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
        "unbind_job_id": orphan.unbind_job_id,
    }
    return _event("binding.orphaned", unix_ms, data)


def ping_body(unix_ms: int) -> str:
    """The JSON text of an event that tells of nothing: a person tries whether the receiver takes it."""
    return _event("ping", unix_ms, {"version": PAYLOAD_VERSION})
