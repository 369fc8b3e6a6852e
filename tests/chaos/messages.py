"""Messages as kombu's Redis transport lays them down, for tests that lay down wrong ones."""

import base64
import json
from typing import Any
from uuid import uuid4


def message(
    task: str, args: list[Any], *, queue: str, content_type: str = "application/json", body: bytes | None = None
) -> bytes:
    """One message of Celery's protocol 2, as it stands in the queue's list."""
    id_ = str(uuid4())
    content = json.dumps([args, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]).encode()
    return json.dumps(
        {
            "body": base64.b64encode(content if body is None else body).decode(),
            "content-encoding": "utf-8" if content_type == "application/json" else "binary",
            "content-type": content_type,
            "headers": {
                "lang": "py", "task": task, "id": id_, "root_id": id_, "parent_id": None, "group": None, "retries": 0,
                "timelimit": [None, None], "eta": None, "expires": None, "argsrepr": "", "kwargsrepr": "",
                "origin": "chaos", "ignore_result": True,
            },
            "properties": {
                "correlation_id": id_, "reply_to": str(uuid4()), "delivery_mode": 2, "priority": 0,
                "delivery_info": {"exchange": queue, "routing_key": queue}, "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    ).encode()  # fmt: skip


def jobs_message(job_ids: list[str], *, lane: str = "checkout", version: int = 1) -> bytes:
    """What tells the lane's workers of these jobs."""
    return message("axn.jobs", [{"v": version, "lane": lane, "ids": job_ids}], queue=f"axn.{lane}")
