"""What people do with callbacks: list them, look at one, bring dead ones back, disable and enable receivers."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from redis.asyncio import Redis

from worker.callbacks.receivers import receiver_of
from worker.domain.durations import duration_ms
from worker.domain.job_ids import is_job_id
from worker.errors import CallbackNotFoundError, ReceiverDisabledError
from worker.ledger.audit import Audit
from worker.ledger.callback_listing import CallbackListing, is_webhook_id
from worker.ledger.callback_views import Callback, CallbackState
from worker.ledger.index_walk import Tell
from worker.ledger.receiver_switch import Disabled, ReceiverSwitch
from worker.ledger.replays import Replay, ReplayOutcome, Replays
from worker.ledger.seal import NO_SEAL, Seal

REPLAYS_PER_SECOND = 20.0
_IDS_PER_STEP = 200

Moment = datetime | timedelta
"""A point in time: an instant with its zone, or so long ago by Redis's clock."""
TellReplays = Callable[[Sequence[Replay]], None]


@dataclass(frozen=True, slots=True)
class CallbackFilter:
    """Which callbacks are wanted; None and the empty host mean any. Delivered ones are on no list."""

    state: CallbackState | None = None
    host: str = ""

    def lets_through(self, callback: Callback) -> bool:
        """Whether this is one of them, its state aside."""
        return not self.host or host_of(callback) == self.host


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """How a replay goes.

    Attributes:
        by: who replays, for the audit and the records.
        per_second: most first tries at one receiver, so that the replay of thousands is no storm.
        is_dry_run: only tell what would be replayed.
    """

    by: str
    per_second: float = REPLAYS_PER_SECOND
    is_dry_run: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.per_second < float("inf"):
            raise ValueError("per_second: must be above 0")


@dataclass
class ReplayReport:
    """What became of the callbacks that were to be replayed.

    Attributes:
        outcomes: how many came to each outcome.
        last_try_at: when the last of them is tried, Unix ms by Redis's clock.
    """

    outcomes: dict[ReplayOutcome, int] = field(default_factory=dict)
    last_try_at: int = 0

    def add(self, replays: Sequence[Replay]) -> None:
        """Count these, too."""
        for one in replays:
            self.outcomes[one.outcome] = self.outcomes.get(one.outcome, 0) + 1
            self.last_try_at = max(self.last_try_at, one.first_try_at)

    @property
    def done(self) -> int:
        """How many were, or would be, brought back."""
        return sum(count for outcome, count in self.outcomes.items() if outcome.is_as_asked)

    @property
    def refused(self) -> int:
        """How many were not."""
        return sum(self.outcomes.values()) - self.done


@dataclass(frozen=True, slots=True)
class Enabled:
    """A receiver that gets callbacks again.

    Attributes:
        was: how it was disabled; None if it was not.
        dead: how many of its callbacks wait for a replay.
    """

    host: str
    was: Disabled | None
    dead: int


def host_of(callback: Callback) -> str:
    """Its receiver; empty where its URL is none."""
    return callback.host or receiver_of(callback.url)


