"""`axn renewals` with all its commands."""

from worker.cli import renewal_close, renewal_outlook
from worker.cli.renewals import app

for of_renewals in (renewal_outlook.show, renewal_outlook.forecast, renewal_outlook.check, renewal_close.close):
    app.command()(of_renewals)
