"""The leases that this process holds: renewed while their attempts run, and looked at before anything is sent."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from redis.exceptions import RedisError

from worker.clock import Clock
from worker.domain.job import Lane
from worker.ledger.ledger import Ledger
from worker.ledger.records import Claim
from worker.logs import get_log

_log = get_log(__name__)
_RENEWALS_PER_LEASE = 3


@dataclass(slots=True, eq=False)
class Lease:
    """One claim and how long it surely holds.

    Attributes:
        confirmed_ms: this process's monotonic clock just before Redis was asked for the lease, or for the last renewal:
            by Redis's clock, too, it holds for at least lease_ms from then.
        claimed_ms: the same clock when the claim's answer was there, at the claim's `now_ms` by Redis's clock.
        is_lost: Redis has told that somebody else owns the job.
        is_sending: a request may be on its way: cut short, its outcome is not known.
    """

    claim: Claim
    confirmed_ms: float
    claimed_ms: float
    is_lost: bool = False
    is_sending: bool = False


class Leases:
    """All of this process.

    Args:
        lease_ms: how long a claim or a renewal holds. Redis's clock ends it; this process's only tells how much is
            left at the least, so it never believes in a lease that has run out.
    """

    def __init__(self, ledger: Ledger, *, lease_ms: int, clock: Clock) -> None:
        self._ledger = ledger
        self._lease_ms = lease_ms
        self._clock = clock
        self._held: set[Lease] = set()

    def __len__(self) -> int:
        return len(self._held)

    def by_lane(self) -> dict[Lane, int]:
        """How many are held of each lane's jobs."""
        return dict.fromkeys(Lane, 0) | Counter(lease.claim.lane for lease in self._held)

    def hold(self, claim: Claim, asked_ms: float) -> Lease:
        """Keep this claim's lease alive until `let_go`."""
        lease = Lease(claim, asked_ms, self._clock.monotonic_ms())
        self._held.add(lease)
        return lease

    def let_go(self, lease: Lease) -> None:
        """It is settled or given up."""
        self._held.discard(lease)

    async def covers(self, lease: Lease, needed_ms: int) -> bool:
        """Whether the job is surely ours for so long from now; renewed first where it is not.

        A process that slept finds out here. What a sleep between this look and the sending does is caught by the nonce:
        whoever took the job over sends the same one, and the provider serves only one of the two.
        """
        if not lease.is_lost and self._left_ms(lease) < needed_ms:
            await self._renew([lease])
        return not lease.is_lost and self._left_ms(lease) >= needed_ms

    def _left_ms(self, lease: Lease) -> float:
        return lease.confirmed_ms + self._lease_ms - self._clock.monotonic_ms()

    async def run(self) -> None:
        """Renew what is held until cancelled. A Redis that is away is waited for."""
        pause_ms = self._lease_ms / _RENEWALS_PER_LEASE
        while True:
            await self._clock.sleep_ms(pause_ms / 2)
            old = [lease for lease in self._held if self._left_ms(lease) < self._lease_ms - pause_ms / 2]
            if old:
                try:
                    await self._renew(old)
                except (RedisError, OSError) as failure:
                    _log.warning("leases: Redis is away, renewing again", error=type(failure).__name__)

    async def _renew(self, leases: list[Lease]) -> None:
        asked_ms = self._clock.monotonic_ms()
        async with asyncio.timeout(self._lease_ms / 1000):
            answers = await self._ledger.renew([lease.claim for lease in leases], lease_ms=self._lease_ms)
        for lease, is_renewed in zip(leases, answers, strict=True):
            if is_renewed:
                lease.confirmed_ms = asked_ms
            elif lease in self._held:
                lease.is_lost = True
