"""Plays a scenario: the real engine against the real rules of Redis and the sandbox, in leaps of time."""

import asyncio
import contextlib
import logging
import os
import random
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis as blocking_redis
from redis.exceptions import RedisError

from tests.year.engine import RECEIVER, Engine, settings
from tests.year.model import Life, Troubles
from tests.year.moved_redis import moved_redis
from tests.year.moving_time import MovedClock, MovingLoop, MovingTime, busy_connections
from tests.year.provider import YearsProvider
from tests.year.scenario import HOUR_S, Noise, Order, Scenario, Step, Trouble
from worker.domain.bind_request import BindRequest
from worker.domain.binding import BindingName, NameKind
from worker.ledger.keys import ALL_PARTITIONS, timetable_key
from worker.local.redis_server import EmbeddedRedis
from worker.sandbox.faults import Fault

_log = logging.getLogger(__name__)
_LEAP_IN_TROUBLE_S = 600.0
_SETTLED_AFTER_S = 900.0
_TOLD_WITHIN_S = 300.0
_AT_ONCE = 100
_BACKGROUND = ("Event.wait", "Ticker.run", "Leases.run", "RenewalAlarm.run", "Gates._keep")
"""What always runs, and asks nobody to wait for it."""


@dataclass
class Played:
    """What there is to judge.

    Attributes:
        lives: by order, oldest first.
        closed_s: by order, when it was closed.
        troubles: when nothing could be renewed.
        updates: the provider's counts of UpdateSubscription, by code.
        repeated: of the accepted ones, how many set an end that was set already.
        unanswered: calls that were done and whose answer was lost.
        leaps: how often the time was moved ahead because nothing was under way.
        events: by order: the types of the events that its receiver was told, each webhook-id once.
        disagreements: what the registry has other than the provider in the end.
    """

    scenario: Scenario
    lives: dict[str, list[Life]] = field(default_factory=dict)
    closed_s: dict[str, float] = field(default_factory=dict)
    troubles: list[tuple[float, float]] = field(default_factory=list)
    updates: dict[str, int] = field(default_factory=dict)
    repeated: int = 0
    unanswered: int = 0
    leaps: int = 0
    events: dict[str, list[str]] = field(default_factory=dict)
    disagreements: list[str] = field(default_factory=list)


