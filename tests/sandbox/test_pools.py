"""Numbers: made the same every time, drawn by city, never twice."""

import re
import time

from worker.sandbox.config import parse_pool
from worker.sandbox.pools import make_pools

SPECS = (parse_pool("FC1=300@上海,200@北京"), parse_pool("FC2=500"))


def test_numbers_have_11_digits_and_are_in_one_pool_only() -> None:
    numbers = [number for pool in make_pools(SPECS, seed=0).values() for number in pool]
    assert len(set(numbers)) == len(numbers) == 1000
    assert all(re.fullmatch(r"170\d{8}", number) for number in numbers)


def test_the_seed_decides_the_numbers() -> None:
    first, again, other = (list(make_pools(SPECS, seed=seed)["FC1"]) for seed in (1, 1, 5000))
    assert first == again != other


def test_the_expected_city_is_served_until_it_is_empty_then_another() -> None:
    pool = make_pools([parse_pool("FC1=1@上海,2@北京")], seed=0)["FC1"]
    shanghai, *beijing = list(pool)
    drawn = [pool.draw("北京") for _ in range(4)]
    assert drawn == [*beijing, shanghai, None]


def test_a_released_number_waits_behind_the_free_ones() -> None:
    pool = make_pools([parse_pool("FC1=3")], seed=0)["FC1"]
    first, second, third = list(pool)
    assert pool.draw("") == first
    pool.release(first)
    assert [pool.draw("") for _ in range(3)] == [second, third, first]


def test_a_number_taken_by_name_is_not_drawn() -> None:
    pool = make_pools([parse_pool("FC1=2")], seed=0)["FC1"]
    first, second = list(pool)
    pool.take(first)
    assert not pool.is_free(first)
    assert (pool.draw(""), pool.draw("")) == (second, None)


def test_100_000_numbers_are_drawn_and_released_without_a_walk() -> None:
    pool = make_pools([parse_pool("FC1=100000")], seed=0)["FC1"]
    began = time.process_time()
    numbers = list(pool)
    for number in reversed(numbers):
        pool.take(number)
    for number in numbers:
        pool.release(number)
    assert [pool.draw("") for _ in numbers] == numbers
    # A walk per number would take minutes.
    assert time.process_time() - began < 5
