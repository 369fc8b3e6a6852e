"""`axn batch` with all its commands."""

from worker.cli import batch_orders, batch_report, batch_start, batch_watch
from worker.cli.batch import app

for of_batches in (
    batch_start.start,
    batch_watch.show,
    batch_orders.pause,
    batch_orders.resume,
    batch_orders.cancel,
    batch_orders.retry,
    batch_report.report,
    batch_orders.rm,
):
    app.command()(of_batches)
app.command("list")(batch_watch.list_)