class CallbackDesk:
    """Every method raises redis-py's errors: wrap it in `worker.redis_faults.asking`.

    Args:
        redis: a client that decodes replies to text.
        seal: opens the bodies.
    """

    def __init__(self, redis: Redis, seal: Seal = NO_SEAL) -> None:
        self._redis: Any = redis
        self._listing = CallbackListing(redis, seal)
        self._replays = Replays(redis)
        self._switch = ReceiverSwitch(redis)
        self._audit = Audit(redis)

    async def find(self, wanted: CallbackFilter, limit: int, tell: Tell = lambda _looked_at: None) -> list[Callback]:
        """Dead ones, newest first, then waiting ones, as far as they are wanted; without their tries' logs.

        Args:
            wanted: which.
            limit: most callbacks.
            tell: called with the number of callbacks looked at so far.
        """
        found: list[Callback] = []
        if wanted.state in (None, CallbackState.DEAD):
            found += await self._listing.newest_dead(wanted.lets_through, limit, tell)
        if wanted.state in (None, CallbackState.WAITING) and len(found) < limit:
            found += await self._listing.some_waiting(wanted.lets_through, limit - len(found), tell)
        return [dataclasses.replace(one, host=host_of(one)) for one in found]

    async def read(self, id_: str) -> Callback:
        """One callback in full.

        Args:
            id_: its webhook-id, or a job's id for the callback of the job's end.

        Raises:
            CallbackNotFoundError: nothing tells of it.
        """
        callback = await self._listing.read(await self._webhook_id(id_))
        return dataclasses.replace(callback, host=host_of(callback))

    async def replay(self, ids: Sequence[str], rules: ReplayRules, tell: TellReplays) -> ReplayReport:
        """Bring these back, as far as they are dead.

        Args:
            ids: as for `read`, in the order in which they are tried.
            rules: how.
            tell: called with what became of some of them, all along.
        """
        report = ReplayReport()
        each_once = list(dict.fromkeys(ids))
        for start in range(0, len(each_once), _IDS_PER_STEP):
            step = [await self._known(id_) for id_ in each_once[start : start + _IDS_PER_STEP]]
            for host, group in groupby(step, key=lambda one: one.host):
                replays = await self._step(list(group), host, rules, has_audit_lines=True)
                report.add(replays)
                tell(replays)
        return report

    async def replay_receiver(
        self,
        host: str,
        rules: ReplayRules,
        tell: TellReplays,
        *,
        since: Moment,
        until: Moment | None = None,
        tell_looked_at: Tell = lambda _looked_at: None,
    ) -> ReplayReport:
        """Bring back what this receiver was given up on in this time, oldest first.

        Broken off at any point it can simply be asked for again: what is done is done, and the rest is still dead.

        Args:
            host: the receiver.
            rules: how.
            tell: called with what became of some of them, all along.
            since: from when on they were given up.
            until: up to when, both ends included; None: up to now.
            tell_looked_at: called with the number of dead callbacks looked at so far.

        Raises:
            ReceiverDisabledError: they would be given up at once; those that were brought back before stay so.
            ValueError: a moment has no zone, or they are in the wrong order.
        """
        now_ms = await self._now_ms()
        begin, end = _unix_ms(since, now_ms), now_ms if until is None else _unix_ms(until, now_ms)
        if begin > end:
            raise ValueError("since: must not be after until")
        if not rules.is_dry_run:
            if disabled := await self._switch.read(host):
                raise ReceiverDisabledError(host, disabled.by)
            # Said before it is done: a replay without a line must not be possible, a line without an effect may be.
            await self._note(host, rules.by, "callbacks replayed", CallbackState.DEAD, CallbackState.WAITING)
        report = ReplayReport()
        wanted = CallbackFilter(host=host)
        dead = self._listing.dead(wanted.lets_through, tell_looked_at, is_newest_first=False, since=begin, until=end)
        async with aclosing(dead) as batches:
            async for batch in batches:
                replays = await self._step(
                    [Replay(one.webhook_id, host, ReplayOutcome.WOULD_REPLAY) for one in batch],
                    host, rules, has_audit_lines=False,
                )  # fmt: skip
                report.add(replays)
                tell(replays)
        return report

    async def disable(self, host: str, by: str) -> Disabled:
        """Send this receiver nothing more: its callbacks are given up as their time comes, and can be replayed."""
        await self._note(host, by, "receiver disabled", "enabled", "disabled")
        return await self._switch.disable(host, by)

    async def enable(self, host: str, by: str, tell: Tell = lambda _looked_at: None) -> Enabled:
        """Send it callbacks again. Those that were given up stay dead until they are replayed.

        Args:
            host: the receiver.
            by: who says so, for the audit.
            tell: called with the number of dead callbacks looked at so far.
        """
        was = await self._switch.read(host)
        if was is not None:
            await self._note(host, by, "receiver enabled", "disabled", "enabled")
            await self._switch.enable(host)
        dead = 0
        async with aclosing(self._listing.dead(CallbackFilter(host=host).lets_through, tell)) as batches:
            async for batch in batches:
                dead += len(batch)
        return Enabled(host, was, dead)

    async def _step(
        self, asked: Sequence[Replay], host: str, rules: ReplayRules, *, has_audit_lines: bool
    ) -> Sequence[Replay]:
        """Bring back those that are dead, as far as anybody knows by now."""
        _end_if_cancelled()
        dead = [one.webhook_id for one in asked if one.outcome is ReplayOutcome.WOULD_REPLAY]
        if rules.is_dry_run or not dead:
            return asked
        if disabled := await self._switch.read(host):
            if not has_audit_lines:
                raise ReceiverDisabledError(host, disabled.by)
            refused = dict.fromkeys(dead, ReplayOutcome.DISABLED)
            return [dataclasses.replace(one, outcome=refused.get(one.webhook_id, one.outcome)) for one in asked]
        replays = await self._replays.replay(
            dead, host, per_second=rules.per_second, by=rules.by, has_audit_lines=has_audit_lines
        )
        done = {one.webhook_id: one for one in replays}
        return [done.get(one.webhook_id, one) for one in asked]

    async def _known(self, id_: str) -> Replay:
        try:
            callback = await self.read(id_)
        except CallbackNotFoundError:
            return Replay(id_, "", ReplayOutcome.MISSING)
        outcomes = {CallbackState.DEAD: ReplayOutcome.WOULD_REPLAY, CallbackState.WAITING: ReplayOutcome.WAITING}
        return Replay(callback.webhook_id, callback.host, outcomes.get(callback.state, ReplayOutcome.MISSING))

    async def _webhook_id(self, id_: str) -> str:
        if is_job_id(id_):
            return await self._listing.of_job(id_)
        if not is_webhook_id(id_):
            raise CallbackNotFoundError("no callback has such an id: it is that of its job, a hyphen, and a number")
        return id_

    async def _note(self, host: str, by: str, what: str, was: str, now: str) -> None:
        await self._audit.add("", by=by, what=what, was=was, now=now, subject=host)

    async def _now_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _end_if_cancelled() -> None:
    """A Ctrl-C must not get lost: `wait_for` of Python 3.11, in redis-py, swallows one that meets a finished write."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _unix_ms(moment: Moment, now_ms: int) -> int:
    if isinstance(moment, timedelta):
        return now_ms - duration_ms(moment)
    if moment.tzinfo is None:
        raise ValueError("must be an instant with its zone, such as 2026-11-24T08:00:00Z")
    return int(moment.timestamp() * 1000)
