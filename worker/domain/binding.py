"""A binding, as the provider names it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Binding:
    """What it takes to change a binding: its id, its X, and the pool of the X.

    Attributes:
        pool_key: empty where the account has a product type instead of pools.
    """

    subs_id: str
    phone_no_x: str
    pool_key: str
