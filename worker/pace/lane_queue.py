"""One lane's line in one process: whoever waits for a permit, and the one who asks for all of them.

Calls that were tried before stand in a line of their own: they cost the retry budget.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from worker.domain.job import Lane
from worker.pace.concurrency import InFlight
from worker.pace.permit import Permit, Refusal
from worker.pace.schedule import Places, Schedule

_MOST_AT_ONCE = 128
_LATE_MS = 250
"""Asking takes time, too: who has just run out of patience takes a place that is there now."""
_LEAST_SPREAD_MS, _MOST_SPREAD_MS = 1_000, 5_000


def refused(lane: Lane, refusal: Refusal, wait_ms: float, random_share: float) -> Permit:
    """No permit, and when to come back; not all at once where many were sent away for the same reason."""
    spread_ms = 0.0 if refusal is Refusal.RATE else min(max(wait_ms, _LEAST_SPREAD_MS), _MOST_SPREAD_MS)
    return Permit(lane, max(1, round(wait_ms + spread_ms * random_share)), refusal)


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in the schedule: when it may be used, in ms of this process's clock."""

    at_ms: float
    permit: Permit
    end: str
    interval_us: int
    is_last: bool


@dataclass(slots=True)
class _Waiter:
    place: "asyncio.Future[_Place | Permit]"
    until_ms: float


class LaneQueue:
    """Permits for one lane, taken from the schedule by the quantum, handed out in the order of asking.

    Args:
        are_retries: whether its calls were tried before.
        random_share: a number in [0, 1), so that those sent away do not come back together.
    """

    def __init__(
        self,
        schedule: Schedule,
        in_flight: InFlight,
        lane: Lane,
        *,
        random_share: Callable[[], float],
        are_retries: bool = False,
    ) -> None:
        self._schedule = schedule
        self._in_flight = in_flight
        self._clock = schedule.clock
        self._lane = lane
        self._are_retries = are_retries
        self._random_share = random_share
        self._waiters: deque[_Waiter] = deque()
        self._asking: asyncio.Task[None] | None = None
        self._closed_until_ms = 0.0
        self._left_waiting = 0

    async def permit(self, *, patience_ms: float) -> Permit:
        """A permit, or when to come back."""
        now_ms = self._clock.monotonic_ms()
        if now_ms + patience_ms < self._closed_until_ms:
            return Permit(self._lane, max(1, round(self._closed_until_ms - now_ms)))
        waiter = _Waiter(asyncio.get_running_loop().create_future(), now_ms + patience_ms)
        self._waiters.append(waiter)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_for_all())
        try:
            place = await waiter.place
            if isinstance(place, Permit):
                return place
            await self._clock.sleep_ms(place.at_ms - self._clock.monotonic_ms())
        except asyncio.CancelledError:
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                self._pass_on(waiter.place.result())
            raise
        return place.permit

    @property
    def waiting(self) -> int:
        """How many had to wait on when the schedule was last asked."""
        return self._left_waiting

    async def aclose(self) -> None:
        """Ask for nothing any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for waiter in self._still_waiting():
            waiter.place.cancel()

    async def _ask_for_all(self) -> None:
        try:
            while self._still_waiting():
                await self._ask_once()
        except Exception as failure:  # noqa: BLE001 - whoever waits gets it, in place of a permit
            for waiter in self._still_waiting():
                waiter.place.set_exception(failure)
            self._waiters.clear()

    async def _ask_once(self) -> None:
        waiting = self._still_waiting()
        patience_ms = max(0.0, max(waiter.until_ms for waiter in waiting) - self._clock.monotonic_ms())
        slots = await self._slots(min(len(waiting), _MOST_AT_ONCE), patience_ms)
        if not slots:
            return
        granted = 0
        try:
            places = await self._schedule.ask(
                self._lane, slots, longest_wait_ms=patience_ms, are_retries=self._are_retries
            )
            granted = places.granted
        finally:
            self._in_flight.give_back(self._lane, slots - granted)
        now_ms = self._clock.monotonic_ms()
        if places.granted:
            self._hand_out(places, now_ms)
            closed_ms = places.again_ms
        else:
            self._send_away(places, now_ms)
            closed_ms = places.wait_ms
        self._left_waiting = len(self._still_waiting())
        if self._left_waiting:
            self._closed_until_ms = now_ms + closed_ms
            await self._clock.sleep_ms(closed_ms)

    async def _slots(self, wanted: int, patience_ms: float) -> int:
        """Slots for calls in flight; 0 where all are taken for longer than anybody's patience."""
        slots = self._in_flight.take(self._lane, wanted)
        if slots:
            return slots
        room = asyncio.ensure_future(self._in_flight.room(self._lane))
        patience = asyncio.ensure_future(self._clock.sleep_ms(patience_ms))
        try:
            await asyncio.wait({room, patience}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            room.cancel()
            patience.cancel()
        now_ms = self._clock.monotonic_ms()
        for waiter in self._still_waiting():
            if now_ms >= waiter.until_ms:
                waiter.place.set_result(refused(self._lane, Refusal.IN_FLIGHT, 0, self._random_share()))
        return self._in_flight.take(self._lane, min(wanted, len(self._still_waiting())))

    def _hand_out(self, places: Places, now_ms: float) -> None:
        interval_us = int(places.interval_ms * 1000)
        for number in range(places.granted):
            place = _Place(
                now_ms + places.wait_ms + number * places.interval_ms,
                places.permit(self._lane),
                places.end,
                interval_us,
                is_last=number == places.granted - 1,
            )
            self._pass_on(place)

    def _pass_on(self, place: _Place | Permit) -> None:
        """To the next who can wait for it; a place that nobody wants goes back if it is the lease's last."""
        if isinstance(place, Permit):
            return
        for waiter in self._still_waiting():
            if place.at_ms <= waiter.until_ms + _LATE_MS:
                waiter.place.set_result(place)
                return
            come_back_ms = place.at_ms - self._clock.monotonic_ms()
            waiter.place.set_result(refused(self._lane, Refusal.RATE, come_back_ms, self._random_share()))
        self._in_flight.give_back(self._lane)
        if place.is_last and not (place.permit.is_probe or place.permit.is_circuit_probe):
            self._schedule.give_back(place.end, place.interval_us)

    def _send_away(self, places: Places, now_ms: float) -> None:
        """Those whose patience the wait exceeds; all of them where more than the rate is in the way."""
        waiting = self._still_waiting()
        is_rate = places.refusal is Refusal.RATE
        come_back_ms = max(places.wait_ms, len(waiting) * places.interval_ms) if is_rate else places.wait_ms
        for waiter in waiting:
            if not is_rate or now_ms + places.wait_ms >= waiter.until_ms:
                waiter.place.set_result(refused(self._lane, places.refusal, come_back_ms, self._random_share()))

    def _still_waiting(self) -> deque[_Waiter]:
        self._waiters = deque(waiter for waiter in self._waiters if not waiter.place.done())
        return self._waiters
