"""Which URLs may stand in AXN_REDIS_URL and AXN_BROKER_URL, and what Celery is told of the latter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from worker.redis_urls import ManyServers, Topology, many_servers

_LEDGER_FORMS = (
    "must be redis://host:port/0, rediss://… or unix:///path?db=0, the database a number; or "
    "redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/service/0"
)
_NO_CLUSTER = "Celery cannot use a Redis Cluster; name a Redis of its own (redis://…, redis+sentinel://…) or amqp://…"
_NO_TLS = "rediss+sentinel://: TLS is for one server or a cluster; write redis+sentinel:// there, in a private network"


@dataclass(frozen=True, slots=True)
class Broker:
    """As Celery takes it: its URL in kombu's notation, and transport options."""

    url: str
    transport_options: Mapping[str, Any] = field(default_factory=dict)


def checked_ledger_url(url: str) -> str:
    """The URL, if it leads to a ledger; raises ValueError with the fix in it."""
    try:
        servers = many_servers(url)
        usable = bool(servers) or (urlsplit(url).scheme in ("redis", "rediss", "unix") and bool(_next_database(url)))
    except ValueError:
        servers, usable = None, False
    if not usable:
        raise ValueError(_LEDGER_FORMS)
    if servers and _is_tls_behind_sentinels(servers):
        raise ValueError(f"must not be {_NO_TLS}")
    _check_ca("AXN_REDIS_URL", url)
    return url


def check_broker_url(broker_url: str, redis_url: str) -> None:
    """Raises ValueError, with the fix in it, where Celery could not use the broker."""
    try:
        servers = many_servers(broker_url or redis_url)
    except ValueError as wrong:
        raise ValueError(f"AXN_BROKER_URL {wrong}") from None
    if servers is None:
        _check_ca("AXN_BROKER_URL", broker_url)
        return
    if servers.topology is Topology.CLUSTER:
        verb = "must not be a cluster" if broker_url else "must be set where AXN_REDIS_URL is a cluster"
        raise ValueError(f"AXN_BROKER_URL {verb}: {_NO_CLUSTER}")
    if _is_tls_behind_sentinels(servers):
        raise ValueError(f"AXN_BROKER_URL must not be {_NO_TLS}")


def broker_of(broker_url: str, redis_url: str) -> Broker:
    """AXN_BROKER_URL, or the ledger's server with the next database, in Celery's notation."""
    servers = many_servers(broker_url or redis_url)
    if servers is None:
        return Broker(_with_own_certificates(broker_url) if broker_url else _next_database(redis_url))
    return _behind_sentinels(servers, servers.database if broker_url else servers.database + 1)


def _behind_sentinels(servers: ManyServers, database: int) -> Broker:
    options: dict[str, Any] = {"master_name": servers.service}
    if servers.sentinel_options:
        options["sentinel_kwargs"] = dict(servers.sentinel_options)
    return Broker(servers.sentinels_for_celery(database), options)


def _next_database(redis_url: str) -> str:
    parts = urlsplit(redis_url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}?virtual_host={int(options.get('db', '0')) + 1}"
    database = options.pop("db", "") or parts.path.strip("/") or "0"  # redis-py, too, prefers the query's
    url = parts._replace(path=f"/{int(database) + 1}", query=urlencode(options)).geturl()
    return _with_own_certificates(url)


def _with_own_certificates(url: str) -> str:
    """Kombu checks no certificate of a rediss:// server unless it is told to."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "rediss" or "ssl_cert_reqs" in options:
        return url
    return parts._replace(query=urlencode(options | {"ssl_cert_reqs": "required"})).geturl()


def _check_ca(variable: str, url: str) -> None:
    file = dict(parse_qsl(urlsplit(url).query)).get("ssl_ca_certs", "")
    if file and not Path(file).is_file():
        raise ValueError(f"{variable} names ssl_ca_certs={file}, which is no file")


def _is_tls_behind_sentinels(servers: ManyServers) -> bool:
    return servers.topology is Topology.SENTINEL and servers.scheme == "rediss"
