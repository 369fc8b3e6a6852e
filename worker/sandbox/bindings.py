"""The bindings made so far, live and ended, and the moment each runs out."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from worker.sandbox.pools import NumberPool

PROVIDER_ZONE = ZoneInfo("Asia/Shanghai")
_FIRST_SUBS_ID = 1_000_000_000_000_001

Ending = Literal["unbound", "expired"]


@dataclass(slots=True)
class Binding:
    """One subscription: whoever calls X reaches A, and A calling X reaches B. Times are Unix seconds."""

    pool_key: str
    phone_no_a: str
    phone_no_x: str
    phone_no_b: str
    out_id: str
    out_order_id: str
    expires_at: float
    created_at: float
    request_id: str
    nonce: str
    need_record: bool = False
    call_restrict: str = ""
    call_display_type: str = ""
    asr_status: bool | None = None
    asr_model_id: str = ""
    subs_id: str = ""
    ended: Ending | None = None


class Bindings:
    """All bindings by SubsId, the live ones also by X. An ended binding gives its X back to the pool at once."""

    def __init__(self, pools: Mapping[str, NumberPool]) -> None:
        self._pools = pools
        self._by_subs_id: dict[str, Binding] = {}
        self._live_by_number: dict[str, Binding] = {}
        self._expiries: list[tuple[float, str]] = []

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._by_subs_id.values())

    @property
    def ever_made(self) -> int:
        return len(self._by_subs_id)

    @property
    def live(self) -> int:
        return len(self._live_by_number)

    def add(self, binding: Binding) -> None:
        """Keep a new binding, whose X has already been taken from its pool, under the next SubsId (16 digits)."""
        binding.subs_id = str(_FIRST_SUBS_ID + len(self._by_subs_id))
        self._by_subs_id[binding.subs_id] = binding
        self._live_by_number[binding.phone_no_x] = binding
        self.set_expiry(binding, binding.expires_at)

    def get(self, subs_id: str) -> Binding | None:
        return self._by_subs_id.get(subs_id)

    def on_number(self, number: str) -> Binding | None:
        """The live binding of this X."""
        return self._live_by_number.get(number)

    def set_expiry(self, binding: Binding, expires_at: float) -> None:
        """Move a live binding's end; an earlier entry of the timetable is passed over when its time comes."""
        binding.expires_at = expires_at
        heapq.heappush(self._expiries, (expires_at, binding.subs_id))

    def end(self, binding: Binding, how: Ending) -> None:
        binding.ended = how
        del self._live_by_number[binding.phone_no_x]
        self._pools[binding.pool_key].release(binding.phone_no_x)

    def expire(self, now: float) -> None:
        """End every live binding whose time has come."""
        while self._expiries and self._expiries[0][0] <= now:
            _, subs_id = heapq.heappop(self._expiries)
            binding = self._by_subs_id[subs_id]
            if binding.ended is None and binding.expires_at <= now:
                self.end(binding, "expired")


def provider_time(unix_s: float) -> str:
    """A moment as the provider writes it: `yyyy-MM-dd HH:mm:ss`, Beijing time."""
    return datetime.fromtimestamp(unix_s, PROVIDER_ZONE).strftime("%Y-%m-%d %H:%M:%S")
