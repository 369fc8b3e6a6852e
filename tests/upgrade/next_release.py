"""A made-up next release: this tree with a patch that adds what releases add.

It breaks the rule of docs/upgrading.md on purpose: it writes version 2 of a job's record, for jobs whose OutId begins
with `next`, while this release still runs, so that the last line of defence shows.
"""

from pathlib import Path

VERSION = "99.0"
NEWER_OUT_ID = "next-kind"
"""Of requests that become jobs which only the next release can work on."""
NEWER_TASK = "axn.bind_now"
"""A task that only the next release has."""

_NEWER_TASK = f"""@app.task(name="{NEWER_TASK}", bind=True)
def bind_now(self: Task[Any, Any], /, *args: object, **kwargs: object) -> None:
    file_and_attempt(JobKind.BIND, args, kwargs, self.request)


"""

_SETTLE = """local state = ARGV[3]
if state == 'waiting' and redis.call('HGET', KEYS[1], 'v') == '2' then state = 'resting' end
redis.call('HSET', KEYS[1], 'state', state, unpack(ARGV, 19, pairs_end))"""
_STATE_IN_A_BODY = '"job_id": job_id,\n        "state"'
_PATCH = (
    ("worker/__init__.py", '__version__ = "', f'__version__ = "{VERSION}"  # was "'),
    # It reads version 2 of a job's record, and writes it where it must; a field more in every record.
    ("worker/domain/formats.py", 'JOB = Format("job")', 'JOB = Format("job", reads=2)'),
    (
        "worker/ledger/records.py",
        '"v": str(JOB.writes),',
        '"v": "2" if self.parameters.get("OutId", "").startswith("next") else "1",\n            "origin": "next",',
    ),
    # A state more, in which such jobs wait.
    ("worker/domain/job.py", '    BOUND = "bound"', '    RESTING = "resting"\n    BOUND = "bound"'),
    (
        "worker/domain/job.py",
        "JobState.SUBMITTING, JobState.WAITING)",
        "JobState.SUBMITTING, JobState.WAITING, JobState.RESTING)",
    ),
    (
        "worker/ledger/scripts/settle.lua",
        "redis.call('HSET', KEYS[1], 'state', ARGV[3], unpack(ARGV, 19, pairs_end))",
        _SETTLE,
    ),
    (
        "worker/ledger/scripts/claim.lua",
        "job.state == 'waiting' then",
        "job.state == 'waiting' or job.state == 'resting' then",
    ),
    # A field more in messages, callbacks, their records, and in what workers tell of themselves.
    ("worker/messages.py", '"at": published_at_ms}', '"at": published_at_ms, "hint": "soon"}'),
    ("worker/callbacks/events.py", _STATE_IN_A_BODY, f'"release": "next",\n        {_STATE_IN_A_BODY}'),
    (
        "worker/ledger/callback_records.py",
        'fields["state"] = "waiting"',
        'fields |= {"state": "waiting", "made_by": "next"}',
    ),
    ("worker/observation/presence.py", "    seen_at: int = 0\n", '    seen_at: int = 0\n    mood: str = "good"\n'),
    # A task more.
    (
        "tasks/bind.py",
        "@app.task(name=TASK_BIND, bind=True)",
        _NEWER_TASK + "@app.task(name=TASK_BIND, bind=True)",
    ),
)  # fmt: skip


def make_next(tree: Path) -> Path:
    """Patch a copy of this tree.

    Raises:
        ValueError: the tree has changed, and the patch must follow.
    """
    for name, old, new in _PATCH:
        file = tree / name
        text = file.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{name} has no {old!r} any more: mend tests/upgrade/next_release.py")
        file.write_text(text.replace(old, new), encoding="utf-8")
    return tree
