"""Real signals in a real process: what each of them begins."""

import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time
from tasks.stop_signals import StopSignals

def say(word):
    print(word, flush=True)

signal.signal(signal.SIGTERM, lambda *_: say("warm shutdown"))
StopSignals(lambda: say("drain"), lambda: say("cut short"), force_after_s=0.05).install()
for name in sys.argv[1:]:
    signal.raise_signal(getattr(signal, name))
if len(sys.argv) > 2 or sys.argv[1] == "SIGQUIT":
    time.sleep(30)
"""


def said(*signals: str) -> tuple[list[str], int]:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *signals], capture_output=True, text=True, timeout=20, check=False
    )
    assert ran.stderr == ""
    return ran.stdout.split("\n")[:-1], ran.returncode


@pytest.mark.parametrize("first", ["SIGTERM", "SIGINT"])
def test_the_first_signal_drains_and_lets_celery_stop(first: str) -> None:
    assert said(first) == (["drain", "warm shutdown"], 0)


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT", "SIGQUIT"])
def test_a_second_signal_cuts_short_and_a_process_that_then_hangs_is_ended(second: str) -> None:
    assert said("SIGTERM", second) == (["drain", "warm shutdown", "cut short"], 1)


def test_sigquit_hands_back_at_once() -> None:
    assert said("SIGQUIT") == (["cut short", "warm shutdown"], 1)
