"""The names of the pace in Redis."""

import hashlib
from dataclasses import dataclass


def account_of(access_key_id: str) -> str:
    """A short name for the account, so that no key id stands in a Redis key."""
    return hashlib.sha256(access_key_id.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class PaceKeys:
    """The names in Redis of what one action's pace is made of, all in one slot."""

    account: str
    action: str
    endpoint: str

    @property
    def stop(self) -> str:
        """The stop of the account, for all its actions."""
        return f"axn1:{{pace:{self.account}}}:stop"

    @property
    def circuit(self) -> str:
        """The circuit of the endpoint, for all actions."""
        return f"axn1:{{pace:{self.account}}}:circuit:{self.endpoint}"

    @property
    def schedule(self) -> str:
        """Whose turn it is, and how fast."""
        return self._of_action("schedule")

    @property
    def orders(self) -> str:
        """What the operator wants."""
        return self._of_action("orders")

    @property
    def waiting(self) -> str:
        """Who waits for a permit."""
        return self._of_action("waiting")

    @property
    def all(self) -> list[str]:
        """In `acquire.lua`'s order."""
        return [self.schedule, self.stop, self.circuit, self.orders, self.waiting]

    def _of_action(self, what: str) -> str:
        return f"axn1:{{pace:{self.account}}}:{self.action}:{what}"
