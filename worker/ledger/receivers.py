"""What all workers know together of a receiver: how many tries it may get at a time, and whether it is there."""

from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from worker.ledger.keys import receiver_key, receiver_places_key
from worker.redis_scripts import load_script


class ReceiverState(StrEnum):
    """What a visit finds."""

    PASSING = "passing"
    FULL = "full"
    """Others have all places that this process does not use already."""
    PROBE = "probe"
    """One try, to find out whether it is back."""
    BLOCKED = "blocked"
    """Its circuit is open."""
    DISABLED = "disabled"
    """By a 410 or a person: no tries at all."""


def kept_for_checkouts(count: int) -> int:
    """How many of so many places or hands only checkouts' callbacks may take, so that a batch never fills them all."""
    return count // 4


@dataclass(frozen=True, slots=True)
class ReceiverRules:
    """Of all receivers.

    Attributes:
        most_places: tries at one receiver at a time, all workers together.
        lease_ms: how long a process that is heard of no more keeps its places: longer than a try.
        failures: so many in a row open the circuit; so do half of the tries of the last half minute or so, if they are
            twice as many.
        first_open_ms, longest_open_ms: how long it stays open: twice as long each time, until a recovery lasts.
        ramp_ms: in which a receiver that is back gets all its places, one after the other.
    """

    most_places: int
    lease_ms: int
    failures: int = 5
    first_open_ms: int = 10_000
    longest_open_ms: int = 300_000
    ramp_ms: int = 15_000

    def places_for(self, *, is_checkout: bool) -> int:
        """Tries at one receiver at a time, as long as the next one is a checkout's, or not."""
        return self.most_places if is_checkout else self.most_places - kept_for_checkouts(self.most_places)


@dataclass(frozen=True, slots=True)
class Told:
    """How a process's tries at a receiver went since its last visit.

    Attributes:
        streak: failures since the last answer.
        is_gone: it said 410.
    """

    answered: int = 0
    failed: int = 0
    streak: int = 0
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """What a visit brings.

    Attributes:
        places: tries that the process may have under way at a time.
        come_back_ms: until it is worth asking for more.
    """

    state: ReceiverState
    places: int
    come_back_ms: int


class ReceiverLedger:
    """The receivers, as one process visits them.

    Args:
        redis: a client that decodes replies to text.
        process: random, of this process.
    """

    def __init__(self, redis: Redis, rules: ReceiverRules, *, process: str) -> None:
        self.rules = rules
        self._process = process
        self._visits = 0
        self._visit = load_script(redis, "worker.ledger", "visit_receiver")

    async def visit(
        self, host: str, told: Told, *, wanted: int, in_use: int, share: float, is_checkout: bool = True
    ) -> Visit:
        """Tell how the tries went and borrow places.

        Args:
            host: the receiver.
            told: since the last visit.
            wanted: places, those in use among them. With none of both this process gives back all it has.
            in_use: places.
            share: a random number in [0, 1) by which an open circuit's time varies.
            is_checkout: whether the place is wanted for a checkout's callback.
        """
        self._visits += 1
        rules = self.rules
        state, places, come_back_ms = await self._visit(
            [receiver_key(host), receiver_places_key(host)],
            [
                self._process, self._visits, wanted, in_use, rules.lease_ms,
                rules.places_for(is_checkout=is_checkout), told.answered, told.failed, told.streak,
                "1" if told.is_gone else "", share, rules.failures, rules.first_open_ms, rules.longest_open_ms,
                rules.ramp_ms,
            ],
        )  # fmt: skip
        return Visit(ReceiverState(state), int(places), int(come_back_ms))
