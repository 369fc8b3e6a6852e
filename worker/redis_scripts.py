"""Redis as the engine uses it: one client per process, and Lua scripts read from a package's files.

Calls of scripts that come together go out together: redis-py's asyncio client takes several times as much CPU for a
command by itself as for one in a pipeline.

Every script of ours is safe to resend (it carries a token, or a second run changes nothing), so the client may try a
command again after a broken connection; redis-py does so ten times by default, which is more than a checkout can wait.
Which ones these are, and why: docs/decisions/0004-every-redis-call-may-be-resent.md.
"""

import asyncio
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError

from worker.redis_cluster import ClusterClient
from worker.redis_sentinel import PrimaryLookup, following
from worker.redis_urls import Address, Topology, many_servers

_RESENDS = 2
_LONGEST_BACKOFF_S = 0.2
_CONNECTIONS = 32
"""More callers than this wait for a free connection: redis-py's own pool would refuse the hundred-and-first."""
_MOST_IN_A_GROUP = 64
_MOST_GROUPS = 2
"""Under way at a time. While they are, further calls gather."""

_Call = tuple[tuple[Any, ...], "asyncio.Future[Any]"]


class ScriptGroups:
    """Calls of scripts: by themselves while Redis is hardly asked, in pipelines while others are under way.

    Each call has its own answer or error. A connection that breaks is all its group's error, after the client's tries,
    as it would have been each call's own. A call that is cancelled may be done all the same.
    """

    def __init__(self, client: "_Client") -> None:
        self._client = client
        self._waiting: list[_Call] = []
        self._under_way = 0
        self._senders: set[asyncio.Task[None]] = set()

    async def call(self, *evalsha: Any) -> Any:
        """What Redis answers to EVALSHA with these arguments."""
        if self._under_way < _MOST_GROUPS:
            self._under_way += 1
            try:
                return await self._client.execute_command("EVALSHA", *evalsha)  # type: ignore[no-untyped-call]
            finally:
                self._end_or_go_on()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((evalsha, answer))
        return await answer

    def _end_or_go_on(self) -> None:
        self._waiting = [call for call in self._waiting if not call[1].done()]
        if not self._waiting:
            self._under_way -= 1
            return
        sender = asyncio.create_task(self._send())
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _send(self) -> None:
        """One group; what has gathered meanwhile is the next."""
        group, self._waiting = self._waiting[:_MOST_IN_A_GROUP], self._waiting[_MOST_IN_A_GROUP:]
        try:
            _answer(group, await self._answers(group))
        except BaseException as failure:
            _fail(group, failure)
            if not isinstance(failure, Exception):
                raise
        finally:
            self._end_or_go_on()

    async def _answers(self, calls: Sequence[_Call]) -> Sequence[Any]:
        async with self._client.pipeline(transaction=False) as pipeline:
            for evalsha, _ in calls:
                pipeline.execute_command("EVALSHA", *evalsha)
            return await pipeline.execute(raise_on_error=False)


def _answer(calls: Sequence[_Call], answers: Sequence[Any]) -> None:
    for (_, answer), value in zip(calls, answers, strict=True):
        if answer.done():  # cancelled
            continue
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)


def _fail(calls: Sequence[_Call], failure: BaseException) -> None:
    for _, answer in calls:
        if isinstance(failure, Exception) and not answer.done():
            answer.set_exception(failure)
        else:
            answer.cancel()


class _Client(Redis):
    """Whose scripts are called in groups."""

    @cached_property
    def _groups(self) -> ScriptGroups:
        return ScriptGroups(self)

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:  # type: ignore[override, unused-ignore]
        return await self._groups.call(sha, numkeys, *keys_and_args)


def connect(url: str, *, timeout_ms: int, connections: int = _CONNECTIONS) -> Redis:
    """A client of the ledger's Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the database; or of many servers: see `worker.redis_urls`.
        timeout_ms: how long one try of a command may wait for a connection, and for each answer. A call is tried
            three times.
        connections: most that are open at a time; in a cluster, at each node.
    """
    servers = many_servers(url)
    if servers is None:
        return _Client.from_pool(_pool(url, timeout_ms, connections))
    if servers.topology is Topology.SENTINEL:
        pool = _pool(servers.url_at(servers.addresses[0]), timeout_ms, connections)
        lookup = PrimaryLookup(servers, timeout_s=timeout_ms / 1000)
        pool.connection_class = following(pool.connection_class, lookup.address)
        return _SentinelClient(pool, lookup)

    def at(address: Address) -> Redis:  # tried once: the cluster's client looks where the node went before it goes on
        return _Client.from_pool(_pool(servers.url_at(address), timeout_ms, connections, resends=0))

    subscriber = _Client.from_pool(_pool(servers.url_at(servers.addresses[0]), timeout_ms, connections))
    return ClusterClient(servers, at, subscriber, timeout_s=timeout_ms / 1000, resends=_RESENDS)


class _SentinelClient(_Client):
    """Whose connections are to the primary of the moment."""

    def __init__(self, pool: BlockingConnectionPool, lookup: PrimaryLookup) -> None:
        super().__init__(connection_pool=pool)
        self._lookup = lookup

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        await self.connection_pool.disconnect()
        await self._lookup.aclose()


def _pool(url: str, timeout_ms: int, connections: int, resends: int = _RESENDS) -> BlockingConnectionPool:
    pool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=connections,
        timeout=timeout_ms / 1000,
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(ExponentialBackoff(base=0.02, cap=_LONGEST_BACKOFF_S), resends),
    )
    pool.connection_class = _connection_class(pool.connection_class)
    return pool


def _connection_class(of_the_scheme: type[Any]) -> type[Any]:
    """The same, but for two things.

    A connection that was reset while it lay idle: on uvloop, writing to it is a RuntimeError. redis-py would neither
    try again nor would a caller know it for what it is. And commands are packed in C, as redis-py's blocking client has
    them packed.
    """

    class Connection(of_the_scheme):  # type: ignore[misc] # known when it runs
        def pack_command(self, *args: Any) -> list[bytes]:
            words = args[0].encode().split() if isinstance(args[0], str) else args[0].split()  # such as SCRIPT LOAD
            try:
                return [hiredis.pack_command((*words, *args[1:]))]
            except TypeError as unknown:
                raise DataError(str(unknown)) from None

        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as closed:
                if "closed" not in str(closed):
                    raise
                raise RedisConnectionError("the connection was closed in the meantime") from closed

    return Connection


async def servers_of(client: Redis) -> list[Redis]:
    """Clients of each server that takes writes: of a cluster's primaries, else the one given."""
    return await client.primaries() if isinstance(client, ClusterClient) else [client]


def longest_call_s(client: Redis) -> float:
    """How long one call of a client of ours may take, all its tries and the pauses between them together."""
    timeout_s: float = client.connection_pool.connection_kwargs["socket_timeout"]
    return (1 + _RESENDS) * timeout_s + _RESENDS * _LONGEST_BACKOFF_S


def load_script(client: Redis, package: str, name: str) -> AsyncScript:
    """The script `scripts/<name>.lua` of a package, called by its hash and loaded again when Redis forgot it."""
    source = resources.files(package).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
    return client.register_script(source)
