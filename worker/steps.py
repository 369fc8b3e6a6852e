"""Named boundaries between the steps of a submission, an attempt, a callback and a tick, for tests that kill there.

Outside those tests `reached` is an empty function. With AXN_ENVIRONMENT=chaos two variables switch it on, read once at
import, so that no production process can be made to end by them alone:

    AXN_STEPS_HISTORY=FOLDER       each step is added to FOLDER/<pid>.jsonl before it counts as reached
    AXN_STEPS_CRASH=STEP[+MS][@JOB][:N]
                                   the process ends (as by SIGKILL: nothing is flushed or handed back) when it
                                   reaches STEP for the N-th time (default 1; with @JOB only that job's count), MS later

`worker.steps.STEPS` names them all.
"""

import json
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

ENVIRONMENT = "chaos"
EXIT_CRASHED = 137
STEPS = (
    "producer.accepting",  # nothing is filed yet
    "producer.filed",  # the ledger has it, nobody is told
    "producer.published",  # the message is out, the caller has no reply yet
    "attempt.received",  # a message is taken up, nothing is claimed
    "attempt.claimed",  # the lease is held, the attempt is numbered, nothing is sent
    "attempt.sending",  # the permit is there, the request goes out next
    "attempt.answered",  # the provider's answer is known here alone
    "attempt.settled",  # the ledger has the outcome and the callback it owes
    "attempt.done",  # all jobs of the message are dealt with, the message is not acknowledged
    "renewal.sending",  # the binding is held, the request goes out next
    "renewal.answered",  # the provider's answer is known here alone
    "renewal.settled",  # the ledger has the new end
    "renewal.gone",  # it is said that the binding is bound anew, the job is not filed
    "callback.answered",  # the receiver's answer to a try is known here alone
    "batch.made",  # a batch is there, without any row
    "batch.stored",  # a chunk of its rows is there; perhaps not all are
    "batch.sealed",  # it begins, and whoever started it is not told yet
    "batch.filed",  # rows of a batch are jobs, nothing is published
    "batch.fed",  # they are published, the batch's cursor stands before them
    "tick.taken",  # due entries are pushed forward, nothing is published
    "tick.published",  # all messages are out
)
_CRASH = re.compile(r"(?P<step>[a-z.]+)(\+(?P<delay>\d+))?(@(?P<job>\w+))?(:(?P<pass>\d+))?")


class Reached(Protocol):
    """Called at each boundary, with what an observer needs to judge the order of things. Never with a number."""

    def __call__(self, step: str, job_id: str = "", **facts: Any) -> None: ...


def _unobserved(step: str, job_id: str = "", **facts: Any) -> None:
    pass


class _Observer:
    def __init__(self, history: str, crash: str) -> None:
        self._folder = Path(history) if history else None
        self._lock = threading.Lock()
        self._files: dict[int, int] = {}
        match = _CRASH.fullmatch(crash) if crash else None
        if crash and (match is None or match["step"] not in STEPS):
            raise ValueError(f"AXN_STEPS_CRASH: must be STEP[+MS][@JOB][:N] with a step of {', '.join(STEPS)}")
        self._crash_step = match["step"] if match else ""
        self._crash_job = (match["job"] if match else "") or ""
        self._delay_s = int((match["delay"] if match else None) or 0) / 1000
        self._passes_left = int((match["pass"] if match else None) or 1)

    def __call__(self, step: str, job_id: str = "", **facts: Any) -> None:
        with self._lock:
            if self._folder is not None:
                self._write({"step": step, "job_id": job_id, **facts})
            if step != self._crash_step or (self._crash_job and job_id != self._crash_job):
                return
            self._passes_left -= 1
            if self._passes_left == 0:
                self._crash()

    def _write(self, event: Mapping[str, Any]) -> None:
        pid = os.getpid()
        assert self._folder is not None  # noqa: S101 - the caller has looked
        if pid not in self._files:
            self._files[pid] = os.open(self._folder / f"{pid}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        line = {"pid": pid, "unix_ms": time.time_ns() // 1_000_000, "monotonic_ns": time.monotonic_ns(), **event}
        os.write(self._files[pid], json.dumps(line).encode() + b"\n")

    def _crash(self) -> None:
        if not self._delay_s:
            os._exit(EXIT_CRASHED)
        timer = threading.Timer(self._delay_s, os._exit, [EXIT_CRASHED])
        timer.daemon = True
        timer.start()


def observer_of(environment: Mapping[str, str]) -> Reached:
    """What `reached` is under these variables."""
    history, crash = environment.get("AXN_STEPS_HISTORY", ""), environment.get("AXN_STEPS_CRASH", "")
    if environment.get("AXN_ENVIRONMENT") != ENVIRONMENT or not (history or crash):
        return _unobserved
    return _Observer(history, crash)


reached: Reached = observer_of(os.environ)
