"""What is wanted of every contestant alike, and what each of its processes tells at the end.

Batch wants four times the limit: so many that wait for a permit, each of whom comes back `hold_s` after its last one.
Checkouts come at random, a tenth of the limit. Instants are seconds of the machine's monotonic clock.
"""

import math
import resource
from dataclasses import dataclass, field

BATCH_FACTOR = 4
CHECKOUT_SHARE = 0.1
_LINE_S = 0.4
_LONGEST_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Demand:
    """All processes together."""

    per_second: int
    processes: int
    seed: int

    @property
    def waiters(self) -> int:
        """Batch calls that wait in each process."""
        return max(1, math.ceil(_LINE_S * self.per_second / self.processes))

    @property
    def line(self) -> int:
        """Batch calls that wait in all processes."""
        return self.waiters * self.processes

    @property
    def hold_s(self) -> float:
        """From a permit to the next wish of the same one."""
        return self.line / (BATCH_FACTOR * self.per_second)

    @property
    def checkouts_per_second(self) -> float:
        """Of all processes."""
        return CHECKOUT_SHARE * self.per_second

    @property
    def wanted_per_second(self) -> float:
        """Batch and checkout."""
        return (BATCH_FACTOR + CHECKOUT_SHARE) * self.per_second


@dataclass(frozen=True, slots=True)
class Timing:
    """When to begin, and from when until when to measure."""

    begin: float
    measure_from: float
    measure_until: float


@dataclass(slots=True)
class Told:
    """What one process did in the time that was measured.

    Attributes:
        cpu_s: user and system time.
        waits: of each checkout: when it was wanted, and how long until the call that was not throttled was sent.
        unserved: when those checkouts were wanted that still wait.
    """

    sent: int = 0
    cpu_s: float = 0.0
    waits: list[tuple[float, float]] = field(default_factory=list)
    unserved: list[float] = field(default_factory=list)


def cpu_s() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def back_again_s(random_share: float) -> float:
    """How long a checkout that was throttled stays away before it wants a permit again."""
    return _LONGEST_PAUSE_S * random_share
