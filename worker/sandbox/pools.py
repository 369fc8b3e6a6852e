"""The numbers X: which pool and city each belongs to, and which are free."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from worker.sandbox.config import PoolSpec

_PREFIX = 170
_SPACE = 10**8
# Shares no factor with the space, so that index -> number never repeats; large, so that neighbours look unrelated.
_STEP = 61_803_399


class NumberPool:
    """One pool. Free numbers wait in a queue per city: longest free goes first, as numbers need rest between owners."""

    def __init__(self, pool_key: str) -> None:
        self.pool_key = pool_key
        self._city_of: dict[str, str] = {}
        # An ordered dict is a queue from whose middle a named X can be taken without a walk.
        self._free: dict[str, OrderedDict[str, None]] = {}

    def __contains__(self, number: str) -> bool:
        return number in self._city_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._city_of)

    def add(self, number: str, city: str) -> None:
        """Put a new, free number into the pool."""
        self._city_of[number] = city
        self._free.setdefault(city, OrderedDict())[number] = None

    def is_free(self, number: str) -> bool:
        return number in self._free[self._city_of[number]]

    def take(self, number: str) -> None:
        """Make a free number of this pool not free."""
        del self._free[self._city_of[number]][number]

    def draw(self, expected_city: str) -> str | None:
        """Take a free number, from the expected city if it has one, else from another; None if all are taken."""
        queue = self._free.get(expected_city) or next(filter(None, self._free.values()), None)
        return queue.popitem(last=False)[0] if queue else None

    def release(self, number: str) -> None:
        """Let a taken number be taken again, after those already waiting."""
        self._free[self._city_of[number]][number] = None


def make_pools(specs: Iterable[PoolSpec], *, seed: int) -> dict[str, NumberPool]:
    """The pools by key. Numbers are 11 digits starting with 170, never in two pools, the same for the same seed.

    Raises:
        ValueError: More numbers are asked for than the prefix holds.
    """
    specs = list(specs)
    total = sum(count for spec in specs for _, count in spec.counts)
    if total > _SPACE:
        raise ValueError(f"pools: {total} numbers asked for; {_PREFIX}xxxxxxxx holds {_SPACE}")
    numbers = _numbers(seed)
    return {spec.pool_key: _make_pool(spec, numbers) for spec in specs}


def _numbers(seed: int) -> Iterator[str]:
    return (f"{_PREFIX}{(seed + index) * _STEP % _SPACE:08d}" for index in range(_SPACE))


def _make_pool(spec: PoolSpec, numbers: Iterator[str]) -> NumberPool:
    pool = NumberPool(spec.pool_key)
    for city, count in spec.counts:
        for _ in range(count):
            pool.add(next(numbers), city)
    return pool
