"""The operator's hand on the pace: see how an account's calls go, bound them, pause and resume lanes.

Orders stand in Redis, apart from the schedules: workers read them with each wish for a permit, so they hold at once and
outlast restarts.
"""

from collections.abc import Iterable, Mapping, Sequence

from redis.asyncio import Redis

from worker.domain.job import Lane
from worker.errors import AxnError
from worker.pace.keys import PaceKeys
from worker.pace.state import (
    PACED_LANES,
    AccountState,
    ActionState,
    ceiling_of,
    circuit_of,
    lanes_of,
    stop_of,
    traffic_of,
)
from worker.redis_scripts import load_script

LEAST_PER_SECOND, MOST_PER_SECOND = 0.01, 100_000
_LONGEST_NAME = 100


class PaceOrderError(AxnError):
    """An order that cannot be carried out; the message names the field and the fix. Nothing was changed."""


class PaceDesk:
    """Reads and orders the pace of one account.

    Args:
        redis: a client that decodes replies to text.
        account: as `account_of` names it.
        endpoint: host[:port] of the provider.
        per_second: each action's setting.
    """

    def __init__(self, redis: Redis, *, account: str, endpoint: str, per_second: Mapping[str, float]) -> None:
        self._redis = redis
        self._order = load_script(redis, "worker.pace", "order")
        self._account = account
        self._endpoint = endpoint
        self._settings = per_second

    async def read(self, actions: Sequence[str] = ()) -> AccountState:
        """The account as it stands, with these actions; none named: all. Plain reads in one round trip.

        Raises:
            PaceOrderError: an action is unknown.
        """
        actions = self._known(actions)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        of_any = self._keys(actions[0])
        pipeline.hgetall(of_any.stop)
        pipeline.hgetall(of_any.circuit)
        for action in actions:
            keys = self._keys(action)
            for key in (keys.schedule, keys.orders, keys.waiting):
                pipeline.hgetall(key)
        (seconds, microseconds), stop, circuit, *hashes = await pipeline.execute()
        now_us = seconds * 1_000_000 + microseconds
        states = []
        for place, action in enumerate(actions):
            schedule, orders, waiting = hashes[3 * place : 3 * place + 3]
            ceiling = ceiling_of(orders, self._settings[action])
            lanes = lanes_of(orders, waiting, now_us)
            states.append(ActionState(action, ceiling, lanes, traffic_of(schedule, now_us)))
        circuit_state = circuit_of(self._endpoint, circuit)
        return AccountState(self._account, now_us // 1000, stop_of(stop), circuit_state, tuple(states))

    async def set_per_second(self, action: str, per_second: float | None, *, by: str) -> None:
        """Bound an action by so many calls in any second; None: by the setting again.

        Raises:
            PaceOrderError: the action is unknown, the rate out of bounds, or the name not fit to be shown.
        """
        if per_second is not None and not LEAST_PER_SECOND <= per_second <= MOST_PER_SECOND:
            raise PaceOrderError(
                f"PER_SECOND: must be a number from {LEAST_PER_SECOND:g} to {MOST_PER_SECOND:,}; "
                "to send nothing use `axn pace pause`"
            )
        value = "" if per_second is None else f"{per_second:.10g}"
        await self._write(self._known([action]), ["per_second"], value, by)

    async def pause(self, lanes: Iterable[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
        """Grant nothing to these lanes of these actions, until they are resumed; none named: all.

        Raises:
            PaceOrderError: an action is unknown, a lane is not paced, or the name is not fit to be shown.
        """
        await self._write(self._known(actions), _fields(lanes), "1", by)

    async def resume(self, lanes: Iterable[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
        """Undo `pause`, and raise as it does."""
        await self._write(self._known(actions), _fields(lanes), "", by)

    async def _write(self, actions: Iterable[str], fields: list[str], value: str, by: str) -> None:
        if not (0 < len(by) <= _LONGEST_NAME and by.isprintable()):
            raise PaceOrderError(f"--by: must be 1 to {_LONGEST_NAME} printable characters")
        await self._order([self._keys(action).orders for action in actions], [by, value, *fields])

    def _known(self, actions: Sequence[str]) -> list[str]:
        if any(action not in self._settings for action in actions):
            raise PaceOrderError(f"action: must be one of {', '.join(self._settings)}")
        return list(dict.fromkeys(actions)) or list(self._settings)

    def _keys(self, action: str) -> PaceKeys:
        return PaceKeys(self._account, action, self._endpoint)


def _fields(lanes: Iterable[Lane]) -> list[str]:
    chosen = list(dict.fromkeys(lanes)) or PACED_LANES
    if any(lane not in PACED_LANES for lane in chosen):
        raise PaceOrderError(f"--lane: must be one of {', '.join(PACED_LANES)}")
    return [f"paused_{lane}" for lane in chosen]
