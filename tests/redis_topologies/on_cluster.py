"""The tests of the parts, with their ledger on a cluster: `make test-cluster`.

That no script, pipeline or transaction ever spans two slots shows here. They share one ledger: not with `-n`.
"""

import os
import subprocess
import sys

from tests.redis_topologies.clusters import cluster

PARTS = (
    "tests/ledger", "tests/delivery", "tests/attempt", "tests/pace", "tests/intake", "tests/batches",
    "tests/upgrade/test_newer_things.py",
)  # fmt: skip

OF_ONE_SERVER = (
    "tests/ledger/test_endings.py",
    "tests/ledger/test_binding_queue.py::test_a_line_stands_in_its_binding_s_partition_and_is_forgotten_in_time",
    "tests/ledger/test_bindings.py::test_a_worker_s_ticker_sweeps",
    (
        "tests/attempt/test_found_bindings.py::test_an_orphan_of_a_job_whose_record_is_gone_is_at_least_logged"
        "_without_its_number"
    ),
    "tests/intake/test_durability.py::test_what_the_server_cannot_give_is_refused_and_nothing_is_filed",
    "tests/batches/test_feeding.py::test_a_killed_feeder_is_replaced",
    "tests/batches/test_feeding.py::test_a_row_whose_job_is_there_is_not_refused_when_it_is_fed_again",
    "tests/batches/test_feeding.py::test_rows_whose_jobs_redis_has_lost_fail_in_the_end",
)
"""They ask the server themselves what only one server can tell: KEYS, FLUSHDB, who has subscribed; or name it.
That `wait` works on a cluster is shown by the whole way."""


def main(arguments: list[str]) -> int:
    """Run them; further arguments are pytest's."""
    with cluster() as nodes:
        env = os.environ | {"AXN_TEST_LEDGER": nodes.url}
        left_out = [f"--deselect={one}" for one in OF_ONE_SERVER]
        command = [sys.executable, "-m", "pytest", *PARTS, *left_out, *arguments]
        return subprocess.run(command, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
