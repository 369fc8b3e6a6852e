"""What happened, as the checker reads it: events of producers and workers, records, bindings."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NS_PER_MS = 1_000_000
BIND_ACTION = "BindAxn"
ORDINARY_ENDS = frozenset({"bound", "in_doubt"})
"""How a job may end that nothing refuses: `in_doubt` only where an answer was lost; the table counts those."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One accepted order.

    Attributes:
        accepted_ms: when the producer was told, Unix ms.
        fault_ended_ms: when the last fault of its run had ended, Unix ms.
        may_end: states that are right for it.
        may_vanish: its record was deleted on purpose.
        receiver: the host that its callback goes to; empty without one.
    """

    order: str
    job_id: str
    accepted_ms: int
    on_doubt: str = "hold"
    fault_ended_ms: int = 0
    may_end: frozenset[str] = ORDINARY_ENDS
    may_vanish: bool = False
    receiver: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A job as the ledger shows it."""

    state: str
    phone_no_x: str = ""
    subs_id: str = ""
    code: str = ""
    accepted_at: int = 0
    finished_at: int = 0
    possible_orphans: int = 0
    fence: int = 0
    callback_state: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state not in ("accepted", "submitting", "waiting")

    @classmethod
    def from_hash(cls, found: dict[str, str]) -> "Record | None":
        """Read the documented fields; None where there is no record."""
        if not found:
            return None
        return cls(
            state=found.get("state", ""),
            phone_no_x=found.get("phone_no_x", ""),
            subs_id=found.get("subs_id", ""),
            code=found.get("code", ""),
            accepted_at=int(found.get("accepted_at") or 0),
            finished_at=int(found.get("finished_at") or 0),
            possible_orphans=int(found.get("possible_orphans") or 0),
            fence=int(found.get("fence") or 0),
            callback_state=found.get("callback_state", ""),
        )


@dataclass(frozen=True, slots=True)
class SandboxBinding:
    """What the provider made. `phone_no_a` and `expires` (as the provider writes it) are as they are now."""

    order: str
    phone_no_x: str
    subs_id: str
    is_live: bool
    phone_no_a: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step that a worker wrote down. `at_ns` is the machine's monotonic clock, the same for all processes."""

    step: str
    job_id: str
    pid: int
    at_ns: int
    fence: int = 0
    attempt: int = 0
    token: str = ""
    knowledge: str = ""
    state: str = ""
    is_settled: bool = False
    action: str = BIND_ACTION


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a process (0: any) may have learnt late what happened before: it slept, or the network did."""

    pid: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Death:
    """When a process ended: what it did last may be written nowhere."""

    pid: int
    at_ns: int


def read_steps(folder: Path) -> list[Step]:
    """All steps in the folder, by time. A last line that a kill cut short is left out."""
    steps = [step_of(event) for path in sorted(folder.glob("*.jsonl")) for event in _lines(path)]
    return sorted((step for step in steps if step is not None), key=lambda step: step.at_ns)


def step_of(event: dict[str, Any]) -> Step | None:
    """The step that a line tells; None for one of no job."""
    if not event.get("job_id"):
        return None
    return Step(
        step=event["step"],
        job_id=event["job_id"],
        pid=event["pid"],
        at_ns=event["monotonic_ns"],
        fence=int(event.get("fence", 0)),
        attempt=int(event.get("attempt", 0)),
        token=event.get("token", ""),
        knowledge=event.get("knowledge", ""),
        state=event.get("state", ""),
        is_settled=bool(event.get("is_settled", False)),
        action=event.get("action", BIND_ACTION),
    )


@dataclass(frozen=True, slots=True)
class ProducerHistory:
    """What a producer was told.

    Attributes:
        accepted: by order, its job's id and when the producer was told, Unix ms.
        refused: by order, the error's name.
        unforeseen: names of undocumented errors.
    """

    accepted: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unforeseen: set[str] = field(default_factory=set)

    def note(self, event: dict[str, Any]) -> None:
        """Take in a line of its file."""
        match event["event"]:
            case "ok":
                self.accepted.setdefault(event["order"], (event["job_id"], event["unix_ms"]))
            case "fail":
                self.refused[event["order"]] = event["error"]
            case "info" if not event.get("is_foreseen", True):
                self.unforeseen.add(event["error"])


def read_producer(path: Path) -> ProducerHistory:
    """Read one producer's file, of all its lives."""
    history = ProducerHistory()
    for event in _lines(path):
        history.note(event)
    return history


@dataclass
class Tail:
    """A history that is read while it grows: each line once, when it is whole."""

    path: Path
    _offset: int = 0

    def new_events(self) -> list[dict[str, Any]]:
        """What was added since; nothing where there is no file yet. A line that a kill cut short is left out."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return list(_events(whole.decode().splitlines()))


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    if not path.exists():
        return
    yield from _events(path.read_text(encoding="utf-8").splitlines())


def _events(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
