"""The ledger on a Redis Cluster: one client whose commands go to the nodes that have their keys.

Each node has a client as a single server has: the same bounded pool, three tries, scripts in groups. This one finds the
node of a key, follows it when it moves, and puts the answers of a pipeline over several nodes together again. Why it is
not redis-py's RedisCluster: docs/decisions/0040-a-cluster-client-of-single-clients.md.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from worker.redis_cluster_answers import command_name, is_wait, least, slot_of, slots_from
from worker.redis_cluster_nodes import Asking, call_at, is_ask, is_heard
from worker.redis_sentinel import following
from worker.redis_urls import Address, ManyServers

_ROUNDS = 6
"""Tries of a command whose slot moves, or whose node went away and has a successor."""
_PAUSE_S = 0.05
_LEAST_BETWEEN_LOOKS_S = 0.2
_HOME_SLOT = key_slot(b"{p00}")
"""Whose node is asked what any node can tell: the time, for one."""

_MOVED_ON = (MovedError, AskError, TryAgainError, ClusterDownError)
_AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
_MOVING = TryAgainError("TRYAGAIN the slot is moving to another node")
_AGAIN = (*_MOVED_ON, NoScriptError, *_AWAY)
_Command = tuple[tuple[Any, ...], dict[str, Any]]


class ClusterClient(Redis):
    """A cluster as if it were one server, for what the ledger asks.

    Commands have one key, or are scripts and transactions within one slot. PING and FLUSHALL go to all primaries; WAIT
    and WAITAOF to those that the pipeline wrote to, and the least is answered; what any node can tell to one of them.

    Args:
        servers: where to ask for the nodes.
        client_at: makes the client of one node, which tries each command once.
        subscriber: for pub/sub, at whichever node.
        timeout_s: how long one node is waited for when it is asked for the others.
        resends: how often a command is sent again to a node that does not answer and has no successor.
    """

    def __init__(
        self,
        servers: ManyServers,
        client_at: Callable[[Address], Redis],
        subscriber: Redis,
        *,
        timeout_s: float,
        resends: int,
    ) -> None:
        self._servers = servers
        self._client_at = client_at
        self._subscriber = subscriber
        self._timeout_s = timeout_s
        self._resends = resends
        self._suspect: Address | None = None
        self._clients: dict[Address, Redis] = {}
        self._slots: dict[int, Address] = {}
        self._others: list[Address] = []
        self._sources: dict[str, str] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looked_at_s = float("-inf")
        pool: Any = self._subscriber.connection_pool
        pool.connection_class = following(pool.connection_class, self._any_address)
        super().__init__(connection_pool=pool)

    def node(self, address: Address) -> Redis:
        """The client of this node."""
        if address not in self._clients:
            self._clients[address] = self._client_at(address)
        return self._clients[address]

    async def primaries(self) -> list[Redis]:
        """The clients of all nodes that have slots."""
        if not self._slots:
            await self._look()
        return [self.node(address) for address in dict.fromkeys(self._slots.values())]

    async def _node_of(self, slot: int) -> Address:
        if slot not in self._slots:
            await self._look()
        try:
            return self._slots[slot]
        except KeyError:
            raise ClusterDownError("CLUSTERDOWN no node has this slot") from None

    async def _any_address(self) -> Address:
        return random.choice(self._known())  # noqa: S311 - no secret

    def _known(self) -> list[Address]:
        return list(dict.fromkeys((*self._slots.values(), *self._others))) or list(self._servers.addresses)

    async def _look(self) -> None:
        """Ask the nodes who has which slots; several callers share one question."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._ask_for_slots())
            self._looking.add_done_callback(is_heard)
        await asyncio.shield(self._looking)

    def _look_soon(self) -> None:
        if time.monotonic() - self._looked_at_s >= _LEAST_BETWEEN_LOOKS_S and (
            self._looking is None or self._looking.done()
        ):
            self._looking = asyncio.create_task(self._ask_for_slots())
            self._looking.add_done_callback(is_heard)

    async def _ask_for_slots(self) -> None:
        self._looked_at_s = time.monotonic()
        failure: BaseException | None = None
        known = self._known()
        random.shuffle(known)
        everybody = sorted(dict.fromkeys((*known, *self._servers.addresses)), key=lambda one: one == self._suspect)
        for address in everybody:  # who has just failed to answer comes last
            try:
                async with asyncio.timeout(self._timeout_s):
                    told = await self.node(address).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as refused:
                failure = refused
                continue
            if told:
                self._slots, self._others = slots_from(told, address)
                return
        raise failure or ClusterDownError("CLUSTERDOWN no node has any slot")

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """See the class for which commands, and where they go."""
        name = command_name(args)
        if name in ("PING", "FLUSHALL") or is_wait(name):
            answers = await asyncio.gather(*(self._patiently(node, args, options) for node in await self.primaries()))
            return least(answers) if is_wait(name) else answers[0]
        return await self._routed(self._slot(args), lambda node: self._scripted(node, args, options))

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:  # type: ignore[override, unused-ignore]
        """Call a script at the node of its keys."""
        return await self.execute_command("EVALSHA", sha, numkeys, *keys_and_args)

    def register_script(self, script: Any) -> Any:
        """As redis-py's. The text is kept: a node that was added or promoted has not seen it."""
        registered = super().register_script(script)
        self._sources[registered.sha] = script
        return registered

    async def scan_iter(self, *args: Any, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override, unused-ignore]
        """The keys of all nodes. One that moves from node to node meanwhile may be missed."""
        for node in await self.primaries():
            async for key in node.scan_iter(*args, **options):
                yield key

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: ARG002 - redis-py's
        """Commands that go out together, one group to each node; a transaction stays in one slot."""
        return _ClusterPipeline(self, is_transaction=transaction)

    async def run(self, stack: Sequence[_Command], scripts: Iterable[Any]) -> list[Any]:
        """The answers, or errors, to commands of a pipeline; those of each node are sent in their order.

        One that waits for replicas or a disk is sent again as a whole where any part of it has to be.
        """
        waits = [number for number, (args, _) in enumerate(stack) if is_wait(command_name(args))]
        every = [number for number in range(len(stack)) if number not in waits]
        todo = every
        answers: dict[int, Any] = {}
        for round_ in range(_ROUNDS):
            groups = await self._by_node(stack, todo)
            sent = (self._send(at, [stack[n] for n in (*numbers, *waits)], scripts) for at, numbers in groups.items())
            replies = await asyncio.gather(*sent)
            for numbers, reply in zip(groups.values(), replies, strict=True):
                answers.update(zip(numbers, reply, strict=False))
            answers.update(
                (wait, least([reply[place - len(waits)] for reply in replies])) for place, wait in enumerate(waits)
            )
            failed = [
                (at, number) for at, numbers in groups.items() for number in numbers if _is_again(answers[number])
            ]
            where = {self._slot(stack[number][0]): (at, answers[number]) for at, number in failed}
            if not failed or round_ == _ROUNDS - 1 or not await self._goes_on(where, round_):
                break
            todo = every if waits else [number for _, number in failed]
        return [answers[number] for number in range(len(stack))]

    async def run_as_one(self, stack: Sequence[_Command]) -> list[Any]:
        """The answers to a transaction, all of whose keys are in the first one's slot."""

        async def at(node: Redis) -> list[Any]:
            try:
                async with node.pipeline(transaction=True) as pipeline:
                    pipeline.command_stack.extend(stack)
                    return await pipeline.execute()
            except AskError as moving:
                if isinstance(moving, MovedError):
                    raise
                raise _MOVING from None

        answers: list[Any] = await self._routed(self._slot(stack[0][0]), at)
        return answers

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections to all nodes."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for client in (self._subscriber, *self._clients.values()):
            await client.aclose(close_connection_pool)

    def _slot(self, args: Sequence[Any]) -> int:
        slot = slot_of(args)
        return _HOME_SLOT if slot is None else slot

    async def _patiently(self, node: Redis, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for _ in range(self._resends):
            try:
                return await call_at(node, args, options)
            except _AWAY:
                self._look_soon()
                await asyncio.sleep(_PAUSE_S)
        return await call_at(node, args, options)

    async def _scripted(self, node: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        try:
            return await call_at(node, args, options)
        except NoScriptError:
            source = self._sources.get(str(args[1]))
            if source is None:
                raise
            await node.script_load(source)
            return await call_at(node, args, options)

    async def _routed(self, slot: int, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """Make a call where this slot is, and again where it went."""
        for round_ in range(_ROUNDS):
            address = await self._node_of(slot)
            try:
                return await call(self.node(address))
            except asyncio.CancelledError:  # of an impatient caller: the next one shall find the node's successor
                self._look_soon()
                raise
            except _AGAIN as failure:
                if is_ask(failure):
                    return await call(self._asking(failure, address))
                if round_ == _ROUNDS - 1 or not await self._goes_on({slot: (address, failure)}, round_):
                    raise
        raise AssertionError  # the last round returned or raised

    def _asking(self, moving: Any, address: Address) -> "Asking":
        return Asking(self.node((moving.host or address[0], int(moving.port))))

    async def _goes_on(self, failed: Mapping[int, tuple[Address, Any]], round_: int) -> bool:
        """Learn from failures by slot; whether another try may find what this one did not."""
        goes_on, away = False, {}
        for slot, (address, failure) in failed.items():
            if isinstance(failure, MovedError):
                self._slots[slot] = (failure.host or address[0], int(failure.port))
                self._look_soon()
            elif isinstance(failure, _AWAY):
                away[slot] = address
                continue
            elif not isinstance(failure, NoScriptError):  # the pipeline loads it then
                await asyncio.sleep(_PAUSE_S)
                self._look_soon()
            goes_on = True
        return goes_on if not away else await self._is_succeeded(away) or goes_on or round_ < self._resends

    async def _is_succeeded(self, away: Mapping[int, Address]) -> bool:
        """Whether one of these slots is at another node than the one that did not answer."""
        self._suspect = next(iter(away.values()))
        await asyncio.sleep(_PAUSE_S)
        try:
            await self._look()
        except (RedisError, OSError):
            return False
        return any(self._slots.get(slot) != address for slot, address in away.items())

    async def _by_node(self, stack: Sequence[_Command], numbers: Sequence[int]) -> dict[Address, list[int]]:
        groups: dict[Address, list[int]] = {}
        for number in numbers:
            groups.setdefault(await self._node_of(self._slot(stack[number][0])), []).append(number)
        return groups

    async def _send(self, address: Address, group: Sequence[_Command], scripts: Iterable[Any]) -> list[Any]:
        called = {args[1] for args, _ in group if command_name(args) == "EVALSHA"}
        try:
            async with self.node(address).pipeline(transaction=False) as pipeline:
                pipeline.command_stack.extend(group)
                pipeline.scripts.update(script for script in scripts if script.sha in called)
                answers = await pipeline.execute(raise_on_error=False)
        except asyncio.CancelledError:
            self._look_soon()
            raise
        except _AGAIN as failure:
            return [failure] * len(group)
        has_waits = any(is_wait(command_name(args)) for args, _ in group)
        for place, answer in enumerate(answers):
            if is_ask(answer):  # what another connection writes, this one's wait would not count
                answers[place] = _MOVING if has_waits else await self._asked(group[place], answer, address)
        return answers

    async def _asked(self, command: _Command, moving: Any, address: Address) -> Any:
        try:
            return await self._scripted(self._asking(moving, address), *command)
        except RedisError as failure:
            return failure


class _ClusterPipeline(Pipeline):
    """redis-py's, sent by the cluster's client. A node that is away is an error of its commands, not of the others."""

    def __init__(self, cluster: ClusterClient, *, is_transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, is_transaction, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        stack: Any = self.command_stack
        scripts = set(self.scripts)
        await self.reset()  # type: ignore[no-untyped-call]
        if not stack:
            return []
        if self.is_transaction:
            return await self._cluster.run_as_one(stack)
        answers = await self._cluster.run(stack, scripts)
        for answer in answers:
            if isinstance(answer, Exception) and raise_on_error:
                raise answer
        return answers


def _is_again(answer: Any) -> bool:
    return isinstance(answer, _AGAIN)
