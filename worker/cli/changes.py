"""Options that `axn update`, `axn unbind` and `axn rebind` share."""

from typing import Annotated

import typer

JobId = Annotated[str, typer.Argument(metavar="JOB_ID", help="The bind job that made the binding, as `axn bind` said.")]
OutOrderId = Annotated[
    str, typer.Option(help="Instead of JOB_ID: the order that it was bound for; must have one active binding.")
]
SubsId = Annotated[str, typer.Option(help="Instead of JOB_ID: the binding's id at the provider.")]
PhoneNoX = Annotated[str, typer.Option(help="Beside --subs-id: its X.")]
PoolKey = Annotated[str, typer.Option(help="Beside --subs-id: the pool of X; default AXN_POOL_KEY.")]
ProductType = Annotated[str, typer.Option(help="Instead of a pool, for old accounts: AXN_170 and others.")]
Confirmed = Annotated[
    bool, typer.Option("--confirmed", help="These three come from a bind that the provider confirmed.")
]
CallbackSecretName = Annotated[str, typer.Option(help="The named secret that signs the callback.")]
CallbackUrl = Annotated[str, typer.Option(help="Told when the job has ended.")]
CallbackDeadline = Annotated[str, typer.Option(help="Give the callback up then: 2d, or a time with its zone.")]
CallbackOrderKey = Annotated[str, typer.Option(help="One callback at a time, in order, for this key.")]
IdempotencyKey = Annotated[str, typer.Option(help="The same key is the same job, however often it is sent.")]
Deadline = Annotated[str, typer.Option(help="Do nothing later than this: 30s, or a time with its zone.")]
Lane = Annotated[str, typer.Option(help="checkout or batch.")]
Durability = Annotated[str, typer.Option(help="accepted, fsynced or replicated; default AXN_DURABILITY.")]
Wait = Annotated[str, typer.Option(help="Wait this long for the end, such as 5s; without it, only file the job.")]
AsJson = Annotated[bool, typer.Option("--json", help="One line of JSON.")]
