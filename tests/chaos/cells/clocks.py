"""D: wall clocks that are wrong."""

import asyncio
import sys

from tests.chaos.bench import Bench, Cell

_OFFSETS_S = {"an hour ahead": "3600", "an hour behind": "-3600", "jumping": "0,3600,-3600,0,7200,-7200,0"}
_LOAD_S = 4.0


async def wrong_clocks(bench: Bench) -> None:
    """One of two checkout workers, and the batch worker, have a wrong clock. Provider, Redis and producer do not."""
    system = bench.system
    for name, offsets in _OFFSETS_S.items():
        for worker, lanes in (("checkout-2", "checkout"), ("batch", "batch,renewal,callback")):
            if worker in system.workers:
                await system.retire_worker(worker)
            skewed = [sys.executable, "-m", "tests.chaos.skewed_worker", offsets, "worker", "--lanes", lanes]
            await system.start_worker(worker, lanes, command=[*skewed, "--log-level", "warning"])

        async def kill_the_true_one() -> None:
            await asyncio.sleep(1.0)
            await bench.kill(system.workers["checkout"])

        async with system.provider_fault(kind="close_after", probability=0.05):
            await bench.run(f"clock {name}", kill_the_true_one, over_s=_LOAD_S)


CELLS = (Cell("D1", "wall clocks wrong by an hour, jumping", wrong_clocks, runs=3),)
