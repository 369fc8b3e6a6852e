"""`axn callbacks` with all its commands."""

from worker.cli import callback_receivers, callback_replay, callback_secrets
from worker.cli.callbacks import app

for of_callbacks in (
    callback_secrets.rotate,
    callback_secrets.secrets,
    callback_replay.replay,
    callback_receivers.disable,
    callback_receivers.enable,
):
    app.command()(of_callbacks)
app.command("test")(callback_receivers.ping)
