"""What an attempt came to: the one vocabulary between the provider's answers and the attempt that acts on them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """What must follow from an answer, or from its absence."""

    DONE = "done"
    """The provider did it and said so."""
    THROTTLED = "throttled"
    """Over the rate: not processed, costs the job nothing, come back later."""
    NOT_PROCESSED = "not_processed"
    """Certainly not done, for a passing reason: may be tried again with a new nonce."""
    AMBIGUOUS = "ambiguous"
    """May or may not have been done. Never simply tried again."""
    NONCE_USED = "nonce_used"
    """The same nonce has reached the provider before: an earlier copy of this attempt arrived."""
    WRONG_REQUEST = "wrong_request"
    """This request can never succeed."""
    ACCOUNT = "account"
    """Key, permission, arrears or configuration: no request of this account can succeed until somebody mends it."""
    NO_NUMBER = "no_number"
    """The pool has no free number."""
    CONFLICT = "conflict"
    """The chosen X is taken."""
    GONE = "gone"
    """The binding does not exist (any more)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's end, already judged.

    Attributes:
        verdict: what must follow.
        code: the provider's Code, or for transport failures a name of ours such as `transport.connect_refused`.
        message: the provider's Message, numbers masked; never a string to sign.
        request_id: the provider's RequestId, or empty.
        http_status: 0 where no answer came.
        retry_after_ms: the server's own delay, 0 where it named none.
        answer: the parsed body with the wire's field names; empty where none could be read.
    """

    verdict: Verdict
    code: str
    message: str = ""
    request_id: str = ""
    http_status: int = 0
    retry_after_ms: int = 0
    answer: Mapping[str, Any] = field(default_factory=dict)
