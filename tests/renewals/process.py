"""Processes that renew a binding, and are killed on the way.

    python -m tests.renewals.process REDIS_URL ENDPOINT STEP@BINDING...

Forks a process for each step, one after the other, and prints how each ended.
"""

import asyncio
import os
import sys

from worker.domain.job_ids import partition_of
from worker.ledger.renewal_keys import renewal_id
from worker.redis_scripts import connect
from worker.renewals import gone, renewing
from worker.steps import ENVIRONMENT, observer_of

from .bench import process_at


async def renew(redis_url: str, endpoint: str, binding_id: str) -> None:
    redis = connect(redis_url, timeout_ms=2_000)
    async with process_at(redis, endpoint, hold_ms=200, lease_ms=300) as bench:
        await bench.make_due(binding_id)
        bench.sessions.begin([renewal_id(partition_of(binding_id))])
        await bench.sessions.idle()
    await redis.aclose()


def main(redis_url: str, endpoint: str, *crashes: str) -> None:
    for crash in crashes:
        child = os.fork()
        if not child:
            reached = observer_of({"AXN_ENVIRONMENT": ENVIRONMENT, "AXN_STEPS_CRASH": crash})
            for module in (gone, renewing):
                vars(module)["reached"] = reached
            asyncio.run(renew(redis_url, endpoint, crash.partition("@")[2]))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
