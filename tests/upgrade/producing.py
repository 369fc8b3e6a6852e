"""A producer of whichever release its PYTHONPATH leads to: it is run as a script, and imports nothing of the tests.

    echo '{"requests": [{…}, …]}' | PYTHONPATH=RELEASE python producing.py

Each line of stdin holds bind requests; under `rebinds` rebind requests; and with `batch` the name and the rows of a
batch of binds. Each line of stdout answers one: the ids of the jobs, and of the batch, and what this release knows.
"""

import json
import sys
from typing import Any

import tasks

KNOWN = {
    "rebind": hasattr(tasks, "RebindRequest"),
    "batch": hasattr(tasks, "start_batch"),
    "renew": "renew" in tasks.BindRequest.model_fields,
}


def main() -> None:
    """File what stands on each line."""
    for line in sys.stdin:
        given: dict[str, Any] = json.loads(line)
        requests: list[Any] = [tasks.BindRequest(**request) for request in given["requests"]]
        requests += [tasks.RebindRequest(**request) for request in given["rebinds"]]
        ids = [one.job_id for one in tasks.submit_many(requests)] if requests else []
        name = given["batch"]
        batch_id = tasks.start_batch(given["rows"], op="bind", name=name).batch_id if name else ""
        knows = [name for name, is_known in KNOWN.items() if is_known]
        print(json.dumps({"ids": ids, "batch_id": batch_id, "knows": knows}), flush=True)  # noqa: T201 - its answer
    tasks.close()


if __name__ == "__main__":
    main()
