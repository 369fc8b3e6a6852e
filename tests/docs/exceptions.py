"""What is not run here, each with its reason and with what is checked of it instead.

A page that is added needs a line only for what this process cannot run, and for blocks that are no commands. A block or
command that is in none of these tables is run: see `tests/docs/stage.py` for how its place is set.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from .checks import (
    axn_words,
    check_assignments,
    check_axn,
    check_celery,
    check_compose,
    check_kubectl,
    check_make,
    check_module,
    check_pip,
)
from .pages import Block, Command


@dataclass(frozen=True, slots=True)
class NotRun:
    """Commands that are checked only.

    Attributes:
        pattern: how such a command begins.
        check: raises where it names what is not there.
    """

    pattern: str
    why: str
    check: Callable[[str], None]


def _axn_with_settings(text: str) -> None:
    check_assignments(text)
    check_axn(axn_words(text.removesuffix("&")))


def _nothing(text: str) -> None:
    del text


UNTIL_STOPPED = r"(?:AXN_\w+=\S+ )?axn (?:up|sandbox|receiver|worker)\b"
NOT_RUN = [
    NotRun(
        r"make ", "makes its own environment, or plays for minutes; the continuous run has the first two", check_make
    ),
    NotRun(r"python -m ", "plays for minutes", check_module),
    NotRun(r"pip install ", "installs from an index", check_pip),
    NotRun(r"docker compose ", "needs Docker", check_compose),
    NotRun(r"kubectl ", "needs a cluster", check_kubectl),
    NotRun(r"celery ", "runs until it is stopped; workers of the tests are the same application", check_celery),
    NotRun(UNTIL_STOPPED, "runs until it is stopped: long_shell.py starts it", _axn_with_settings),
    NotRun(r"(?:export )?(?:(?:AXN|OTEL)_\w+=\S+ ?)+$", "the values are the reader's own", check_assignments),
    NotRun(r"export AXN_CALLBACK_SECRET=whsec_\$\(openssl", "tests/callbacks/test_signature.py", check_assignments),
    NotRun(r"cp -r /var/lib/redis/", "the operator's own files", _nothing),
]

RUN_ELSEWHERE = {
    ("docs/callbacks.md", "python"): "tests/callbacks/test_guide.py",
    ("docs/callbacks.md", "js"): "tests/callbacks/test_guide.py",
    ("docs/callbacks.md", "java"): "tests/callbacks/test_guide.py",
    ("docs/callbacks.md", "go"): "tests/callbacks/test_guide.py",
    ("docs/callbacks.md", "php"): "tests/callbacks/test_guide.py",
    ("docs/callbacks.md", "json"): "tests/callbacks/test_guide.py",
    ("docs/logs.md", "json"): "tests/test_logs_guide.py",
    ("docs/sandbox.md", "python"): "tests/sandbox/test_guide.py",
}
"""By page and language: the test that runs, or compares, its blocks. It names the page."""

SHOWN = {
    ("docs/batch-input.md", "renumber.csv: CSV, semicolon"): "tests/docs/test_pictures.py",
    ("docs/batch-input.md", "op,phone_no_a,expiration"): "tests/batches/test_guide.py",
    ("docs/batches.md", "renumber.csv  k5"): "tests/cli/test_batch_guide.py",
    ("docs/batches.md", '{"type": "batch.finished"'): "tests/cli/test_batch_guide.py",
    ("docs/callbacks.md", "POST /axn HTTP/1.1"): "tests/docs/test_pictures.py",
    ("docs/privacy.md", "all numbers are under"): "tests/cli/test_keys.py",
    ("docs/redis.md", "appendonly yes"): "tests/docs/test_pictures.py",
    ("docs/redis.md", "ACL SETUSER"): "tests/redis_topologies/guide.py",
    ("docs/renewals.md", "kept: "): "tests/cli/test_renewals_guide.py",
    ("docs/renewals.md", "SubsId,PhoneNoX"): "tests/cli/test_renewals_guide.py",
    ("docs/traces.md", "checkout  "): "tests/docs/test_pictures.py",
}
"""By page and beginning: what is shown and not typed, with the test that compares it. It names the page."""


def reason_not_to_run(command: Command) -> NotRun | None:
    """The entry that excepts a command, if there is one."""
    return next((one for one in NOT_RUN if re.match(one.pattern, command.text)), None)


def elsewhere(block: Block) -> str:
    """The other test that has a block, or empty."""
    by_beginning = (
        test for (page, beginning), test in SHOWN.items() if page == block.page and block.text.startswith(beginning)
    )
    return RUN_ELSEWHERE.get((block.page, block.language)) or next(by_beginning, "")
