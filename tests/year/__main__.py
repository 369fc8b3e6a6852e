"""`python -m tests.year`: a year of 10,000 bindings in minutes. Ends with 1 if anything happened that should not."""

import argparse
import logging
import sys
import time

from tests.year.report import report_on
from tests.year.scenario import DAY_S, month, year
from tests.year.year import Year

_SCENARIOS = {"year": year, "month": month}


def say(text: str) -> None:
    """To whoever started it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Play one scenario and say what it came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.year", description=__doc__)
    parser.add_argument("--scenario", choices=_SCENARIOS, default="year")
    parser.add_argument("--bindings", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="the same seed orders and breaks the same")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the engine warns of each trouble, thousands of times
    scenario = _SCENARIOS[given.scenario](given.seed, given.bindings)
    began_s = time.monotonic()
    shown_day = -1

    def tell(now_s: float) -> None:
        nonlocal shown_day
        day = int((now_s - scenario.begin_s) / DAY_S)
        if day // 10 > shown_day // 10:
            shown_day = day
            say(f"day {day:3}, {time.monotonic() - began_s:4.0f} s")

    run = Year(scenario, seed=given.seed, tell=tell)
    report = report_on(run.play(), run.troubles())
    say(f"seed {given.seed}, {time.monotonic() - began_s:.0f} s: {report.text()}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
