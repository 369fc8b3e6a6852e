"""What is asked of a soak, and what comes of it."""

from dataclasses import dataclass, field

from tests.chaos.checker import Violation
from tests.chaos.soak.flatness import Trend
from tests.chaos.soak.verdict import Finding


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for.

    Attributes:
        minutes: how long the load lasts.
        capacity_s: how long the capacity is measured before that.
        load_share: of the capacity.
        per_second: jobs; 0: by the capacity.
        sample_s: time between two samples.
    """

    minutes: float
    seed: int
    capacity_s: float = 20.0
    load_share: float = 0.7
    per_second: float = 0.0
    sample_s: float = 5.0


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        capacity, per_second: jobs a second, as measured and as offered; changes of bindings count.
        load_s, seconds: of the load, and of all.
        counts: of what was followed and judged.
        states: how jobs ended.
        faults: how often each has happened.
        waits_ms: of checkout's orders from acceptance to their end, and of callbacks to healthy receivers from there.
        most: of some figures, over the whole time.
        lives: processes started.
    """

    wishes: Wishes
    capacity: float = 0.0
    per_second: float = 0.0
    load_s: float = 0.0
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    states: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    waits_ms: dict[str, int] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    lives: int = 0
    violations: list[Violation] = field(default_factory=list)
    trends: list[Trend] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    folder: str = ""

    @property
    def is_good(self) -> bool:
        return not self.violations and all(finding.is_good for finding in self.findings)

    def count(self, kind: str) -> int:
        """Broken promises of this kind."""
        return sum(violation.kind == kind for violation in self.violations)
