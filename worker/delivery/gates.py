"""What this process knows of the receivers: whether one may be tried, and in how many places at a time.

Places belong to all workers together (`worker.ledger.receivers`). A process borrows as many as it uses and keeps them a
while, so that tries in a row cost no round trip; what it can tell of its tries goes along when it asks for more.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from worker.callbacks.results import Health
from worker.clock import Clock
from worker.ledger.receivers import ReceiverLedger, ReceiverState, Told
from worker.logs import get_log

_log = get_log(__name__)
_TELL_AFTER_MS = 1_000
_KEEP_IDLE_MS = 1_000
_SHUT = (ReceiverState.BLOCKED, ReceiverState.DISABLED)


@dataclass(slots=True)
class Gate:
    """One receiver.

    Attributes:
        places: borrowed; until `kept_until_ms` on this machine's monotonic clock.
        in_use: tries under way.
        reserved: first tries about to begin, which have not asked for a place yet.
        asking: tries that wait for the answer to a visit.
        peak: most places in use since the last visit.
        shut_until_ms: as long as `state` says so, nothing can be had.
        is_full_for_all: a checkout's callback asked, too; else the places kept for those may still be free.
        has_line: callbacks of it wait in its lines, as far as this process knows.
        ended: set at the end of each try.
    """

    state: ReceiverState = ReceiverState.PASSING
    places: int = 0
    kept_until_ms: float = 0
    in_use: int = 0
    reserved: int = 0
    asking: int = 0
    peak: int = 0
    shut_until_ms: float = 0
    visited_ms: float = 0
    is_full_for_all: bool = False
    answered: int = 0
    failed: int = 0
    streak: int = 0
    is_gone: bool = False
    has_line: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: "asyncio.Task[None] | None" = None

    def take_told(self) -> Told:
        told = Told(self.answered, self.failed, self.streak, self.is_gone)
        self.answered, self.failed, self.streak, self.is_gone = 0, 0, 0, False
        return told

    def note(self, health: Health, *, is_gone: bool) -> None:
        if health is Health.ANSWERS:
            self.answered, self.streak = self.answered + 1, 0
        elif health is Health.FAILS:
            self.failed, self.streak = self.failed + 1, self.streak + 1
        self.is_gone |= is_gone


@dataclass(frozen=True, slots=True)
class Entry:
    """Whether a try may begin. If so it holds a place; if not, when it is worth asking again."""

    state: ReceiverState
    come_back_ms: int = 0

    @property
    def is_open(self) -> bool:
        return self.state in (ReceiverState.PASSING, ReceiverState.PROBE)


_ENTERED = Entry(ReceiverState.PASSING)


class Gates:
    """All receivers that this process has lately had to do with.

    Args:
        ledger: what all workers know together.
        try_ms: how long a try may take: a place must surely last for it.
    """

    def __init__(
        self, ledger: ReceiverLedger, *, try_ms: int, clock: Clock, random_share: Callable[[], float] = random.random
    ) -> None:
        self._ledger = ledger
        self._try_ms = try_ms
        self._clock = clock
        self._random_share = random_share
        self._gates: dict[str, Gate] = {}

    def reserve(self, host: str, *, is_checkout: bool) -> bool:
        """Whether a first try may be planned, as far as this process knows without asking."""
        gate, most = self._gate(host), self._ledger.rules.places_for(is_checkout=is_checkout)
        if self._refusal(gate, is_checkout=is_checkout) or gate.in_use + gate.reserved >= most:
            gate.has_line = True  # it will stand there
            return False
        gate.reserved += 1
        return True

    def unreserve(self, host: str) -> None:
        """The planned try begins, or will not be made."""
        self._gate(host).reserved -= 1

    def refusal(self, host: str, *, is_checkout: bool) -> Entry | None:
        """Why no try may begin, if that is known without asking."""
        return self._refusal(self._gate(host), is_checkout=is_checkout)

    async def enter(self, host: str, *, is_checkout: bool) -> Entry:
        """Take a place for one try, borrowing it where needed."""
        gate = self._gate(host)
        if not gate.asking and self._take(gate, is_checkout=is_checkout):
            return _ENTERED
        gate.asking += 1
        try:
            async with gate.lock:
                if not self._take(gate, is_checkout=is_checkout):
                    if refusal := self._refusal(gate, is_checkout=is_checkout):
                        return refusal
                    await self._visit(host, gate, wanted=gate.in_use + gate.asking, is_checkout=is_checkout)
                    if not self._take(gate, is_checkout=is_checkout):
                        return self._refusal(gate, is_checkout=is_checkout) or Entry(ReceiverState.FULL, 250)
                return _ENTERED
        finally:
            gate.asking -= 1

    def leave_now(self, host: str, health: Health) -> bool:
        """Give a place back where there is nothing to tell; False, and nothing is done, where there is."""
        gate = self._gate(host)
        is_usual = health is Health.ANSWERS and gate.state is ReceiverState.PASSING
        if not is_usual or self._clock.monotonic_ms() - gate.visited_ms > _TELL_AFTER_MS:
            return False
        gate.in_use -= 1
        gate.note(health, is_gone=False)
        self._note_end(host, gate)
        return True

    async def leave(self, host: str, health: Health, *, is_gone: bool = False) -> None:
        """Give a place back, and note what its try told of the receiver. Raises nothing."""
        gate = self._gate(host)
        gate.in_use -= 1
        gate.note(health, is_gone=is_gone)
        is_news = health is Health.FAILS or is_gone or gate.state in (ReceiverState.PROBE, ReceiverState.BLOCKED)
        if is_news or self._clock.monotonic_ms() - gate.visited_ms > _TELL_AFTER_MS:
            await self._tell(host, gate)
        self._note_end(host, gate)

    def _note_end(self, host: str, gate: Gate) -> None:
        gate.ended.set()
        if gate.keeper is None:
            gate.keeper = asyncio.create_task(self._keep(host, gate))

    def expect_line(self, host: str, *, is_there: bool) -> None:
        """Note whether callbacks wait in this receiver's lines."""
        gate = self._gate(host)
        gate.has_line = is_there
        self._forget_idle(host, gate)

    def has_line(self, host: str) -> bool:
        """Whether callbacks wait in its lines, as far as this process knows."""
        return self._gate(host).has_line

    async def next_end(self, host: str) -> bool:
        """Wait until a try of this process at this receiver ends. False at once where none is under way."""
        gate = self._gate(host)
        if not gate.in_use:
            return False
        gate.ended.clear()
        await gate.ended.wait()
        return True

    async def aclose(self) -> None:
        """Give back all that was borrowed."""
        await asyncio.gather(*(self._give_back(host, gate) for host, gate in list(self._gates.items())))

    async def _give_back(self, host: str, gate: Gate) -> None:
        if gate.keeper is not None:
            gate.keeper.cancel()
            await asyncio.gather(gate.keeper, return_exceptions=True)
        if gate.places:
            gate.peak = gate.in_use
            await self._tell(host, gate)

    def _gate(self, host: str) -> Gate:
        return self._gates.setdefault(host, Gate())

    def _take(self, gate: Gate, *, is_checkout: bool) -> bool:
        if not self._can_take(gate, is_checkout=is_checkout):
            return False
        gate.in_use += 1
        gate.peak = max(gate.peak, gate.in_use)
        return True

    def _can_take(self, gate: Gate, *, is_checkout: bool) -> bool:
        lasts = self._clock.monotonic_ms() + self._try_ms <= gate.kept_until_ms
        most = min(gate.places, self._ledger.rules.places_for(is_checkout=is_checkout))
        return lasts and gate.in_use < most and gate.state not in _SHUT

    def _refusal(self, gate: Gate, *, is_checkout: bool) -> Entry | None:
        if self._can_take(gate, is_checkout=is_checkout):
            return None
        if is_checkout and gate.state is ReceiverState.FULL and not gate.is_full_for_all:
            return None
        left_ms = gate.shut_until_ms - self._clock.monotonic_ms()
        return Entry(gate.state, int(left_ms) + 1) if left_ms > 0 else None

    async def _visit(self, host: str, gate: Gate, *, wanted: int, is_checkout: bool) -> None:
        told = gate.take_told()
        asked_ms = self._clock.monotonic_ms()
        try:
            visit = await self._ledger.visit(
                host, told, wanted=wanted, in_use=gate.in_use, share=self._random_share(), is_checkout=is_checkout
            )
        except BaseException:
            gate.answered, gate.failed = gate.answered + told.answered, gate.failed + told.failed
            gate.streak, gate.is_gone = gate.streak or told.streak, gate.is_gone or told.is_gone
            raise
        if visit.state is not gate.state and ReceiverState.FULL not in (visit.state, gate.state):
            _log.warning("receiver changed", host=host, state=visit.state.value, was=gate.state.value)
        gate.state, gate.places, gate.visited_ms, gate.peak = visit.state, visit.places, asked_ms, gate.in_use
        gate.is_full_for_all = is_checkout
        gate.kept_until_ms = asked_ms + self._ledger.rules.lease_ms
        is_open = visit.state in (ReceiverState.PASSING, ReceiverState.PROBE)
        gate.shut_until_ms = 0 if is_open else asked_ms + visit.come_back_ms

    async def _tell(self, host: str, gate: Gate) -> None:
        try:
            async with gate.lock:
                # Those who ask make a visit of their own: what is kept for checkouts is not borrowed for them here.
                asked = min(gate.in_use + gate.asking, self._ledger.rules.places_for(is_checkout=False))
                await self._visit(host, gate, wanted=max(asked, gate.in_use, gate.peak), is_checkout=True)
        except (RedisError, OSError) as failure:
            _log.warning("receiver: Redis is away, told later", host=host, error=type(failure).__name__)

    async def _keep(self, host: str, gate: Gate) -> None:
        """While there are tries keep their places; then give them back and forget the receiver."""
        while gate.places or gate.in_use or gate.asking or gate.reserved:
            await self._clock.sleep_ms(_KEEP_IDLE_MS)
            await self._tell(host, gate)
        gate.keeper = None
        self._forget_idle(host, gate)

    def _forget_idle(self, host: str, gate: Gate) -> None:
        is_used = gate.keeper or gate.in_use or gate.asking or gate.reserved or gate.lock.locked()
        if not (is_used or gate.has_line or self._refusal(gate, is_checkout=True)):
            self._gates.pop(host, None)
