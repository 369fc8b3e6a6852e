"""When a binding is renewed, and until when it then lasts. Pure: whole numbers in, whole numbers out.

All moments are Unix ms (UTC) and all spans are ms, so no month's end, leap day or summer time can stretch or shorten
one; Asia/Shanghai is met on the wire only. Expirations are whole seconds there, so targets are whole seconds here.

A policy is filed with its request, where some of it may be left open, and is *begun* when the binding is made: then its
end, its extension and its lead are fixed. One renewal per period: the n-th ends n extensions after the first end, and
never sooner than the one before, however late it is made.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from worker.domain.durations import duration_ms
from worker.domain.expiration import PROVIDER_MINIMUM
from worker.domain.formats import RENEWAL

SECOND_MS, MINUTE_MS = 1_000, 60_000
LEAST_EXTENSION_MS = 2 * MINUTE_MS
"""No renewal adds less: twice what the provider must find ahead, so that the shortest can still be asked for, and more
than a call, its place in the pace and its callback are worth."""
LEAST_LEAD_MS = 10 * MINUTE_MS
"""Of a policy that names no lead."""
DEFAULT_SPREAD = 0.1
MARGIN_MS = duration_ms(PROVIDER_MINIMUM)
"""The provider takes no Expiration that is nearer."""
LATEST_MS = 253_370_678_400_000
"""The end of the year 9998: a moment that every zone can still write."""
_LEAD_SHARE = 10
_SHARES = 2**32


class IfGone(StrEnum):
    """What follows when the binding is no longer there to be renewed."""

    REBIND_SAME_X = "rebind_same_x"
    """Bind A to the same X again; where X is not to be had, to another."""
    REBIND_NEW_X = "rebind_new_x"
    """Bind A to another X."""
    REPORT = "report"
    """Only tell of it."""


@dataclass(frozen=True, slots=True)
class RenewalPolicy:
    """How a binding is kept.

    Attributes:
        until_ms: it is renewed up to this moment, Unix ms; 0: as `for_ms` says, or while its order is open.
        for_ms: the same as a span from the moment that the binding's first length counts from; 0 once it is begun.
        extend_by_ms: one renewal's length; 0 only before it is begun: the binding's first length.
        lead_ms: how long before the end it is renewed; 0 only before it is begun: a tenth of the extension, ten minutes
            at least.
        if_gone: what follows when there is nothing left to renew.
    """

    until_ms: int = 0
    for_ms: int = 0
    extend_by_ms: int = 0
    lead_ms: int = 0
    if_gone: IfGone = IfGone.REBIND_SAME_X

    @property
    def is_while_open(self) -> bool:
        """Whether only `close_order`, an unbind or a rebind ends it."""
        return not self.until_ms and not self.for_ms

    def counted(self, asked_at: int, expires_at: int, length_ms: int = 0) -> "RenewalPolicy":
        """The policy with its span, and its extension, counted from the very moment that the first length counts from.

        Else a `for` of three lengths ends some moments after the third: as long as the request was on its way.

        Args:
            asked_at: by the clock that set the Expiration, Unix ms.
            expires_at: that, Unix ms; 0 where the request sets none.
            length_ms: the span from which it follows; 0 where the request gave a moment.
        """
        began_at = expires_at - length_ms if expires_at and length_ms else asked_at
        return dataclasses.replace(
            self,
            until_ms=self.until_ms or (began_at + self.for_ms if self.for_ms else 0),
            for_ms=0,
            extend_by_ms=self.extend_by_ms or length_ms,
        )

    def begun(self, asked_at: int, expires_at: int) -> "RenewalPolicy":
        """The policy of a binding that is there, with nothing left open. One that is begun stays as it is.

        Args:
            asked_at: when the binding was asked for, Unix ms: it counts from there, as its first length does.
            expires_at: its first end, Unix ms.
        """
        extend_by_ms = max(_whole_seconds_up(self.extend_by_ms or expires_at - asked_at), LEAST_EXTENSION_MS)
        return dataclasses.replace(
            self,
            until_ms=self.until_ms or (asked_at + self.for_ms if self.for_ms else 0),
            for_ms=0,
            extend_by_ms=extend_by_ms,
            lead_ms=self.lead_ms or min(max(extend_by_ms // _LEAD_SHARE, LEAST_LEAD_MS), extend_by_ms // 2),
        )

    def as_json(self) -> str:
        """As a job's record has it: compact, without what is not set."""
        fields: dict[str, int | str] = {
            "until": self.until_ms, "for": self.for_ms, "extend_by": self.extend_by_ms, "lead": self.lead_ms,
        }  # fmt: skip
        told = {name: value for name, value in fields.items() if value}
        if self.is_while_open:
            told["while"] = "open"
        return json.dumps(told | {"if_gone": self.if_gone.value}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "RenewalPolicy":
        """Read `as_json`'s text.

        Raises:
            ValueError: it is no such text.
            NewerFormatError: a newer release's, which may say what this one cannot do.
        """
        told: Any = json.loads(text)
        if not isinstance(told, dict):
            raise ValueError("a renewal policy is a JSON object")  # noqa: TRY004 - a text that does not read as one
        RENEWAL.check(int(told.get("v", 1)))
        until_ms, for_ms, extend_by_ms, lead_ms = (
            int(told.get(name, 0)) for name in ("until", "for", "extend_by", "lead")
        )
        return cls(until_ms, for_ms, extend_by_ms, lead_ms, IfGone(told.get("if_gone", IfGone.REBIND_SAME_X)))


def next_target(policy: RenewalPolicy, expires_at: int, now_ms: int) -> int | None:
    """Until when the next renewal makes the binding last, Unix ms, always a whole second.

    Where the end is still ahead it does not depend on the time: whoever makes this renewal, and however often, asks for
    the same moment. A binding whose end has passed needs as many periods as bring it ahead again, by the lead at least.
    Where less than `LEAST_EXTENSION_MS` would be left for a last renewal, this one takes it along.

    Args:
        policy: begun.
        expires_at: the present end, Unix ms.
        now_ms: Unix ms.

    Returns:
        None where the policy has ended, or ends within `LEAST_EXTENSION_MS`: nothing is to be renewed any more.
    """
    ahead_ms = max(_lead_ms(policy, policy.extend_by_ms) + MARGIN_MS, LEAST_EXTENSION_MS)
    periods = -((expires_at - now_ms - ahead_ms) // policy.extend_by_ms) if expires_at <= now_ms else 1
    latest = min(policy.until_ms or LATEST_MS, LATEST_MS)
    target = expires_at + periods * policy.extend_by_ms
    if latest - target < LEAST_EXTENSION_MS:
        target = latest
    target = target // SECOND_MS * SECOND_MS
    return target if target - max(expires_at, now_ms) >= LEAST_EXTENSION_MS else None


def untold_target(policy: RenewalPolicy, expires_at: int) -> int | None:
    """The end by which a renewal is known whose answer was lost, in Unix ms: what it asked for, before this end.

    It needs no note that Redis might have lost together with the answer. None where there was none to be made.
    """
    return next_target(policy, expires_at, expires_at - 1)


def due_at(
    policy: RenewalPolicy, binding_id: str, expires_at: int, now_ms: int, spread: float = DEFAULT_SPREAD
) -> int | None:
    """When a binding is to be renewed next, Unix ms, never before now; None where its policy has ended.

    The lead before the end, never more than half of what is left, and up to `spread` of the rest earlier: each
    binding's own share, which spreads those that were made in one minute over a window.

    Args:
        policy: begun.
        binding_id: whose.
        expires_at: the present end, Unix ms.
        now_ms: Unix ms: when this end was set.
        spread: 0 to 1.
    """
    if next_target(policy, expires_at, now_ms) is None:
        return None
    left_ms = max(0, expires_at - now_ms)
    free_ms = left_ms - _lead_ms(policy, left_ms)
    return now_ms + free_ms - int(free_ms * spread * share_of(binding_id))


def share_of(binding_id: str) -> float:
    """This binding's own number in [0, 1), for ever the same."""
    return int.from_bytes(hashlib.blake2s(binding_id.encode(), digest_size=4).digest()) / _SHARES


def _lead_ms(policy: RenewalPolicy, length_ms: int) -> int:
    return min(policy.lead_ms, length_ms // 2)


def _whole_seconds_up(span_ms: int) -> int:
    return -(-span_ms // SECOND_MS) * SECOND_MS
