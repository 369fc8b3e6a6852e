"""What the pace answers to the wish to send one call."""

from dataclasses import dataclass
from enum import IntEnum

from worker.domain.job import Lane


class Refusal(IntEnum):
    """Why there is no permit; the numbers are `acquire.lua`'s, but for the last, which is this process's own."""

    RATE = 0
    ACCOUNT_STOPPED = 1
    CIRCUIT_OPEN = 2
    PAUSED = 3
    RETRY_BUDGET = 4
    IN_FLIGHT = 5

    @property
    def code(self) -> str:
        """As a job's code."""
        return _CODES[self]


_CODES = {
    Refusal.RATE: "pace.busy",
    Refusal.ACCOUNT_STOPPED: "account.stopped",
    Refusal.CIRCUIT_OPEN: "circuit.open",
    Refusal.PAUSED: "pace.paused",
    Refusal.RETRY_BUDGET: "retry.budget",
    Refusal.IN_FLIGHT: "pace.in_flight",
}


@dataclass(frozen=True, slots=True)
class Permit:
    """What was answered to the wish to send one call. One that is granted is to be reported, or told to be unused.

    Attributes:
        lane: whose it is.
        come_back_ms: 0 with a permit; else how long to wait before it is worth asking again.
        refusal: why there is none; tells nothing with a permit.
        is_probe: the account is stopped, and this is the one call that finds out whether it is good again.
        is_circuit_probe: the endpoint's circuit is open, and this is the one call that finds out whether it answers.
        epoch: which cut of the rate it was granted after; a throttled call of an older one tells nothing new.
    """

    lane: Lane
    come_back_ms: int = 0
    refusal: Refusal = Refusal.RATE
    is_probe: bool = False
    is_circuit_probe: bool = False
    epoch: int = 0
