"""What a rebind job's record holds beside that of other jobs: how far it has come, and the binding that it replaces.

The record's `request`, `phone_no_x` and `subs_id` are those of the binding being made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from worker.domain.rebinding import RebindMode, RebindStep


@dataclass(frozen=True, slots=True)
class Rebinding:
    """One rebind, as far as it has come.

    Attributes:
        step: what is to be done next.
        old_subs_id, old_phone_no_x, old_pool_key, old_product_type: the old binding as the provider names it.
        old: parameters of BindAxn by which the old binding could be made again; empty until it was looked up.
        refused_since: since when X is refused as taken though nobody but us should have had it, Unix ms; else 0.
        reason: why X could not be bound as asked, where something else is tried.
        phone_no_x, subs_id: the new binding, once it is made.
    """

    mode: RebindMode
    old_subs_id: str
    old_phone_no_x: str
    step: RebindStep = RebindStep.LOOK_UP
    old_pool_key: str = ""
    old_product_type: str = ""
    old: Mapping[str, str] = field(default_factory=dict)
    refused_since: int = 0
    reason: str = ""
    phone_no_x: str = ""
    subs_id: str = ""

    @property
    def is_on_new_x(self) -> bool:
        """Whether the new binding has another X."""
        return self.mode is RebindMode.NEW_X

    @property
    def unbind_parameters(self) -> dict[str, str]:
        """Of UnbindSubscription, to end the old binding."""
        pool = {"PoolKey": self.old_pool_key} if self.old_pool_key else {"ProductType": self.old_product_type}
        return {"SubsId": self.old_subs_id, "SecretNo": self.old_phone_no_x, **pool}

    def told(self) -> dict[str, str]:
        """For people and receivers."""
        return {
            "mode": self.mode.value,
            "step": self.step.value,
            "old_phone_no_x": self.old_phone_no_x,
            "old_subs_id": self.old_subs_id,
        }

    def fields(self) -> dict[str, str]:
        """Of a new record."""
        return {
            **self.told(),
            "old_pool_key": self.old_pool_key,
            "old_product_type": self.old_product_type,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Self:
        """Read a record.

        Raises:
            ValueError: it is none of a rebind that this release knows.
        """
        return cls(
            mode=RebindMode(record.get("mode", "")),
            step=RebindStep(record.get("step", "")),
            old_subs_id=record.get("old_subs_id", ""),
            old_phone_no_x=record.get("old_phone_no_x", ""),
            old_pool_key=record.get("old_pool_key", ""),
            old_product_type=record.get("old_product_type", ""),
            old=_texts(json.loads(record.get("old") or "{}")),
            refused_since=int(record.get("refused_since", 0)),
            reason=record.get("reason", ""),
            phone_no_x=record.get("phone_no_x", ""),
            subs_id=record.get("subs_id", ""),
        )


def _texts(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and all(isinstance(text, str) for text in value.values()):
        return value
    raise ValueError("no mapping of names to texts")
