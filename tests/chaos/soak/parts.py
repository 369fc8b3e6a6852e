"""What a soak is made of: a system whose records stay for a minute or two, workers as in production, receivers."""

import asyncio
import random

from tests.chaos.callback_bench import options
from tests.chaos.receivers import Answer, Behaviour, Sink, Sinks, plain
from tests.chaos.soak.watch import Retention
from tests.chaos.system import ChaosSystem, SystemOptions
from tests.provider.loopback import answer

RETENTION = Retention(result_s=90, binding_s=15, swept_s=90, slack_s=20)
MOST_LIVES = 10_000
RETRY_MS = 2_000
TRIES = 60
"""Of a callback; alike, so that a try whose number was lost with its worker comes no sooner than another."""
VICTIMS = ("checkout-2", "batch-2")
"""The others live through the whole soak, so that a slow leak can be seen."""
_LANES = {"checkout": "checkout", "checkout-2": "checkout"} | dict.fromkeys(
    ("batch", "batch-2"), "batch,renewal,callback"
)
_FASTEST_PER_SECOND = 600
_DRAWN_S, _CHOSEN_S = 110, 10
"""Seconds for which jobs need a number each: drawn ones come back; chosen ones, a sixth of a minute's, do not."""
_SLOW_ANSWER_S = 0.3
_FAILING_SHARE = 0.1
_TUNING = {
    "AXN_RESULT_TTL": f"{RETENTION.result_s}s",
    "AXN_BINDING_KEEP": f"{RETENTION.binding_s}s",
    "AXN_EXPIRATION_MARGIN": "1s",
    "AXN_PACE__UPDATE_PER_SECOND": "1000",
    "AXN_PACE__UNBIND_PER_SECOND": "1000",
    "AXN_PACE__QUERY_PER_SECOND": "1000",
    "AXN_RENEWAL__LEASE": "3s",
}


def system_options(minutes: float, per_second: float) -> SystemOptions:
    """Short retention, and an append-only file that is written anew again and again."""
    return SystemOptions(
        numbers=1_000 + round((per_second or _FASTEST_PER_SECOND) * (_DRAWN_S + _CHOSEN_S * minutes)),
        tuning=options(",".join([f"{RETRY_MS}ms"] * TRIES), **_TUNING).tuning,
        redis=("--auto-aof-rewrite-min-size", "16mb", "--hash-max-listpack-value", "512"),
    )


async def start_workers(system: ChaosSystem) -> None:
    """Two processes for each lane."""
    await asyncio.gather(*(system.start_worker(name, lanes) for name, lanes in _LANES.items()))
    for kept in (*system.workers.values(), system.redis):
        kept.most_lives = MOST_LIVES


async def open_receivers(sinks: Sinks, rng: random.Random) -> list[Sink]:
    """Three healthy ones, a slow one, one that fails at times; each as often as the load shall call it."""
    healthy = [await sinks.add(is_bystander=True) for _ in range(3)]
    slow, failing = await sinks.add(_slow()), await sinks.add(_fails_at_times(rng))
    return [*healthy * 5, slow, *[failing] * 4]


def _slow() -> Behaviour:
    async def respond(writer: asyncio.StreamWriter, _number: int) -> None:
        await asyncio.sleep(_SLOW_ANSWER_S)
        writer.write(answer())

    given = Answer(200, respond)
    return lambda _: given


def _fails_at_times(rng: random.Random) -> Behaviour:
    return lambda _: plain(rng.choice((500, 503, 404)) if rng.random() < _FAILING_SHARE else 200)
