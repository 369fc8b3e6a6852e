"""The primary that Sentinels know: each new connection asks them where it is."""

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError

from worker.redis_urls import Address, ManyServers


class PrimaryLookup:
    """Asks the Sentinels.

    Args:
        servers: a URL of Sentinels.
        timeout_s: longest wait for each of them.
    """

    def __init__(self, servers: ManyServers, *, timeout_s: float) -> None:
        self._service = servers.service
        options: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        self._sentinels: Any = Sentinel(servers.addresses, sentinel_kwargs=options | dict(servers.sentinel_options))  # type: ignore[no-untyped-call]

    async def address(self) -> Address:
        """Where the primary is; raises redis-py's MasterNotFoundError, a ConnectionError, where none tells."""
        host, port = await self._sentinels.discover_master(self._service)
        return str(host), int(port)

    async def aclose(self) -> None:
        """Close the connections to the Sentinels."""
        for sentinel in self._sentinels.sentinels:
            await sentinel.aclose()


def following(of_the_scheme: type[Any], address: Callable[[], Awaitable[Address]]) -> type[Any]:
    """A connection that asks where to go each time that it is made.

    One to a primary that was made a replica while it stood is given up as a broken one is, and so the command is tried
    again at the new primary. Sentinel cuts such connections, too: this is for the moment before.
    """

    class Connection(of_the_scheme):  # type: ignore[misc] # known when it runs
        async def _connect(self) -> None:
            self.host, self.port = await address()
            await super()._connect()

        async def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                return await super().read_response(*args, **options)
            except ReadOnlyError:
                await self.disconnect()
                raise RedisConnectionError("the primary has become a replica") from None

    return Connection
