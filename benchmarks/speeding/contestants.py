"""Who takes part, and how each is started and fed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.speeding import modern, obvious, ours, threaded

Submit = Callable[[Sequence[int], str], Sequence[str] | None]
"""Of the jobs' numbers and the callback URL; ours tells the jobs' ids."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One build.

    Attributes:
        commands: arguments of Python, for each worker process that is started.
        submit: what a producer does with the numbers of some jobs; None: it makes its jobs itself.
        per_call: how many jobs a producer submits at a time.
        jobs_per_second: about so many, on two cores: how many must wait so that none lacks them while it is measured.
        is_checkout: submitted one by one, so that the time from submit to X says something.
    """

    name: str
    commands: Sequence[Sequence[str]]
    submit: Submit | None
    jobs_per_second: int
    per_call: int = 1
    is_checkout: bool = True
    env: Mapping[str, str] = field(default_factory=dict)


def _celery(children: int, jobs_per_second: int) -> Contestant:
    command = ["-m", "celery", "-A", "benchmarks.speeding.obvious:app", "worker", "-Q", "binds,callbacks"]
    return Contestant(f"celery-{children}", [[*command, "-c", str(children)]], obvious.submit, jobs_per_second)


CONTESTANTS = {
    one.name: one
    for one in (
        Contestant("ours-checkout", [ours.worker_command("checkout,callback")] * 2, ours.submit_singles, 350,
                   env=ours.ENV),
        Contestant("ours-batch", [ours.worker_command("batch,callback")] * 2, ours.submit_batch, 700, per_call=50,
                   is_checkout=False, env=ours.ENV),
        Contestant("ours-batch-wide", [ours.worker_command("batch,callback")] * 2, ours.submit_batch, 900, per_call=50,
                   is_checkout=False, env={**ours.ENV, "AXN_CALLBACK_PER_RECEIVER": "64"}),
        _celery(2, 35),
        _celery(16, 220),
        _celery(32, 220),
        Contestant("taskiq", [["-m", "taskiq", "worker", "benchmarks.speeding.modern:broker", "--workers", "2",
                               "--max-async-tasks", "32"]],
                   modern.submit, 350),
        Contestant("dramatiq", [["-m", "dramatiq", "benchmarks.speeding.threaded:broker",
                                 "--processes", "2", "--threads", "32"]], threaded.submit, 350),
        Contestant("floor", [["-m", "benchmarks.speeding.floor", str(number)] for number in range(2)], None, 2_000,
                   is_checkout=False),
    )
}  # fmt: skip
