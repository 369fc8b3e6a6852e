"""URLs of a Redis that is more than one server: a Cluster, or a primary that Sentinels know.

    redis+cluster://user:password@host:port,host:port
    redis+sentinel://user:password@host:port,host:port/service/0?sentinel_password=…

`rediss+` in front of either speaks TLS. The hosts are where to ask for the others. User, password and options hold for
all servers of the ledger; `sentinel_username` and `sentinel_password` for the Sentinels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_PORTS = 65_536
_DEFAULT_PORT = {"cluster": 6379, "sentinel": 26_379}

Address = tuple[str, int]
"""Host and port."""


class Topology(StrEnum):
    """How the servers belong together."""

    CLUSTER = "cluster"
    SENTINEL = "sentinel"


@dataclass(frozen=True, slots=True)
class ManyServers:
    """Such a URL, read.

    Attributes:
        scheme: redis or rediss.
        credentials: as they stand in the URL, with the @; empty where there are none.
        addresses: of some nodes, or of the Sentinels.
        service: the Sentinels' name of the primary.
        options: for the servers, as redis-py reads them.
        sentinel_options: user name and password at the Sentinels.
    """

    topology: Topology
    scheme: str
    credentials: str
    addresses: tuple[Address, ...]
    service: str
    database: int
    options: Mapping[str, str]
    sentinel_options: Mapping[str, str]

    def url_at(self, address: Address, database: int | None = None) -> str:
        """The URL of one server, as redis-py reads it."""
        number = self.database if database is None else database
        query = urlencode(self.options)
        return f"{self.scheme}://{self.credentials}{_written(address)}/{number}" + (f"?{query}" if query else "")

    def sentinels_for_celery(self, database: int) -> str:
        """The primary as Celery's broker, in kombu's notation."""
        query = f"?{urlencode(self.options)}" if self.options else ""
        return ";".join(
            f"sentinel://{self.credentials}{_written(address)}/{database}{query}" for address in self.addresses
        )


def many_servers(url: str) -> ManyServers | None:
    """Read such a URL; None for one of a single server.

    Raises:
        ValueError: it is malformed; the message names nothing of it.
    """
    scheme, is_many, topology = urlsplit(url).scheme.partition("+")
    if not is_many or scheme not in ("redis", "rediss") or topology not in set(Topology):
        return None
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(host, _DEFAULT_PORT[topology]) for host in hosts.split(",") if host)
    if not addresses:
        raise ValueError("names no host")
    service, database = _path(parts.path.strip("/"), Topology(topology))
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "db" in options:
        raise ValueError("takes the database in its path, not as db=")
    return ManyServers(
        topology=Topology(topology),
        scheme=scheme,
        credentials=f"{credentials}@" if credentials else "",
        addresses=addresses,
        service=service,
        database=database,
        options={name: value for name, value in options.items() if not name.startswith("sentinel_")},
        sentinel_options={
            name.removeprefix("sentinel_"): value for name, value in options.items() if name.startswith("sentinel_")
        },
    )


def _path(path: str, topology: Topology) -> tuple[str, int]:
    if topology is Topology.CLUSTER:
        if path not in ("", "0"):
            raise ValueError("names a database, and a cluster has only number 0")
        return "", 0
    service, _, number = path.partition("/")
    if not service or not (number or "0").isdecimal():
        raise ValueError("must end in /service/database, such as /mymaster/0")
    return unquote(service), int(number or 0)


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    port = parts.port or default_port  # raises ValueError where it is no number
    if not parts.hostname or not 0 < port < _PORTS:
        raise ValueError("names a host or a port that cannot be")
    return parts.hostname, port


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
