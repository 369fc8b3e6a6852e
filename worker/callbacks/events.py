"""What a callback says."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.domain.job import JobState
from worker.domain.masking import mask_number

PAYLOAD_VERSION = 1
_TYPES = {
    JobState.BOUND: "bind.succeeded",
    JobState.FAILED: "bind.failed",
    JobState.IN_DOUBT: "bind.in_doubt",
    JobState.EXPIRED: "bind.expired",
}


def bind_ended_body(
    *,
    job_id: str,
    state: JobState,
    unix_ms: int,
    attempts: int,
    parameters: Mapping[str, str],
    fields: Mapping[str, str | int],
) -> str:
    """The JSON text of a bind job's end; the same text goes out with every try.

    Args:
        job_id: whose end it is.
        state: which end.
        unix_ms: when.
        attempts: how many were numbered.
        parameters: BindAxn's business parameters. Of A only a masked form leaves.
        fields: what the settlement writes: phone_no_x, subs_id, code and so on.
    """
    data = {
        "version": PAYLOAD_VERSION,
        "job_id": job_id,
        "state": state.value,
        "phone_no_a": mask_number(parameters.get("PhoneNoA", "")),
        "phone_no_x": fields.get("phone_no_x", ""),
        "subs_id": fields.get("subs_id", ""),
        "expiration": parameters.get("Expiration", ""),
        "out_id": parameters.get("OutId", ""),
        "out_order_id": parameters.get("OutOrderId", ""),
        "code": fields.get("code", ""),
        "message": fields.get("message", ""),
        "request_id": fields.get("request_id", ""),
        "attempts": attempts,
        "possible_orphans": fields.get("possible_orphans", 0),
    }
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    event = {"type": _TYPES[state], "timestamp": moment, "data": data}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
