"""The servers, each once for all tests of a process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.durable_servers import free_port
from tests.redis_topologies.clusters import Cluster, cluster, port_of
from tests.redis_topologies.rights import BROKER_USER, LEDGER_USER, PASSWORD, acl_file
from tests.redis_topologies.support import Shop, shop_on
from worker.local.redis_server import EmbeddedRedis


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of users for a server."""
    return acl_file(tmp_path_factory.mktemp("users"))


@pytest.fixture(scope="module")
def nodes(users: Path) -> Iterator[Cluster]:
    """Six of them, asked by a user of the least rights."""
    with cluster({"aclfile": str(users)}, user=f"{LEDGER_USER}:{PASSWORD}@") as made:
        yield made


@pytest.fixture(scope="module")
def broker(users: Path) -> Iterator[EmbeddedRedis]:
    """A plain Redis."""
    with EmbeddedRedis(options={"aclfile": str(users)}, port=free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def cluster_shop(nodes: Cluster, broker: EmbeddedRedis) -> Iterator[Shop]:
    """A system whose ledger is on the cluster, and whose broker is a plain Redis; both by users of the least rights."""
    url = f"redis://{BROKER_USER}:{PASSWORD}@127.0.0.1:{port_of(broker)}/0"
    soon = {"AXN_LEASE": "3s", "AXN_ATTEMPT_TIMEOUT": "2s", "AXN_FIRST_LOOK": "1500ms"}  # a killed node costs leases
    with shop_on({"AXN_REDIS_URL": nodes.url, "AXN_BROKER_URL": url, **soon}) as shop:
        yield shop
