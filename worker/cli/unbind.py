"""`axn unbind`: the end of one binding, from the command line."""

from worker.cli import changes
from worker.cli.bind import file_request
from worker.domain.job import JobKind


def unbind(
    job_id: changes.JobId = "",
    *,
    out_order_id: changes.OutOrderId = "",
    subs_id: changes.SubsId = "",
    phone_no_x: changes.PhoneNoX = "",
    pool_key: changes.PoolKey = "",
    product_type: changes.ProductType = "",
    confirmed: changes.Confirmed = False,
    callback_secret_name: changes.CallbackSecretName = "",
    callback_url: changes.CallbackUrl = "",
    callback_deadline: changes.CallbackDeadline = "",
    callback_order_key: changes.CallbackOrderKey = "",
    idempotency_key: changes.IdempotencyKey = "",
    deadline: changes.Deadline = "",
    lane: changes.Lane = "",
    durability: changes.Durability = "",
    wait: changes.Wait = "",
    as_json: changes.AsJson = False,
) -> None:
    """File an unbind request; with --wait, also wait until the binding has ended.

    Without JOB_ID, --out-order-id or --confirmed, a binding that the provider does not know is a failure: it may be
    mistyped.

    Example: [bold]axn unbind 01kap4w8z9v7r2c3d4e5f6g7h8 --wait 5s[/bold]

    Exit status: 0 unbound (without --wait: filed), 1 failed, 2 bad input, 3 not finished, or its durability
    not confirmed, in time.
    """
    given = {
        "callback_secret_name": callback_secret_name,
        "bind_job_id": job_id, "out_order_id": out_order_id, "subs_id": subs_id, "phone_no_x": phone_no_x,
        "pool_key": pool_key, "product_type": product_type, "is_confirmed": confirmed or None,
        "callback_url": callback_url, "callback_deadline": callback_deadline, "callback_order_key": callback_order_key,
        "idempotency_key": idempotency_key, "deadline": deadline, "lane": lane,
    }  # fmt: skip
    file_request(given, durability=durability, wait=wait, as_json=as_json, kind=JobKind.UNBIND)
