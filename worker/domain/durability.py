"""How firmly a job stands when `submit` returns."""

from enum import StrEnum

from worker.domain.masking import mask_value
from worker.errors import FieldFault, InvalidRequestError


class Durability(StrEnum):
    """What the caller of `submit` waits for."""

    ACCEPTED = "accepted"
    """Redis holds the job; the disk follows as its `appendfsync` says."""
    FSYNCED = "fsynced"
    """Redis's own disk holds it: a power cut does not lose it."""
    REPLICATED = "replicated"
    """AXN_DURABILITY_REPLICAS replicas hold it in memory: the loss of the primary does not lose it, if one of these
    takes over."""


def parse_durability(given: object) -> Durability:
    """Read a caller's choice.

    Raises:
        InvalidRequestError: it is none of the three.
    """
    try:
        return Durability(given)  # type: ignore[arg-type, unused-ignore]
    except ValueError:
        rule = "must be 'accepted', 'fsynced' or 'replicated'"
        raise InvalidRequestError([FieldFault("durability", mask_value(given), rule)]) from None
