"""The whole way where it takes longer: `make test-redis`.

TLS and users of the least rights on one plain server, of each kind that is installed; a primary behind Sentinels that
is killed under the workers.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tasks import JobState, submit_many
from tests.callbacks.certificates import Authority
from tests.redis_topologies.clusters import cluster
from tests.redis_topologies.rights import BROKER_USER, LEDGER_USER, PASSWORD, acl_file
from tests.redis_topologies.sentinels import watched
from tests.redis_topologies.support import shop_on
from tests.redis_topologies.tls import Terminator
from tests.redis_topologies.whole_way import MANY, go_the_whole_way
from worker.errors import LedgerUnavailableError
from worker.local.redis_server import EmbeddedRedis


@contextlib.contextmanager
def encrypted(server: Path | None, folder: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to one that is asked by users of the least rights, over TLS."""
    authority = Authority(folder, name="own-ca")
    with EmbeddedRedis(server, options={"aclfile": str(acl_file(folder))}) as running:
        terminator = Terminator(authority.server("127.0.0.1"), running.socket_path)
        at, ca = f"{PASSWORD}@127.0.0.1:{terminator.port}", f"?ssl_ca_certs={authority.file}"
        try:
            yield {
                "AXN_REDIS_URL": f"rediss://{LEDGER_USER}:{at}/0{ca}",
                "AXN_BROKER_URL": f"rediss://{BROKER_USER}:{at}/1{ca}",
            }
        finally:
            terminator.close()


@pytest.mark.parametrize("kind", ["the wheel's", "installed"])
def test_everything_works_over_tls_with_the_least_rights(tmp_path: Path, kind: str) -> None:
    installed = shutil.which("redis-server")
    if kind == "installed" and installed is None:
        pytest.skip("no redis-server is installed")
    server = Path(installed) if kind == "installed" and installed else None
    with encrypted(server, tmp_path) as variables, shop_on(variables) as shop:
        go_the_whole_way(shop)


def test_everything_works_on_a_cluster_of_installed_servers_over_tls(tmp_path: Path) -> None:
    installed = shutil.which("redis-server")
    if installed is None:
        pytest.skip("no redis-server is installed")
    authority = Authority(tmp_path, name="own-ca")
    authority.server("127.0.0.1")
    (certificate,) = [file for file in tmp_path.glob("*.pem") if file != authority.file]
    options = {
        "tls-cluster": "yes",
        "tls-replication": "yes",
        "tls-cert-file": str(certificate),
        "tls-key-file": str(certificate),
        "tls-ca-cert-file": str(authority.file),
        "tls-auth-clients": "no",
    }
    with (
        EmbeddedRedis() as broker,
        cluster(options, server=Path(installed)) as nodes,
        shop_on(
            {
                "AXN_REDIS_URL": f"{nodes.url.replace('redis', 'rediss')}?ssl_ca_certs={authority.file}",
                "AXN_BROKER_URL": broker.broker_url(0),
            }
        ) as shop,
    ):
        go_the_whole_way(shop)


def test_a_primary_behind_sentinels_is_killed_and_work_goes_on(tmp_path: Path) -> None:
    with (
        watched(tmp_path) as servers,
        shop_on({"AXN_REDIS_URL": servers.url(0), "AXN_BROKER_URL": servers.url(1)}) as shop,
    ):
        go_the_whole_way(shop)
        order = uuid4().hex
        requests = [shop.request(f"{order}-{n}", idempotency_key=f"{order}-{n}") for n in range(MANY)]
        filed = submit_many(requests)
        gone = servers.kill_primary()
        with pytest.raises(LedgerUnavailableError):
            submit_many(requests)
        servers.await_successor(gone)
        assert [row.job_id for row in submit_many(requests)] == [row.job_id for row in filed]
        jobs = shop.ended([row.job_id for row in filed])
        assert {job.state for job in jobs} <= {JobState.BOUND, JobState.IN_DOUBT}
        assert [len(shop.bindings_of(job.out_order_id)) for job in jobs] == [1] * MANY
        go_the_whole_way(shop)
