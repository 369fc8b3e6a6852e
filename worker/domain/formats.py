"""The versions of what outlives a process, and so may meet an older or a newer release than the one that wrote it.

A version is told only where it says something: it rises when an older release could not work on the thing as it is
meant. A field that older releases may leave out of account changes no version. docs/decisions/0042 has the rules.
"""

from dataclasses import dataclass

from worker.errors import AxnError


class NewerFormatError(AxnError):
    """Something was written by a newer release than this one can read. It is whole, and a newer worker's business."""


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of thing.

    Attributes:
        reads: up to which version this release can work on it; all from 1 on.
        writes: which version this release makes. It follows `reads` one release later: docs/upgrading.md.
    """

    name: str
    reads: int = 1
    writes: int = 1

    def check(self, version: int) -> None:
        """Raises NewerFormatError where this release cannot read this version."""
        if version > self.reads:
            raise NewerFormatError(f"a {self.name} of version {version}; this release reads up to {self.reads}")


MESSAGE = Format("message")
"""Field `v` of what Celery carries."""
JOB = Format("job")
"""Field `v` of a job's record: what it takes to work on this very job."""
CALLBACK = Format("callback")
"""Field `v` of an owed callback's record."""
BATCH = Format("batch")
"""Field `v` of a batch's record, absent for 1: of its options and rows, too."""
RENEWAL = Format("renewal")
"""Member `v` of a binding's policy, absent for 1."""
FORMATS = (MESSAGE, JOB, CALLBACK, BATCH, RENEWAL)
