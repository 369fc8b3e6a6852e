"""Time and sleep, passed in as parameters so that tests need not wait."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def unix_ms(self) -> int:
        """Wall clock, Unix milliseconds."""

    def monotonic_ms(self) -> float:
        """Milliseconds that never jump, from an arbitrary start."""

    async def sleep_ms(self, delay_ms: float) -> None:
        """Wait without blocking the loop."""


class SystemClock:
    """This machine's clock."""

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic() * 1000

    async def sleep_ms(self, delay_ms: float) -> None:
        await asyncio.sleep(max(delay_ms, 0) / 1000)
