"""The bindings made so far, live and ended, and the moment each runs out."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
    changed_at: float = 0.0
    before: "Binding | None" = None

    def as_of(self, moment: float) -> "Binding | None":
        """The binding as it was then, or None if it was not there yet. Only a book with a read lag remembers."""
        seen: Binding | None = self
        while seen is not None and seen.changed_at > moment:
            seen = seen.before
        return seen


class Bindings:
    """All bindings by SubsId, X and outer order. An ended binding gives its X back to the pool at once."""

    def __init__(self, pools: Mapping[str, NumberPool], *, read_lag_s: float = 0.0) -> None:
        self._pools = pools
        self._read_lag_s = read_lag_s
        self._by_subs_id: dict[str, Binding] = {}
        self._by_number: defaultdict[str, list[Binding]] = defaultdict(list)
        self._by_order: defaultdict[str, list[Binding]] = defaultdict(list)
        self._live_of_a: Counter[tuple[str, str]] = Counter()
        self._live = 0
        self._expiries: list[tuple[float, str]] = []

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._by_subs_id.values())

    @property
    def ever_made(self) -> int:
        return len(self._by_subs_id)

    @property
    def live(self) -> int:
        return self._live

    def add(self, binding: Binding) -> None:
        """Keep a new binding, whose X has already been taken from its pool, under the next SubsId (16 digits)."""
        binding.subs_id = str(_FIRST_SUBS_ID + len(self._by_subs_id))
        binding.changed_at = binding.created_at
        self._by_subs_id[binding.subs_id] = binding
        self._by_number[binding.phone_no_x].append(binding)
        self._by_order[binding.out_order_id].append(binding)
        self._live_of_a[binding.pool_key, binding.phone_no_a] += 1
        self._live += 1
        self.set_expiry(binding, binding.expires_at)

    def get(self, subs_id: str) -> Binding | None:
        return self._by_subs_id.get(subs_id)

    def of_order(self, out_order_id: str) -> list[Binding]:
        """All bindings ever made for this OutOrderId, oldest first."""
        return list(self._by_order.get(out_order_id, ()))

    def is_bound(self, pool_key: str, phone_no_a: str) -> bool:
        """Whether A has a live binding in the pool."""
        return self._live_of_a[pool_key, phone_no_a] > 0

    def seen(self, binding: Binding, now: float) -> Binding | None:
        """What a query sees of a binding, given the read lag."""
        return binding.as_of(now - self._read_lag_s) if self._read_lag_s else binding

    def seen_on_number(self, number: str, now: float) -> Binding | None:
        """The newest binding of this X that a query sees, live or ended."""
        newest_first = (self.seen(binding, now) for binding in reversed(self._by_number.get(number, ())))
        return next((binding for binding in newest_first if binding is not None), None)

    def set_expiry(self, binding: Binding, expires_at: float) -> None:
        """Move a live binding's end; an earlier entry of the timetable is passed over when its time comes."""
        binding.expires_at = expires_at
        heapq.heappush(self._expiries, (expires_at, binding.subs_id))

    def set_a(self, binding: Binding, phone_no_a: str) -> None:
        """Give a live binding's X to another A."""
        self._live_of_a[binding.pool_key, binding.phone_no_a] -= 1
        binding.phone_no_a = phone_no_a
        self._live_of_a[binding.pool_key, phone_no_a] += 1

    def remember(self, binding: Binding, now: float) -> None:
        """Keep what queries go on seeing for a while; call it before a change."""
        if self._read_lag_s:
            binding.before = replace(binding)
            binding.changed_at = now

    def end(self, binding: Binding, how: Ending, now: float) -> None:
        self.remember(binding, now)
        binding.ended = how
        self._live_of_a[binding.pool_key, binding.phone_no_a] -= 1
        self._live -= 1
        self._pools[binding.pool_key].release(binding.phone_no_x)

    def expire(self, now: float) -> None:
        """End every live binding whose time has come."""
        while self._expiries and self._expiries[0][0] <= now:
            _, subs_id = heapq.heappop(self._expiries)
            binding = self._by_subs_id[subs_id]
            if binding.ended is None and binding.expires_at <= now:
                self.end(binding, "expired", binding.expires_at)


def provider_time(unix_s: float) -> str:
    """A moment as the provider writes it: `yyyy-MM-dd HH:mm:ss`, Beijing time."""
    return datetime.fromtimestamp(unix_s, PROVIDER_ZONE).strftime("%Y-%m-%d %H:%M:%S")
