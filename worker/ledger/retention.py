"""How long finished jobs stay on record, by their state."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worker.domain.job import JobState


@dataclass(frozen=True, slots=True)
class Retention:
    """Milliseconds after the end; a bound job stays as long as its binding is known, too.

    Attributes:
        usual_ms: of states that have no time of their own.
        by_state: of those that have.
    """

    usual_ms: int
    by_state: Mapping[JobState, int] = field(default_factory=dict)

    def ms(self, state: JobState) -> int:
        """How long a job of this state stays."""
        return self.by_state.get(state, self.usual_ms)
