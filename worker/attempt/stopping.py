"""How a process that is told to stop lets go of its jobs: none is begun, none that went out is cut off at once."""

import asyncio
from enum import Enum, auto


class Phase(Enum):
    """How far an attempt has come."""

    QUEUED = auto()
    """It waits for a free slot; nothing is claimed."""
    CLAIMING = auto()
    """The ledger is being asked: cut short now, a lease could be left behind."""
    HELD = auto()
    """The lease is held, nothing is sent."""
    SENDING = auto()
    """The request may be on its way."""
    SETTLING = auto()
    """What is known is being written: never cut short."""


class Stop:
    """Knows each running attempt of this process and its phase. Lives on the process's loop."""

    def __init__(self) -> None:
        self.is_begun = False
        self._phases: dict[asyncio.Task[object], Phase] = {}

    def enter(self, phase: Phase) -> None:
        """The current task's attempt has come so far."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - only coroutines call it
        self._phases[task] = phase

    def leave(self) -> None:
        """The current task's attempt is over."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - as above
        self._phases.pop(task, None)

    def begin(self) -> None:
        """Claim nothing more, and hand back at once what is not sent yet. Attempts under way go on."""
        self.is_begun = True
        self._cut(Phase.QUEUED, Phase.HELD)

    def cut_short(self) -> None:
        """Hand back what is under way, too: its outcome is then unclear, and is found out by whoever comes next."""
        self.is_begun = True
        self._cut(Phase.QUEUED, Phase.HELD, Phase.SENDING)

    def _cut(self, *phases: Phase) -> None:
        for task, phase in list(self._phases.items()):
            if phase in phases:
                task.cancel()
