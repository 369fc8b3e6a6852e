"""Redis as the engine uses it: one client per process, and Lua scripts read from a package's files.

Every script of ours is safe to resend (it carries a token, or a second run changes nothing), so the client may try a
command again after a broken connection; redis-py does so ten times by default, which is more than a checkout can wait.
"""

from importlib import resources

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript

_RESENDS = 2
_CONNECT_TIMEOUT_S = 2.0
_CONNECTIONS = 32
"""More callers than this wait for a free connection: redis-py's own pool would refuse the hundred-and-first."""


def connect(url: str, *, timeout_ms: int, connections: int = _CONNECTIONS) -> Redis:
    """A client of the ledger's Redis.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the database.
        timeout_ms: how long one command may take.
        connections: most that are open at a time.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        decode_responses=True,
        max_connections=connections,
        timeout=timeout_ms / 1000,
        socket_timeout=timeout_ms / 1000,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(base=0.02, cap=0.2), _RESENDS),
    )
    return Redis.from_pool(pool)


def load_script(client: Redis, package: str, name: str) -> AsyncScript:
    """The script `scripts/<name>.lua` of a package, called by its hash and loaded again when Redis forgot it."""
    source = resources.files(package).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
    return client.register_script(source)
