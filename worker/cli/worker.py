"""`axn worker`: a Celery worker for some lanes."""

from typing import Annotated

import typer

from worker.bootstrap import check_worker_settings
from worker.cli.output import refuse
from worker.domain.job import Lane
from worker.reporting import set_up_logging
from worker.scrubbing import secrets_of
from worker.settings import load_settings


def worker(
    *,
    lanes: Annotated[str, typer.Option(help="Lanes to consume, separated by commas.")] = ",".join(Lane),
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Consume lanes until told to stop (SIGTERM finishes what is under way).

    Run checkout apart from the others, so that a batch never takes its slots.

    Example: [bold]axn worker --lanes checkout[/bold] and [bold]axn worker --lanes batch,renewal,callback[/bold]
    """
    queues = ",".join(_queues(lanes))
    if log_level.lower() not in ("debug", "info", "warning", "error"):
        refuse("--log-level: must be debug, info, warning or error")
    settings = load_settings()
    check_worker_settings(settings)
    set_up_logging(log_level, settings.log_format, secrets=secrets_of(settings))
    from worker.app import app  # noqa: PLC0415 - reads the settings at import: after they were checked

    name = "-".join(lane.strip() for lane in lanes.split(","))
    # Nobody listens to events. Its heartbeat is published from the consumer's loop, which a silent broker would stop.
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    app.worker_main(["worker", "-Q", queues, "-n", f"axn-{name}@%h", *quiet, "-l", log_level])


def _queues(lanes: str) -> list[str]:
    try:
        return [Lane(lane.strip()).queue for lane in lanes.split(",")]
    except ValueError:
        refuse(f"--lanes: must be some of {', '.join(Lane)}")
