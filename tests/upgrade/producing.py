"""A producer of whichever release its PYTHONPATH leads to: it is run as a script, and imports nothing of the tests.

    echo '{"requests": [{…}, …]}' | PYTHONPATH=RELEASE python producing.py

Each line of stdin holds bind requests, and with `batch` the name and the rows of a batch of binds. Each line of stdout
answers one: the ids of the jobs, and of the batch.
"""

import json
import sys
from typing import Any

import tasks


def main() -> None:
    """File what stands on each line."""
    for line in sys.stdin:
        given: dict[str, Any] = json.loads(line)
        requests = [tasks.BindRequest(**request) for request in given["requests"]]
        ids = [one.job_id for one in tasks.submit_many(requests)] if requests else []
        name = given.get("batch", "")
        can_batch = name and hasattr(tasks, "start_batch")  # an early release cannot
        batch_id = tasks.start_batch(given["rows"], op="bind", name=name).batch_id if can_batch else ""
        print(json.dumps({"ids": ids, "batch_id": batch_id}), flush=True)  # noqa: T201 - its answer
    tasks.close()


if __name__ == "__main__":
    main()
