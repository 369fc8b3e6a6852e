"""The numbers X: which pool and city each belongs to, which are free, locked, or still for sale."""

from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice

from worker.sandbox.config import Counts, PoolSpec

EVERYWHERE = "全国"

_PREFIX = 170
_SPACE = 10**8
# Shares no factor with the space, so that index -> number never repeats; large, so that neighbours look unrelated.
_STEP = 61_803_399


class NumberPool:
    """One pool. Free numbers wait in a queue per city: longest free goes first, as numbers need rest between owners."""

    def __init__(self, pool_key: str, *, strict_city: bool = False) -> None:
        self.pool_key = pool_key
        self._strict_city = strict_city
        self._city_of: dict[str, str] = {}
        self._bought_at: dict[str, float] = {}
        self._taken: set[str] = set()
        self._locked: set[str] = set()
        # An ordered dict is a queue from whose middle a named X can be taken without a walk.
        self._waiting: dict[str, OrderedDict[str, None]] = {}

    def __contains__(self, number: str) -> bool:
        return number in self._city_of

    def __iter__(self) -> Iterator[str]:
        return iter(self._city_of)

    def city_of(self, number: str) -> str:
        return self._city_of[number]

    def bought_at(self, number: str) -> float:
        """When the number was bought, Unix seconds."""
        return self._bought_at[number]

    def add(self, number: str, city: str, bought_at: float) -> None:
        """Put a new, free number into the pool."""
        self._city_of[number] = city
        self._bought_at[number] = bought_at
        self._wait(number)

    def remove(self, number: str) -> None:
        """Take a free number out of the pool for good."""
        self._stop_waiting(number)
        self._locked.discard(number)
        del self._city_of[number], self._bought_at[number]

    def is_free(self, number: str) -> bool:
        return number not in self._taken

    def is_locked(self, number: str) -> bool:
        return number in self._locked

    def lock(self, number: str) -> None:
        """Keep a number from being drawn. A binding it has goes on; taking it by name stays possible."""
        self._locked.add(number)
        self._stop_waiting(number)

    def unlock(self, number: str) -> None:
        """Let a number be drawn again, after those already waiting."""
        if number in self._locked:
            self._locked.remove(number)
            self._wait_if_drawable(number)

    def take(self, number: str) -> None:
        """Make a free number of this pool not free."""
        self._stop_waiting(number)
        self._taken.add(number)

    def draw(self, expected_city: str) -> str | None:
        """Take a free number that is not locked, or None.

        It is from the expected city if that has one, else from another, unless the pool is strict about cities.
        """
        queue = self._waiting.get(expected_city)
        if not queue and not (self._strict_city and expected_city):
            queue = next(filter(None, self._waiting.values()), None)
        if not queue:
            return None
        number = next(iter(queue))
        self.take(number)
        return number

    def release(self, number: str) -> None:
        """Let a taken number be taken again, after those already waiting."""
        self._taken.remove(number)
        self._wait_if_drawable(number)

    def _wait_if_drawable(self, number: str) -> None:
        if number not in self._locked and number not in self._taken:
            self._wait(number)

    def _wait(self, number: str) -> None:
        self._waiting.setdefault(self._city_of[number], OrderedDict())[number] = None

    def _stop_waiting(self, number: str) -> None:
        self._waiting[self._city_of[number]].pop(number, None)


class Shop:
    """Numbers that can still be bought, by city. Only virtual-operator numbers (SpecId 1) are sold here."""

    def __init__(self, stock: Mapping[str, list[str]]) -> None:
        self._stock = stock

    @property
    def cities(self) -> list[str]:
        return list(self._stock)

    def amount(self, city: str, prefix: str) -> int:
        """How many numbers of a city, or of all for `EVERYWHERE`, start with the prefix."""
        return sum(1 for _, number in self._for_sale(city) if number.startswith(prefix))

    def sell(self, city: str, prefix: str) -> tuple[str, str] | None:
        """Take a number out of the shop: its city and the number, or None where there is none."""
        found = next((pair for pair in self._for_sale(city) if pair[1].startswith(prefix)), None)
        if found is not None:
            self._stock[found[0]].remove(found[1])
        return found

    def _for_sale(self, city: str) -> Iterator[tuple[str, str]]:
        for name, numbers in self._stock.items():
            if city in {name, EVERYWHERE}:
                yield from ((name, number) for number in numbers)


def make_pools(specs: Iterable[PoolSpec], *, seed: int, now: float = 0.0) -> dict[str, NumberPool]:
    """The pools by key. Numbers are 11 digits starting with 170, never in two pools, the same for the same seed.

    Raises:
        ValueError: More numbers are asked for than the prefix holds.
    """
    return make_stock(specs, (), seed=seed, now=now)[0]


def make_stock(
    specs: Iterable[PoolSpec], for_sale: Counts, *, seed: int, now: float, strict_city: Container[str] = ()
) -> tuple[dict[str, NumberPool], Shop]:
    """The pools by key and the shop, as `make_pools`: no number is in two places."""
    specs = list(specs)
    total = sum(count for counts in (*(spec.counts for spec in specs), for_sale) for _, count in counts)
    if total > _SPACE:
        raise ValueError(f"pools: {total} numbers asked for; {_PREFIX}xxxxxxxx holds {_SPACE}")
    numbers = _numbers(seed)
    pools = {}
    for spec in specs:
        pools[spec.pool_key] = NumberPool(spec.pool_key, strict_city=spec.pool_key in strict_city)
        _fill(pools[spec.pool_key], spec.counts, numbers, now)
    return pools, Shop({city: list(islice(numbers, count)) for city, count in for_sale})


def _numbers(seed: int) -> Iterator[str]:
    return (f"{_PREFIX}{(seed + index) * _STEP % _SPACE:08d}" for index in range(_SPACE))


def _fill(pool: NumberPool, counts: Counts, numbers: Iterator[str], now: float) -> None:
    for city, count in counts:
        for number in islice(numbers, count):
            pool.add(number, city, now)
