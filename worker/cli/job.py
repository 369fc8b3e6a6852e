"""`axn job`: look at a job."""

from typing import Annotated

import typer

from worker import producers
from worker.cli.output import Exit, complain, exit_of, print_job, refuse
from worker.domain.job_ids import is_job_id, job_id_for_key
from worker.errors import JobNotFoundError, LedgerUnavailableError

app = typer.Typer(help="Look at jobs.", no_args_is_help=True)


@app.callback()
def job() -> None:
    """Look at jobs."""


@app.command()
def show(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="As `axn bind` printed it.")] = "",
    *,
    idempotency_key: Annotated[str, typer.Option(help="Instead of the id: the key, or a Celery task's id.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Show a job: its state, its X, why it waits or failed.

    Example: [bold]axn job show 01kap4w8z9v7r2c3d4e5f6g7h8[/bold]

    Exit status: 0 bound, updated or unbound, 1 failed or unknown, 2 bad input, 3 not finished.
    """
    if bool(job_id) == bool(idempotency_key):
        refuse("give either a job's ID or --idempotency-key", as_json=as_json)
    job_id = job_id or job_id_for_key(idempotency_key)
    if not is_job_id(job_id):
        refuse("ID: must be the 26 letters and digits that `axn bind` printed", as_json=as_json)
    try:
        found = producers.read(job_id)
    except (JobNotFoundError, LedgerUnavailableError) as missing:
        complain(str(missing), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    print_job(found, as_json=as_json)
    raise typer.Exit(exit_of(found))
