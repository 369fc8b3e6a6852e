"""Posts many times to each URL given, on a worker's event loop.

Prints KiB that the peak memory grew by, answers, failures.
"""

import asyncio
import sys
from ipaddress import ip_network
from pathlib import Path

import uvloop

from worker.callbacks.client import receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.http import HttpClient, HttpError

_AT_A_TIME = 24
_ROUNDS = 4


def _peak_kib() -> int:
    # Not getrusage: its figure begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0])


async def _is_answered(client: HttpClient, slots: asyncio.Semaphore, url: str) -> bool:
    async with slots:
        try:
            await client.post(url, headers={}, content=b"{}", total_timeout_ms=1_000)
        except HttpError:
            return False
        return True


async def _main(urls: list[str]) -> None:
    rules = ReceiverRules(allow_http=True, allow_nets=[ip_network("127.0.0.1/32")], ports=())
    client = receiver_client(rules, max_connections=_AT_A_TIME, connect_timeout_ms=1_000)
    slots = asyncio.Semaphore(_AT_A_TIME)
    await _is_answered(client, slots, urls[0])
    before = _peak_kib()
    answered = await asyncio.gather(*(_is_answered(client, slots, url) for url in urls * _ROUNDS))
    print(_peak_kib() - before, sum(answered), len(answered) - sum(answered))  # noqa: T201 - for the test that started it
    await client.aclose()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1:]))
