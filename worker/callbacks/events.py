"""What a callback says."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.domain.job import JobKind, JobState
from worker.domain.masking import mask_number

PAYLOAD_VERSION = 1
_ENDS = {
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
        kind: of the job, the type's first half.
        job_id: whose end it is.
        state: which end.
        unix_ms: when.
        attempts: how many were numbered.
        parameters: the action's business parameters. Of A only a masked form leaves.
        fields: what the settlement writes: phone_no_x, subs_id, code and so on.
    """
    data = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": state.value,
        **_told_of_binding(kind, parameters, fields),
        "code": fields.get("code", ""),
        "message": fields.get("message", ""),
        "request_id": fields.get("request_id", ""),
        "attempts": attempts,
    }
    if kind is JobKind.BIND:
        data["possible_orphans"] = fields.get("possible_orphans", 0)
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"type": f"{kind.value}.{_ENDS[state]}", "timestamp": moment, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _told_of_binding(
    kind: JobKind, parameters: Mapping[str, str], fields: Mapping[str, str | int]
) -> dict[str, str | int]:
    match kind:
        case JobKind.BIND:
            return {
                "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
                "phone_no_x": fields.get("phone_no_x", ""),
                "subs_id": fields.get("subs_id", ""),
                "expiration": parameters.get("Expiration", ""),
                "out_id": parameters.get("OutId", ""),
                "out_order_id": parameters.get("OutOrderId", ""),
            }
        case JobKind.UPDATE:
            return {
                "phone_no_x": parameters.get("PhoneNoX", ""),
                "subs_id": parameters.get("SubsId", ""),
                "operate_type": parameters.get("OperateType", ""),
                "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
                "expiration": parameters.get("Expiration", ""),
                "out_id": parameters.get("OutId", ""),
            }
        case JobKind.UNBIND:
            return {"phone_no_x": parameters.get("SecretNo", ""), "subs_id": parameters.get("SubsId", "")}
