"""What a row may ask for, and the fields that it then may give."""

from collections.abc import Mapping
from enum import StrEnum

from worker.domain.bind_request import BindRequest
from worker.domain.change_request import ChangeRequest
from worker.domain.job_request import JobRequest


class Operation(StrEnum):
    """What is to be done; column `op`, or `--op` for all rows."""

    BIND = "bind"
    REBIND = "rebind"
    UNBIND = "unbind"
    MOVE_A = "move-a"
    MOVE_B = "move-b"
    SET_EXPIRATION = "set-expiration"
    SET_RECORDING = "set-recording"
    SET_OUT_ID = "set-out-id"


ASPECT_FIELDS: Mapping[Operation, tuple[str, ...]] = {
    Operation.MOVE_A: ("phone_no_a",),
    Operation.MOVE_B: ("phone_no_b",),
    Operation.SET_EXPIRATION: ("expiration", "expires_in"),
    Operation.SET_RECORDING: ("is_recording_enabled",),
    Operation.SET_OUT_ID: ("out_id",),
}
"""What an update sets; where there are two, either."""

OLD_AND_NEW = {"new_phone_no_x": "phone_no_x", "new_pool_key": "pool_key", "new_out_order_id": "out_order_id"}
"""A rebind's own columns for what would else name its old binding: the fields of the new one's bind request."""

RENEWAL = {
    "renew_until": "until", "renew_for": "for", "renew_while": "while", "extend_by": "extend_by", "renew_lead": "lead",
    "if_gone": "if_gone",
}  # fmt: skip
"""The columns of binds and rebinds for the parts of their requests' `renew`."""

_ROW_OWN = frozenset({"op", "key"})
_NOT_BY_ROW = frozenset({"idempotency_key", "lane", "renew"})
"""Of requests, what the batch itself decides: each row's key, and the lane; and what has columns for its parts."""
_OURS = frozenset(JobRequest.model_fields) - _NOT_BY_ROW
_BIND = frozenset(BindRequest.model_fields) - _NOT_BY_ROW
NAMING_FIELDS = (frozenset(ChangeRequest.model_fields) - frozenset(JobRequest.model_fields)) | {"out_order_id"}
"""What names a binding: all of a change request's own fields, or the OutOrderId that we bound it with."""

FIELDS: Mapping[Operation, frozenset[str]] = {
    Operation.BIND: _ROW_OWN | _BIND | frozenset(RENEWAL),
    Operation.UNBIND: _ROW_OWN | _OURS | NAMING_FIELDS,
    Operation.REBIND: _ROW_OWN | _BIND | NAMING_FIELDS | {"mode", *OLD_AND_NEW} | frozenset(RENEWAL),
    **{
        operation: _ROW_OWN | _OURS | NAMING_FIELDS | frozenset(aspects) for operation, aspects in ASPECT_FIELDS.items()
    },
}
"""By operation, the columns in which a row may have a value."""

ALL_FIELDS = frozenset().union(*FIELDS.values())
