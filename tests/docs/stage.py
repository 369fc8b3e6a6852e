"""Where the pages are played: files, jobs and callbacks that their commands speak of."""

import csv
import gzip
import json
import re
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from tasks import BindRequest, Job, UnbindRequest, submit, wait
from tests.live import Running
from tests.local.processes import wait_until
from worker import producers
from worker.callback_desk import CallbackFilter
from worker.callbacks.signature import new_key
from worker.ledger.callback_views import CallbackState

from .shells import Ended, Shell

WAIT_S = 60.0
_ID = re.compile(r"\b[0-9a-z]{26}\b")


@dataclass
class Stage:
    """One page's place.

    Attributes:
        names: what stands in a page for something that only is there when the page is played, and what that is.
        python: the variables of the page's Python.
        notes: what preparations remember.
    """

    page: str
    running: Running
    shell: Shell
    folder: Path
    names: dict[str, str] = field(default_factory=dict)
    python: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        receiver = self.running.system.receiver_url
        self.notes["host"] = urlsplit(receiver).hostname or ""
        begin = datetime.now(ZoneInfo("Asia/Shanghai")) - timedelta(hours=1)
        self.names |= {
            "https://shop.example/": f"{receiver}/axn?",
            "shop.example": self.notes["host"],
            "order-4": f"order-of-{re.sub(r'[^a-z]', '-', self.page)}-4",  # or pages would find each other's jobs
            "http://127.0.0.1:8900": self.running.system.sandbox_url,
            "--not-before 01:00 --not-after 06:00": f"--not-before {begin:%H:%M} "
            f"--not-after {begin + timedelta(hours=9):%H:%M}",
            # A machine that is busy with other tests may take its time.
            **{f"timeout={seconds}": "timeout=60" for seconds in (5, 10)},
            **{f"--wait {seconds}s": "--wait 60s" for seconds in (5, 10)},
        }
        self.python["orders"] = [("order-1", "13800000001"), ("order-2", "13800000002")]

    def filled(self, text: str) -> str:
        """A text of the page with the names of what is there."""
        for name in sorted(self.names, key=len, reverse=True):
            text = re.sub(rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Z_])", lambda _: self.names[name], text)  # noqa: B023 - at once
        return text

    def note(self, command: str, ended: Ended) -> None:
        """Remember the job that a command filed."""
        made = _ID.search(ended.out)
        if made and command.startswith("axn bind "):
            self.names["JOB_ID"] = made[0]
        if made and command.startswith("axn rebind "):
            self.names["NEW_JOB_ID"] = made[0]

    def note_python(self) -> None:
        """The same of a block of Python."""
        if "job_id" in self.python:
            self.names["JOB_ID"] = self.python["job_id"]

    # --- what preparations are made of ---

    def axn(self, command: str) -> None:
        """A command that must do."""
        ended = self.shell.run(f"axn {command}")
        assert ended.status == 0, (command, ended)

    def sandbox(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """Ask the sandbox's admin face."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.running.system.sandbox_url}/_sandbox/{path}",
            data,
            {"content-type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def bound(self, **more: Any) -> Job:
        """A binding of ours."""
        return wait(submit(BindRequest(phone_no_a="13900001234", expires_in="2h", **more)), WAIT_S)

    def write(self, name: str, rows: Iterable[Iterable[str]]) -> None:
        """A file of rows."""
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)


def _rebind_rows(stage: Stage) -> None:
    rows = [["subs_id", "phone_no_x"], ["1000000768798832", "17000000001"]]
    stage.write("renumber.csv", rows)
    (stage.folder / "old.csv.gz").write_bytes(gzip.compress("\n".join(map(",".join, rows)).encode()))


def _bind_rows(stage: Stage, count: int = 3) -> None:
    rows = ([f"1380000{number:04}", "2h"] for number in range(count))
    stage.write("renumber.csv", [["phone_no_a", "expires_in"], *rows])


def _running_batch(stage: Stage) -> None:
    _bind_rows(stage, 120)  # two minutes: the page's commands come before its end
    stage.axn("batch rm renumber.csv")
    stage.axn("batch start renumber.csv --op bind --rate 1")


def _finished_batch(stage: Stage) -> None:
    _bind_rows(stage)
    stage.axn("batch start renumber.csv --op bind --follow")


def _dead_callback(stage: Stage) -> None:
    stage.axn(f"callbacks disable {stage.notes['host']}")
    job = stage.bound(callback_url=f"{stage.running.system.receiver_url}/axn")
    dead = CallbackFilter(CallbackState.DEAD)
    wait_until(lambda: any(one.job_id == job.job_id for one in producers.find_callbacks(dead, 100)), WAIT_S)
    stage.axn(f"callbacks enable {stage.notes['host']}")
    (callback,) = [one for one in producers.find_callbacks(dead, 100) if one.job_id == job.job_id]
    stage.names["01kap4w8z9v7r2c3d4e5f6g7h8-1"] = callback.webhook_id


def _job_in_doubt(stage: Stage) -> None:
    stage.sandbox("faults", {"kind": "close_after", "count": 1, "action": "BindAxn"})
    job = stage.bound(out_order_id="doubtful")
    assert job.state == "in_doubt", job
    (binding,) = stage.sandbox("effects?out_order_id=doubtful")["bindings"]
    stage.names |= {"JOB_ID": job.job_id, "X SUBSID": f"{binding['PhoneNoX']} {binding['SubsId']}"}


def _numbers(stage: Stage) -> None:
    (stage.folder / "numbers.txt").write_text(f"{stage.bound().phone_no_x}\n", encoding="utf-8")


def _rentals(stage: Stage) -> None:
    elsewhere = stage.bound(out_order_id="elsewhere")
    stage.axn(f"bindings forget {elsewhere.job_id}")
    stage.write("rentals.csv", [["SubsId", "PhoneNoX"], [elsewhere.subs_id, elsewhere.phone_no_x]])


def _forgettable(stage: Stage) -> None:
    stage.names["k3v9c2m8xq7w4r6t1y5z0n8b3d"] = stage.bound().job_id


def _unbound_orders(stage: Stage) -> None:
    job = stage.bound(out_order_id="gone")
    wait(submit(UnbindRequest(bind_job_id=job.job_id)), WAIT_S)


PREPARE: dict[tuple[str, str], Callable[[Stage], None]] = {
    ("docs/batch-input.md", "axn batch check renumber.csv"): _rebind_rows,
    ("docs/batches.md", "axn batch start"): _bind_rows,
    ("docs/batches.md", "axn batch list"): _running_batch,
    ("docs/batches.md", "axn batch report renumber.csv --format"): _finished_batch,
    ("docs/dead-callbacks.md", "axn callbacks list"): _dead_callback,
    ("docs/operator.md", "axn jobs --state in_doubt"): _job_in_doubt,
    ("docs/operator.md", "axn pace pause --action"): _numbers,
    ("docs/renewals.md", "axn bindings adopt"): _rentals,
    ("docs/renewals.md", "axn bindings forget"): _forgettable,
    ("docs/renewals.md", "axn bindings audit --pool"): _unbound_orders,
    ("docs/renewals.md", "axn bindings audit --numbers"): _numbers,
}
"""By page and the beginning of a command: what must be there before it."""

AFTER: dict[str, Callable[[Stage], None]] = {
    "docs/operator.md": lambda _: producers.resume_pace(by="tests"),
    "docs/sandbox.md": lambda stage: stage.sandbox("faults", method="DELETE"),
}
"""By page: what it leaves behind that would be in the way of others."""

STATUSES = {("docs/dead-callbacks.md", "axn callbacks show"): 1}
"""By page and the beginning of a command: its exit status, where that is not 0."""

GIVEN = {
    ("docs/callbacks.md", "axn callbacks rotate shop.example --secret -"): f"{new_key(is_ed25519=False).secret}\n",
    ("docs/privacy.md", "axn forget --phone-no -"): "13711112222\n",
}
"""By page and the beginning of a command: what it is given on standard input."""

QUICKER = {"axn bindings adopt": " --per-second 500", "axn bindings audit": " --per-second 500"}
"""By the beginning of a command: options that only spare time here."""
