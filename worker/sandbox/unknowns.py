"""What the provider's documents leave open and only a real account can tell: each answer can be played."""

from dataclasses import dataclass
from typing import Literal, get_args

SameA = Literal["second_x", "refuse"]
Ended = Literal["status_0", "not_exist"]
NonceBurnedBy = Literal["received", "signed", "accepted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknowns:
    """How to play what is not known; the defaults are what seems most likely.

    Attributes:
        strict_city: Keys of the pools in which a city without a free number is isv.NO_AVAILABLE_NUMBER rather than
            a number of another city.
        same_a: What a second binding of an A in the same pool gets: `second_x`, or `refuse` (isv.NO_AVAILABLE_NUMBER).
        lapsed_detail: QuerySubscriptionDetail of a binding that ran out: `status_0`, or `not_exist`.
        unbound_detail: The same of a binding that was unbound.
        lapsed_ids_shown: Whether QuerySubsId still names the last binding of X after it ran out.
        read_lag_ms: How long QuerySubsId and QuerySubscriptionDetail go on seeing the state before a change.
        nonce_burned_by: Whose nonce is used up: of any request `received`, of one with a good signature (`signed`), or
            only of one `accepted`, that is neither throttled nor refused by the gateway.
    """

    strict_city: tuple[str, ...] = ()
    same_a: SameA = "second_x"
    lapsed_detail: Ended = "status_0"
    unbound_detail: Ended = "not_exist"
    lapsed_ids_shown: bool = False
    read_lag_ms: int = 0
    nonce_burned_by: NonceBurnedBy = "signed"

    def __post_init__(self) -> None:
        _check("same_a", self.same_a, SameA)
        _check("lapsed_detail", self.lapsed_detail, Ended)
        _check("unbound_detail", self.unbound_detail, Ended)
        _check("nonce_burned_by", self.nonce_burned_by, NonceBurnedBy)
        if self.read_lag_ms < 0:
            raise ValueError(f"read_lag_ms: must be 0 or more, not {self.read_lag_ms}")


def _check(name: str, value: str, known: object) -> None:
    if value not in get_args(known):
        raise ValueError(f"{name}: {value!r} is not known; use {' or '.join(map(repr, get_args(known)))}")
