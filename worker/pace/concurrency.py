"""How many provider calls one process has in flight, beside the rate: a bound, and a cap that protects the provider.

Checkout comes first: a free slot goes to the checkout that has waited longest, and the other lanes leave the last tenth
of the cap alone. All runs on one event loop; nothing here waits except in `enter` and `room`.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

from worker.clock import Clock
from worker.domain.job import Lane
from worker.logs import get_log
from worker.pace.latency_cap import LatencyCap

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Who waits for a slot: True when it is his, False when his patience has run out."""

    lane: Lane
    slot: "asyncio.Future[bool]"


@dataclass(frozen=True, slots=True)
class _Pump:
    """Who waits until it is worth taking slots."""

    lane: Lane
    is_room: "asyncio.Future[None]"


class InFlight:
    """Slots for calls. Each that was got ends by exactly one `done` or `give_back`, of the same lane.

    Args:
        most: the most calls at once; the cap never exceeds it.
        floor: what the cap never falls below, `most` if that is less.
        checkout_share: the share of the cap that only checkout uses; at least one slot, but never all of them.

    Raises:
        ValueError: no call could be sent.
    """

    def __init__(self, most: int, clock: Clock, *, floor: int = 4, checkout_share: float = 0.1) -> None:
        if most < 1 or floor < 1:
            raise ValueError(f"most and floor must be at least 1, not {most} and {floor}")
        self._clock = clock
        self._cap = LatencyCap(most, floor=floor)
        self._checkout_share = checkout_share
        self._taken: Counter[Lane] = Counter()
        self._in_flight = 0
        self._checkouts: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()
        self._pumps: list[_Pump] = []
        self._turns: Counter[Lane] = Counter()

    @property
    def cap(self) -> int:
        """How many may be in flight now. More are, for a time, after it fell."""
        return self._cap.calls

    @property
    def in_flight(self) -> int:
        """Slots that are taken."""
        return self._in_flight

    @property
    def usual_ms(self) -> float:
        """The latency that counts as usual; 0 while none is known."""
        return self._cap.usual_ms

    def take(self, lane: Lane, wanted: int) -> int:
        """As many of the wanted slots as are free for this lane: 0 to `wanted`.

        Nobody is overtaken: a slot that somebody waits for is never free, it is handed on when it is freed.
        """
        granted = max(0, min(wanted, self._room(lane)))
        if granted:
            self._occupy(lane, granted)
            self._turns[lane] = max(self._turns.values(), default=0) + 1
        return granted

    async def enter(self, lane: Lane, patience_ms: float) -> bool:
        """Wait for one slot: checkouts in the order of asking, after them the others in theirs.

        Returns:
            False if there was none within patience_ms. Nothing is taken then, nor when the wait is cancelled.
        """
        if self.take(lane, 1):
            return True
        if patience_ms <= 0:
            return False
        waiter = _Waiter(lane, asyncio.get_running_loop().create_future())
        (self._checkouts if lane is Lane.CHECKOUT else self._others).append(waiter)
        patience = asyncio.create_task(self._run_out(waiter, patience_ms))
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            if not waiter.slot.cancelled() and waiter.slot.result():
                self.give_back(lane)
            raise
        finally:
            patience.cancel()

    async def room(self, lane: Lane) -> None:
        """Wait until `take` may succeed for this lane. Somebody else may be faster: then wait again.

        The lane whose last take is longest ago is woken first, so that none starves beside another.
        """
        if self._room(lane) > 0:
            return
        pump = _Pump(lane, asyncio.get_running_loop().create_future())
        self._pumps.append(pump)
        try:
            await pump.is_room
        finally:
            if pump in self._pumps:
                self._pumps.remove(pump)

    def give_back(self, lane: Lane, count: int = 1) -> None:
        """Free slots whose call tells nothing of the provider's load: never sent, or refused for its rate."""
        self._free(lane, count)
        self._serve()

    def done(self, lane: Lane, latency_ms: float, *, is_overload: bool) -> None:
        """Free the slot of a call that ended after latency_ms; is_overload: by a timeout or a 5xx."""
        in_flight = self._in_flight
        self._free(lane, 1)
        self._cap.ended(latency_ms, is_overload=is_overload, in_flight=in_flight, now_ms=self._clock.monotonic_ms())
        self._serve()

    def _room(self, lane: Lane) -> int:
        cap = self.cap
        if lane is not Lane.CHECKOUT:
            cap -= min(max(1, int(cap * self._checkout_share)), cap - 1)
        return cap - self._in_flight

    def _occupy(self, lane: Lane, count: int) -> None:
        self._taken[lane] += count
        self._in_flight += count

    def _free(self, lane: Lane, count: int) -> None:
        """Never raises: an answer of the provider is in somebody's hands."""
        freed = min(count, self._taken[lane])
        if freed != count:
            _log.error("concurrency: more slots given back than held", lane=lane.value, given_back=count, held=freed)
        self._taken[lane] -= freed
        self._in_flight -= freed

    def _serve(self) -> None:
        """Hand free slots on, then wake all who would take some: one that takes none must not keep others back."""
        for line in (self._checkouts, self._others):
            while (waiter := _first(line)) and self._room(waiter.lane) > 0:
                line.popleft()
                self._occupy(waiter.lane, 1)
                waiter.slot.set_result(True)
        for pump in sorted(self._pumps, key=lambda pump: self._turns[pump.lane]):
            if self._room(pump.lane) > 0:
                self._pumps.remove(pump)
                if not pump.is_room.done():
                    pump.is_room.set_result(None)

    async def _run_out(self, waiter: _Waiter, patience_ms: float) -> None:
        await self._clock.sleep_ms(patience_ms)
        if not waiter.slot.done():
            waiter.slot.set_result(False)


def _first(line: deque[_Waiter]) -> _Waiter | None:
    """Who has waited longest and waits still."""
    while line and line[0].slot.done():
        line.popleft()
    return line[0] if line else None
