"""Placeholder for the record of bindings."""

from worker.ledger.records import Claim


class UnrecordedReplacements:
    """Keeps no record of bindings."""

    async def replaced(self, claim: Claim) -> None:
        """Nothing to write."""

    async def restored(self, claim: Claim, phone_no_x: str, subs_id: str) -> None:
        """Nothing to write."""