class Year:
    """One run.

    Args:
        scenario: what happens.
        seed: of the draws that are not the scenario's.
        workers: how many processes there are.
        with_policies: false: the orders ask for no renewal, which loses them all.
        tell: how far it is, from time to time: Unix seconds.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        workers: int = 2,
        with_policies: bool = True,
        tell: Callable[[float], None] = lambda _now_s: None,
    ) -> None:
        self._scenario = scenario
        self._with_policies = with_policies
        self._workers = workers
        self._random = random.Random(seed)
        self._tell = tell
        self._in_trouble = self._is_redis_away = False
        self._next_event_s = scenario.begin_s
        self.played = Played(scenario)

    def play(self) -> Played:
        """The whole scenario; returns when its time is over."""
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_fast_folder())))
            self._time = MovingTime(folder / "offset", self._scenario.begin_s)
            stack.callback(self._time.close)
            self._server: EmbeddedRedis = stack.enter_context(moved_redis(folder, folder / "offset"))
            self._blocking = blocking_redis.Redis.from_url(self._server.url(), socket_timeout=2)
            stack.callback(self._blocking.close)
            self._clients: list[Any] = []
            self._loop = MovingLoop(self._time, self._is_busy, self._pass_time)
            stack.callback(self._loop.close)
            self._loop.run_until_complete(self._play())
        return self.played

    async def _play(self) -> None:
        orders = len(self._scenario.orders)
        self._provider = YearsProvider(
            self._time, numbers=orders + orders // 2 + 50, update_per_second=45, seed=self._random.randrange(10**6)
        )
        engine = Engine(
            settings(
                self._server.url(), tick="30s", attempt_timeout="10s", result_ttl="2d",
                expiration_margin=timedelta(seconds=60),
            ),
            self._provider, MovedClock(self._time), self._random,
        )  # fmt: skip
        self._engine = engine
        self._clients.append(engine.producer.redis)
        self._start_workers()
        for at_s, act in self._events():
            await self._until(at_s)
            await act()
        await self._until(self._scenario.end_s)
        for worker in engine.queue.workers:
            worker.services.renewals.stop()
        await self._until(self._scenario.end_s + _TOLD_WITHIN_S)  # what has begun ends and is told: all counts agree
        self._collect()
        await self._compare()
        await engine.aclose()

    def _events(self) -> Iterator[tuple[float, Callable[[], Awaitable[None]]]]:
        scenario = self._scenario
        events: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            *((orders[-1].at_s, _act(self._submit, orders)) for orders in _groups(scenario.orders)),
            *((order.wish.closed_s, _act(self._close, order)) for order in scenario.orders),
            *((trouble.at_s, _act(self._trouble, trouble)) for trouble in scenario.troubles),
            *((noise.at_s, _act(self._noise, noise)) for noise in scenario.noises),
            *((noise.at_s + noise.lasts_s, self._quiet) for noise in scenario.noises),
            *((step.at_s, _act(self._step, step)) for step in scenario.steps),
            *((at_s, self._unbind_at_the_console) for at_s in scenario.consoles),
        ]
        return iter(sorted((event for event in events if event[0] < scenario.end_s), key=lambda event: event[0]))

    async def _until(self, at_s: float) -> None:
        self._next_event_s = at_s
        while (left_s := at_s - self._time.unix_s()) > 0:  # noqa: ASYNC110 - again where the clocks were set back
            await asyncio.sleep(left_s)

    async def _submit(self, orders: list[Order]) -> None:
        requests = [
            BindRequest(
                phone_no_a=order.phone_no_a,
                expires_in=timedelta(seconds=order.length_s),
                out_order_id=order.name,
                idempotency_key=order.name,
                **({"renew": order.renew()} if self._with_policies else {}),
                **({"callback_url": RECEIVER} if order.is_told else {}),
            )
            for order in orders
        ]
        await self._engine.producer.intake.submit_many(requests)

    async def _close(self, order: Order) -> None:
        await self._engine.close_order(order.name)
        self.played.closed_s[order.name] = self._time.unix_s()

    async def _trouble(self, trouble: Trouble) -> None:
        """Begins in the midst of a call, and ends when it ends."""
        begun = asyncio.Event()
        self._next_event_s = self._time.unix_s() + HOUR_S

        def begin() -> None:
            self._break(trouble)
            begun.set()

        self._provider.before_next.append(begin)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOUR_S):
                await begun.wait()
        if not begun.is_set():
            self._provider.before_next.clear()
            self._break(trouble)
        began_s = self._time.unix_s()
        if trouble.kind == "workers":
            await self._engine.stop_workers()
        await self._until(began_s + trouble.lasts_s)
        if trouble.kind == "redis":
            self._server.restart()
            self._is_redis_away = False
        elif trouble.kind == "provider":
            self._provider.is_away = False
        else:
            self._start_workers()
        self._in_trouble = False
        self.played.troubles.append((began_s, self._time.unix_s()))

    def _break(self, trouble: Trouble) -> None:
        self._in_trouble = True
        if trouble.kind == "redis":
            os.kill(self._server.pid, signal.SIGKILL)
            self._is_redis_away = True
        elif trouble.kind == "provider":
            self._provider.is_away = True

    async def _noise(self, noise: Noise) -> None:
        shares = {"throttle": noise.throttled, "http_503": noise.failed, "close_after": noise.unanswered}
        for kind, share in shares.items():
            if share:
                fault = Fault(kind=kind, probability=share, action="UpdateSubscription")  # type: ignore[arg-type]
                self._provider.gateway.faults.add(fault)

    async def _quiet(self) -> None:
        self._provider.gateway.faults.clear()

    async def _step(self, step: Step) -> None:
        if step.of == "all":
            self._time.step(step.by_s)
        for worker in self._engine.queue.workers:
            worker.clock.skew_s += step.by_s if step.of == "workers" else 0

    async def _unbind_at_the_console(self) -> None:
        living = [binding for binding in self._provider.bindings() if binding.ended is None]
        if living:
            self._provider.end(self._random.choice(living))

    def _start_workers(self) -> None:
        for _ in range(self._workers):
            self._clients.append(self._engine.start_worker().services.producer.redis)

    def _is_busy(self) -> bool:
        """A Redis that is away answers nobody: whoever asks it sleeps between two tries."""
        return not self._is_redis_away and busy_connections(self._clients) > 0

    def _pass_time(self, timer_s: float | None) -> None:
        """Nothing is ready: go on to whatever comes next."""
        timer_s = 1.0 if timer_s is None else timer_s
        now_s = self._time.unix_s()
        event_s = self._next_event_s - now_s
        if self._in_trouble:
            leap_s = max(timer_s, min(_LEAP_IN_TROUBLE_S, event_s))
        elif self._is_under_way():
            leap_s = timer_s
        else:
            self._tell(now_s)
            leap_s = max(timer_s, min(self._until_due_s(now_s), event_s))
        self.played.leaps += leap_s > timer_s
        self._time.move(leap_s)

    def _is_under_way(self) -> bool:
        """Whether anything runs beside what always does and this scenario."""
        running = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks(self._loop))
        return any(name not in _BACKGROUND and not name.startswith("Year.") for name in running)

    def _until_due_s(self, now_s: float) -> float:
        try:
            pipeline = self._blocking.pipeline(transaction=False)
            for partition in ALL_PARTITIONS:
                pipeline.zrange(timetable_key(partition), 0, 0, withscores=True)
            firsts: list[float] = [first[0][1] for first in pipeline.execute() if first]
        except RedisError:
            return 0.0
        if not firsts:
            return float("inf")
        due_in_s = min(firsts) / 1000 - now_s
        return due_in_s + self._scenario.oversleep_s(now_s) if due_in_s > 0 else 0.0

    def _collect(self) -> None:
        """What the provider knows."""
        played, provider = self.played, self._provider
        for binding in provider.bindings():
            changes = tuple(provider.changes.get(binding.subs_id, ()))
            first_end_s = changes[0].before_s if changes else binding.expires_at
            died_s = float("inf")
            if binding.ended is not None:
                died_s = provider.ended_s.get(binding.subs_id, binding.expires_at)
            played.lives.setdefault(binding.out_order_id, []).append(
                Life(
                    binding.out_order_id, binding.subs_id, binding.phone_no_x, binding.created_at, first_end_s, changes,
                    died_s, is_unbound=binding.ended == "unbound",
                )
            )  # fmt: skip
        played.repeated, played.unanswered = provider.repeated, provider.lost_answers
        stats: Any = provider.gateway.stats.as_dict(self._time.unix_s())
        played.updates = dict(stats.get("UpdateSubscription", {}).get("codes", {}))
        receiver = self._engine.receiver
        for webhook_id, type_ in receiver.types.items():
            played.events.setdefault(receiver.bodies[webhook_id]["out_order_id"], []).append(type_)

    async def _compare(self) -> None:
        """The registry with the provider; what was ended at the console may not have been noticed yet."""
        made, registry = self._provider.bindings(), self._engine.producer.bindings
        names = [BindingName(NameKind.SUBS_ID, binding.subs_id) for binding in made]
        for at in range(0, len(made), _AT_ONCE):
            found = await registry.look_up(names[at : at + _AT_ONCE])
            for binding, known in zip(made[at : at + _AT_ONCE], found, strict=True):
                ends = [one.expires_at / 1000 for one in known if one.is_active]
                expected = [binding.expires_at] if binding.ended is None else []
                if ends != expected and binding.ended != "unbound":
                    fault = f"{binding.out_order_id}: {binding.subs_id} ends {expected}, and {ends} in the registry"
                    self.played.disagreements.append(fault)

    def troubles(self) -> Troubles:
        """When nothing could be renewed, the first minutes after it included: many catch up then."""
        spans = [(begin, end + _SETTLED_AFTER_S) for begin, end in self.played.troubles]
        return Troubles(spans, self._scenario.oversleep_s)


def _act(method: Callable[..., Awaitable[None]], *arguments: Any) -> Callable[[], Awaitable[None]]:
    return lambda: method(*arguments)


def _groups(orders: list[Order]) -> Iterator[list[Order]]:
    """Orders of the same minute, in order."""
    group: list[Order] = []
    for order in orders:
        if group and (order.at_s - group[0].at_s > 60 or len(group) >= _AT_ONCE):
            yield group
            group = []
        group.append(order)
    if group:
        yield group


def _fast_folder() -> str | None:
    """The clock's file is written at each leap: in memory, where there is such a folder."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
