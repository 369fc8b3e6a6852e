"""A producer's process: submits what it is told to, and tells when."""

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchmarks.speeding.contestants import CONTESTANTS


@dataclass(frozen=True, slots=True)
class Fill:
    """Submit these jobs as fast as it goes. Told: how long it took, in seconds."""

    numbers: range


@dataclass(frozen=True, slots=True)
class Begun:
    """A submit.

    Attributes:
        at: when it began, monotonic seconds.
        at_unix_ms: the same by the clock that Redis reads.
        job_id: where the build tells one; else empty.
    """

    at: float
    at_unix_ms: float
    job_id: str


@dataclass(frozen=True, slots=True)
class Load:
    """Submit jobs one by one, at random instants (Poisson). Told: by their numbers, what has `Begun`.

    Attributes:
        first_number: of its jobs; they are counted up from there.
        seconds: monotonic, from `begin` on.
    """

    first_number: int
    per_second: float
    begin: float
    seconds: float
    seed: str


def run(pipe: Connection, name: str, env: Mapping[str, str], callback_url: str) -> None:
    """Do what comes through the pipe, until the process is killed."""
    os.environ.update(env)
    submit, per_call = CONTESTANTS[name].submit, CONTESTANTS[name].per_call
    assert submit is not None  # noqa: S101 - else nobody would be asked to produce
    while True:
        match pipe.recv():
            case Fill(numbers):
                began = time.monotonic()
                for start in range(0, len(numbers), per_call):
                    submit(numbers[start : start + per_call], callback_url)
                pipe.send(time.monotonic() - began)
            case Load() as load:
                chance = random.Random(load.seed)  # noqa: S311 - arrivals, no secret
                submitted: dict[int, Begun] = {}
                due, number = load.begin, load.first_number
                while (due := due + chance.expovariate(load.per_second)) < load.begin + load.seconds:
                    time.sleep(max(0.0, due - time.monotonic()))
                    at, at_unix_ms = time.monotonic(), time.time() * 1000
                    ids = submit([number], callback_url)
                    submitted[number] = Begun(at, at_unix_ms, ids[0] if ids else "")
                    number += 1
                pipe.send(submitted)
