"""Redis as the engine uses it: one client per process, and Lua scripts read from a package's files.

Every script of ours is safe to resend (it carries a token, or a second run changes nothing), so the client may try a
command again after a broken connection; redis-py does so ten times by default, which is more than a checkout can wait.
Which ones these are, and why: docs/decisions/0004-every-redis-call-may-be-resent.md.
"""

from importlib import resources
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import ConnectionError as RedisConnectionError

_RESENDS = 2
_LONGEST_BACKOFF_S = 0.2
_CONNECTIONS = 32
"""More callers than this wait for a free connection: redis-py's own pool would refuse the hundred-and-first."""


def connect(url: str, *, timeout_ms: int, connections: int = _CONNECTIONS) -> Redis:
    """A client of the ledger's Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the database.
        timeout_ms: how long one try of a command may wait for a connection, and for each answer. A call is tried
            three times.
        connections: most that are open at a time.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=connections,
        timeout=timeout_ms / 1000,
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=timeout_ms / 1000,
        retry=Retry(ExponentialBackoff(base=0.02, cap=_LONGEST_BACKOFF_S), _RESENDS),
    )
    pool.connection_class = _connection_class(pool.connection_class)
    return Redis.from_pool(pool)


def _connection_class(of_the_scheme: type[Any]) -> type[Any]:
    """The same, but for a connection that was reset while it lay idle: on uvloop, writing to it is a RuntimeError.

    redis-py would neither try again nor would a caller know it for what it is.
    """

    class Connection(of_the_scheme):  # type: ignore[misc] # known when it runs
        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as closed:
                if "closed" not in str(closed):
                    raise
                raise RedisConnectionError("the connection was closed in the meantime") from closed

    return Connection


def longest_call_s(client: Redis) -> float:
    """How long one call of a client of ours may take, all its tries and the pauses between them together."""
    timeout_s: float = client.connection_pool.connection_kwargs["socket_timeout"]
    return (1 + _RESENDS) * timeout_s + _RESENDS * _LONGEST_BACKOFF_S


def load_script(client: Redis, package: str, name: str) -> AsyncScript:
    """The script `scripts/<name>.lua` of a package, called by its hash and loaded again when Redis forgot it."""
    source = resources.files(package).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
    return client.register_script(source)
