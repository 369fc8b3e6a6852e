"""What the tests here need to know of processes, and programs for them to run."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

#: Says it is ready, then sleeps; SIGTERM ends it.
SLEEPER = "import time; print('READY', flush=True); time.sleep(600)"
#: As above, but SIGTERM does not end it.
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
#: Starts a child of its own and tells the child's process id.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("READY", child.pid, flush=True)
time.sleep(600)
"""


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


def exists(pid: int) -> bool:
    """Tell whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def runs(pid: int) -> bool:
    """Tell whether there is such a process that is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def wait_until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"did not come true within {within_s} s"
        time.sleep(0.01)
