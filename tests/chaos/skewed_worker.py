"""`axn` with a wall clock that is wrong from the start, or jumps while it runs.

    python -m tests.chaos.skewed_worker OFFSET_S[,OFFSET_S…] worker --lanes checkout

The offsets hold one after the other, each for two seconds, the last one for good. Only what asks `time.time` and
`time.time_ns` is misled: the monotonic clock, and with it every timeout, stays true, as with a clock that was set.
"""

import sys
import time

_EACH_S = 2.0


def mislead(offsets_s: list[float]) -> None:
    """Make this process's wall clock wrong."""
    true_time, began = time.time, time.monotonic()

    def offset_s() -> float:
        place = int((time.monotonic() - began) / _EACH_S)
        return offsets_s[min(place, len(offsets_s) - 1)]

    def wrong_time() -> float:
        return true_time() + offset_s()

    time.time = wrong_time
    time.time_ns = lambda: int(wrong_time() * 1e9)


def main() -> None:
    """Mislead first: modules may keep a reference to the functions that they find."""
    mislead([float(offset) for offset in sys.argv.pop(1).split(",")])
    from worker.cli.main import main as axn  # noqa: PLC0415 - after the clock is wrong

    axn()


if __name__ == "__main__":
    main()
