"""How the rate follows a limit that changes twice, as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.pacing.demand import Demand
from benchmarks.pacing.figures import each_second, worst_of_each_second
from benchmarks.pacing.provider import Plan
from benchmarks.pacing.runs import run
from worker.local.redis_server import EmbeddedRedis

_PROCESSES = 4
_PHASE_S = 20
_LIMITS = (500, 250, 500)
_SECONDS = _PHASE_S * len(_LIMITS)
_SETTLED_S = 10
_BLUE, _RED, _GREY, _GREEN = "#2563a8", "#c0392b", "#555555", "#2e7d4f"


@dataclass(frozen=True, slots=True)
class Followed:
    """Second by second: calls sent and done, the checkouts' p99; and the instants of throttled calls, all from 0 on."""

    sent: Sequence[int]
    done: Sequence[int]
    checkout_p99_ms: Sequence[float]
    throttled_at: Sequence[float]

    def summary(self) -> str:
        """What counts, in a line."""
        settled = [second for second in range(_SECONDS) if second % _PHASE_S >= _SETTLED_S]
        used = sum(self.done[second] for second in settled) / sum(_limit(second) for second in settled)
        throttled = 1 - sum(self.done[second] for second in settled) / sum(self.sent[second] for second in settled)
        return (
            f"from {_SETTLED_S} s after the start and after each change {used:.1%} of the limit used, {throttled:.1%} "
            f"throttled; {len(self.throttled_at)} calls throttled in all; highest checkout p99 of a second "
            f"{max(self.checkout_p99_ms):.1f} ms"
        )


def _limit(second: int) -> int:
    return _LIMITS[second // _PHASE_S]


def follow(server: EmbeddedRedis, *, latency_ms: int, seed: int) -> Followed:
    """Run it: a minute."""
    plan = Plan("counter", _LIMITS[0], latency_ms, "calendar")
    demand = Demand(_LIMITS[0], _PROCESSES, seed)
    changes = [(number * _PHASE_S, limit) for number, limit in enumerate(_LIMITS) if number]
    ran = run("pace-unknown", plan, demand, server, warm_up_s=0, measure_s=_SECONDS, changes=changes)
    begin = round(ran.timing.begin + ran.unix_ahead_s)
    arrivals = ran.arrivals
    done_at = [at for at, is_done in zip(arrivals.at, arrivals.is_done, strict=True) if is_done]
    throttled_at = [at - begin for at, is_done in zip(arrivals.at, arrivals.is_done, strict=True) if not is_done]
    waits = [wait for each in ran.told for wait in each.waits]
    return Followed(
        each_second(arrivals.at, begin=begin, seconds=_SECONDS),
        each_second(done_at, begin=begin, seconds=_SECONDS),
        worst_of_each_second(waits, begin=ran.timing.begin, seconds=_SECONDS),
        throttled_at,
    )


def draw(followed: Followed, path: Path) -> None:
    """Write the picture; no screen is needed."""
    plt.switch_backend("Agg")
    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (rates, marks, waits) = plt.subplots(
        3, 1, sharex=True, figsize=(9, 6.4), height_ratios=(5, 0.55, 2), layout="constrained"
    )
    _draw_rates(rates, followed)
    _draw_throttled(marks, followed)
    _draw_waits(waits, followed)
    figure.suptitle(
        f"One pace, {_PROCESSES} processes, told 5,000 calls/s; batch wants {4 * _LIMITS[0]:,}/s, "
        f"{_LIMITS[0] // 10} checkouts/s come at random",
        x=0.01, ha="left", fontsize=10,
    )  # fmt: skip
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _draw_rates(axes: Axes, followed: Followed) -> None:
    edges = list(range(_SECONDS + 1))
    limits = [_limit(second) for second in range(_SECONDS)]
    axes.stairs(limits, edges, baseline=None, color=_GREY, linewidth=1.4, linestyle="--", label="the provider's limit")
    axes.stairs(followed.sent, edges, baseline=None, color=_RED, linewidth=1, label="sent")
    axes.stairs(followed.done, edges, baseline=0, color=_BLUE, fill=True, alpha=0.18)
    axes.stairs(followed.done, edges, baseline=None, color=_BLUE, linewidth=1.6, label="done")
    most = 2 * max(_LIMITS)
    axes.set_ylim(0, most)
    for second, sent in enumerate(followed.sent):
        if sent > most:
            axes.annotate(f"{sent:,} sent", (second + 1, most), (6, -10), textcoords="offset points", color=_RED)
    axes.set_ylabel("calls in a calendar second")
    axes.legend(loc="lower right", ncols=3, frameon=False)
    axes.grid(axis="y", alpha=0.25)


def _draw_throttled(axes: Axes, followed: Followed) -> None:
    axes.eventplot([list(followed.throttled_at)], colors=[_RED], linewidths=0.8, lineoffsets=0.5, linelengths=1)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.set_ylabel("throttled", rotation=0, ha="right", va="center", color=_RED)
    axes.spines["left"].set_visible(False)


def _draw_waits(axes: Axes, followed: Followed) -> None:
    middles = [second + 0.5 for second in range(_SECONDS)]
    axes.plot(middles, followed.checkout_p99_ms, color=_GREEN, marker="o", markersize=2.5, linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel("checkout's wait,\np99 of a second, ms")
    note = "until the call that was not throttled is sent; a throttled checkout comes back within 100 ms"
    axes.set_title(note, loc="right", fontsize=8, color=_GREY)
    axes.set_xlabel("seconds")
    axes.set_xlim(0, _SECONDS)
    axes.grid(axis="y", which="major", alpha=0.25)
    axes.yaxis.set_major_formatter("{x:g}")
