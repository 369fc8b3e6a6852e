"""What the pace answers to the wish to send one call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permit:
    """What was answered to the wish to send one call.

    Attributes:
        come_back_ms: 0 with a permit; else how long to wait before it is worth asking again.
        is_stopped: refused because the account is stopped, not because of the rate.
        is_probe: the account is stopped, and this is the one call that finds out whether it is good again.
        epoch: which cut of the rate it was granted after; a throttled call of an older one tells nothing new.
    """

    come_back_ms: int
    is_stopped: bool = False
    is_probe: bool = False
    epoch: int = 0
