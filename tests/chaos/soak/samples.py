"""What is measured while a soak lasts: of each process by /proc, of Redis by INFO, SCAN and the sizes of its keys."""

import csv
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.processes import Kept
from tests.chaos.soak.flatness import Point
from tests.chaos.system import ChaosSystem
from worker.domain.job import Lane
from worker.ledger.keys import ALL_PARTITIONS, VERSION, partition_tag
from worker.observation.presence import PRESENCES_KEY, read_presences

_MIB = 2**20
_SCANNED_AT_A_TIME = 2_000
_SORTED_SETS = ("timetable", "bindings", "in_doubt", "failed", "dead_callbacks", "renewals",
                "renewals_due")  # fmt: skip
_HASHES = ("binding_index", "renewals_failing")
_TAGGED = re.compile(r"\{(p\d\d|[a-z_]+)[^}]*\}(?::([a-z_]+))?")


def kind_of(key: str) -> str:
    """What a key is of, without what tells one from another: `job`, `callback`, `receiver:places`, `pace:…`."""
    if not key.startswith(f"{VERSION}:{{"):
        return re.sub(r"[{:]?[0-9a-f-]{16,}.*", "", key)
    found = _TAGGED.match(key.removeprefix(f"{VERSION}:"))
    if found is None:
        return "?"
    tag, name = found[1], found[2]
    return (name or "?") if re.fullmatch(r"p\d\d", tag) else ":".join(filter(None, (tag, name)))


@dataclass(frozen=True, slots=True)
class Sample:
    """All figures of a moment, by name; `at_s` since the soak began."""

    at_s: float
    figures: Mapping[str, float]


@dataclass
class Samples:
    """All of a soak."""

    taken: list[Sample] = field(default_factory=list)

    def points(self, name: str, *, from_s: float = 0, to_s: float = float("inf")) -> list[Point]:
        """One figure by time."""
        return [
            Point(one.at_s, one.figures[name])
            for one in self.taken
            if name in one.figures and from_s <= one.at_s <= to_s
        ]

    def names(self) -> list[str]:
        """Of all figures, in the order in which they came up."""
        return list(dict.fromkeys(name for one in self.taken for name in one.figures))

    def most(self, name: str) -> float:
        return max((point.value for point in self.points(name)), default=0.0)

    def write(self, path: Path) -> None:
        """As CSV: a line for each moment, a column for each figure, empty where it was not measured."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["at_s", *self.names()], restval="")
            writer.writeheader()
            for one in self.taken:
                rounded = {name: round(value, 3) for name, value in one.figures.items()}
                writer.writerow({"at_s": round(one.at_s, 2), **rounded})


class Sampler:
    """Takes samples.

    Raises:
        RedisError, OSError: Redis does not answer just now.
    """

    def __init__(self, system: ChaosSystem) -> None:
        self._system = system
        self._began_s = time.monotonic()
        self.samples = Samples()

    @property
    def now_s(self) -> float:
        """Since the soak began."""
        return time.monotonic() - self._began_s

    def take_processes(self, processes: Sequence[Kept]) -> dict[str, float]:
        """Memory (MiB), open files and threads of each; a process that is between two lives has none."""
        figures: dict[str, float] = {}
        for kept in processes:
            if kept.pid and kept.is_ready.is_set():
                name = f"{kept.name}#{len(kept.lives)}"
                figures |= {f"{name} {what}": value for what, value in _of_process(kept.pid).items()}
        return figures

    async def take_redis(self, *, with_census: bool) -> dict[str, float]:
        """Memory, append-only file, clients; queues and, with the census, keys by kind and entries by set."""
        ledger, broker = self._system.ledger, self._system.broker
        info: dict[str, Any] = await ledger.info()
        figures = {
            "redis used MiB": info["used_memory"] / _MIB,
            "redis clients": info["connected_clients"],
            "aof MiB": info["aof_current_size"] / _MIB,
            "aof base MiB": info["aof_base_size"] / _MIB,
        }
        pipeline: Any = broker.pipeline(transaction=False)
        for lane in Lane:
            pipeline.llen(lane.queue)
        pipeline.hlen("unacked")
        lengths = await pipeline.execute()
        names = [*(f"queue {lane.value}" for lane in Lane), "unacked"]
        figures |= dict(zip(names, map(float, lengths), strict=True))
        told: Any = await ledger.hgetall(PRESENCES_KEY)  # type: ignore[misc, unused-ignore]
        for presence in read_presences(told):
            figures["loop lag ms"] = max(presence.lag_ms, figures.get("loop lag ms", 0.0))
        return figures | (await self.census() if with_census else {})

    async def census(self) -> dict[str, float]:
        """`keys KIND`: how many there are; `entries NAME`: how many all partitions have together."""
        ledger, broker = self._system.ledger, self._system.broker
        kinds = Counter([kind_of(key) async for key in ledger.scan_iter(count=_SCANNED_AT_A_TIME)])
        kinds.update([f"broker {kind_of(key.decode())}" async for key in broker.scan_iter(count=_SCANNED_AT_A_TIME)])
        pipeline: Any = ledger.pipeline(transaction=False)
        for partition in ALL_PARTITIONS:
            prefix = f"{VERSION}:{partition_tag(partition)}"
            for name in _SORTED_SETS:
                pipeline.zcard(f"{prefix}:{name}")
            for name in _HASHES:
                pipeline.hlen(f"{prefix}:{name}")
        lengths = await pipeline.execute()
        names = [*_SORTED_SETS, *_HASHES]
        sums = {name: float(sum(lengths[place :: len(names)])) for place, name in enumerate(names)}
        return {
            **{f"keys {kind}": float(count) for kind, count in sorted(kinds.items())},
            **{f"entries {name}": count for name, count in sums.items()},
        }

    def keep(self, figures: Mapping[str, float]) -> Sample:
        """Make a sample of them."""
        sample = Sample(self.now_s, dict(figures))
        self.samples.taken.append(sample)
        return sample


def _of_process(pid: int) -> dict[str, float]:
    proc = Path(f"/proc/{pid}")
    try:
        status = (proc / "status").read_text(encoding="ascii", errors="replace")
        rollup = (proc / "smaps_rollup").read_text(encoding="ascii", errors="replace")
        open_files = len(os.listdir(proc / "fd"))  # noqa: PTH208 - names alone
        return {
            "rss MiB": _kib(status, "VmRSS:") / 1024,
            "pss MiB": _kib(rollup, "Pss:") / 1024,
            "fds": float(open_files),
            "threads": float(_kib(status, "Threads:")),
        }
    except (OSError, IndexError):  # it has just ended
        return {}


def _kib(text: str, name: str) -> int:
    return int(text.partition(f"{name}")[2].split()[0])
