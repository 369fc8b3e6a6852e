"""One action's pace, as the settings say."""

from dataclasses import dataclass

from worker.domain.job import Lane


@dataclass(frozen=True, slots=True)
class ProbeRules:
    """How a stopped account is probed, in ms: the first interval, doubling up to the longest, and one probe's time."""

    first_interval_ms: int = 5_000
    longest_interval_ms: int = 300_000
    probe_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How many calls that were tried before may be sent, over all workers.

    Attributes:
        per_second: in any case.
        share: and so many for each call that was processed.
    """

    per_second: float = 10.0
    share: float = 0.2


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """When calls to an endpoint are held back.

    Attributes:
        least: unanswered calls lately (50 calls or 10 s, and up to twice that) without which it stays closed.
        share: of the calls, unanswered, from which it opens.
        first_interval_ms: until the first probe; doubles with each that fails.
        longest_interval_ms: its bound.
    """

    least: int = 10
    share: float = 0.5
    first_interval_ms: int = 1_000
    longest_interval_ms: int = 30_000


@dataclass(frozen=True, slots=True)
class PaceRules:
    """One action's pace.

    Attributes:
        per_second: the most calls in any second, over all workers, unless the operator says otherwise.
        depth_us: per lane, how far ahead of now the schedule may run for it. Checkout's is the burst.
        assured_share: the share of the rate that each lane below checkout gets in any case.
        probes: of a stopped account.
        retries: what calls that were tried before may cost.
        circuit: of the endpoint.
    """

    per_second: float
    depth_us: dict[Lane, int]
    assured_share: float = 0.05
    probes: ProbeRules = ProbeRules()
    retries: RetryBudget = RetryBudget()
    circuit: CircuitRules = CircuitRules()
