"""`axn jobs` with all its commands."""

from worker.cli import resolve
from worker.cli.jobs import app

for of_jobs in (resolve.resolve, resolve.audit):
    app.command()(of_jobs)
