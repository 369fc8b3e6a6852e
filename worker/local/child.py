"""Runs a command as a child that ends when its parent ends, even by SIGKILL.

On Linux the kernel is asked for it (PR_SET_PDEATHSIG). The request must come from the child itself, and a
`preexec_fn` could deadlock in a parent with threads; so this file is also a small script that asks and then becomes the
command: same process, same pid. Elsewhere there is no such request: a parent killed by SIGKILL leaves its children.

The kernel looks at the thread that started the child, not at the whole process: start children from a thread that lives
as long as they should. Only the child itself is told; what the child starts in turn must look after itself.
"""

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
#: What shells answer for a command that cannot be run.
EXIT_NOT_RUN = 127


def child_command(command: Sequence[str]) -> list[str]:
    """Wrap a command so that it dies with this process; start it with `start_new_session=True`."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def has_ended(pid: int) -> bool:
    """Tell whether a child has ended, without reaping it; an event loop learns of that only a little later."""
    if not hasattr(os, "waitid"):
        # macOS before Python 3.13: the end is then noticed by whoever waits for it.
        return False
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def kill_group(leader_pid: int) -> None:
    """Send SIGKILL to whatever is left of a child's process group; a group that is gone is fine."""
    # macOS answers PermissionError for a group of zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)


def _die_with(parent_pid: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have ended before the request stood; then no signal would ever come.
        if os.getppid() != parent_pid:
            sys.exit("the parent ended before its child began")


def _main() -> None:
    parent_pid, command = int(sys.argv[1]), sys.argv[2:]
    _die_with(parent_pid)
    # Python ignores these two, and a program it becomes would inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 (the command is the caller's own)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(EXIT_NOT_RUN)


if __name__ == "__main__":
    _main()
