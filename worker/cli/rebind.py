"""`axn rebind`: a binding made anew, from the command line."""

from typing import Annotated

import typer

from worker.cli import changes
from worker.cli.bind import file_request
from worker.domain.job import JobKind


def rebind(
    job_id: changes.JobId = "",
    *,
    mode: Annotated[
        str,
        typer.Option(help="new-x: bind another X, then end the old binding. same-x: end it, then bind its X again."),
    ] = "",
    phone_no_a: Annotated[str, typer.Option(help="The new A.")] = "",
    phone_no_b: Annotated[str, typer.Option(help="Whom A reaches by calling X.")] = "",
    expiration: Annotated[str, typer.Option(help='"2026-12-01 12:00:00" in Asia/Shanghai, or with its zone.')] = "",
    expires_in: Annotated[str, typer.Option(help="Instead of --expiration: 2h, 30m, 7d.")] = "",
    expect_city: Annotated[str, typer.Option(help="City the new X should belong to, such as 上海.")] = "",
    call_restrict: Annotated[str, typer.Option(help="CONTROL_AX_DISABLE or CONTROL_BX_DISABLE.")] = "",
    out_id: Annotated[str, typer.Option(help="Your id, told in call receipts.")] = "",
    record: Annotated[bool | None, typer.Option("--record/--no-record", help="Record calls.")] = None,
    new_phone_no_x: Annotated[str, typer.Option(help="A chosen new X (new-x).")] = "",
    new_pool_key: Annotated[str, typer.Option(help="The pool of the new X (new-x); default the old one's.")] = "",
    new_out_order_id: Annotated[str, typer.Option(help="Your order's id, of the new binding.")] = "",
    out_order_id: changes.OutOrderId = "",
    subs_id: changes.SubsId = "",
    phone_no_x: changes.PhoneNoX = "",
    pool_key: changes.PoolKey = "",
    product_type: changes.ProductType = "",
    callback_secret_name: changes.CallbackSecretName = "",
    callback_url: changes.CallbackUrl = "",
    callback_deadline: changes.CallbackDeadline = "",
    callback_order_key: changes.CallbackOrderKey = "",
    idempotency_key: changes.IdempotencyKey = "",
    deadline: Annotated[str, typer.Option(help="Change nothing later than this: 30s, or a time with its zone.")] = "",
    on_doubt: Annotated[str, typer.Option(help="hold or rebind, when nobody can tell whether it was bound.")] = "",
    lane: changes.Lane = "",
    durability: changes.Durability = "",
    wait: changes.Wait = "",
    as_json: changes.AsJson = False,
) -> None:
    """File a rebind request; with --wait, also wait until it is done. What is not given stays as it was.

    With new-x (the default) the customer has a number at every moment. With same-x nobody reaches him between the two
    steps, and should X be refused then, it is bound again as it was, or as a last resort another one.

    Example: [bold]axn rebind 01kap4w8z9v7r2c3d4e5f6g7h8 --mode new-x --expires-in 2h --wait 10s[/bold]

    Exit status: 0 bound anew (without --wait: filed), 1 failed, or the old binding was left bound, 2 bad input, 3 not
    finished, or its durability not confirmed, in time.
    """
    given = {
        "callback_secret_name": callback_secret_name,
        "bind_job_id": job_id, "out_order_id": out_order_id, "subs_id": subs_id, "phone_no_x": phone_no_x,
        "pool_key": pool_key,
        "product_type": product_type, "mode": mode, "phone_no_a": phone_no_a, "phone_no_b": phone_no_b,
        "expiration": expiration, "expires_in": expires_in, "expect_city": expect_city,
        "call_restrict": call_restrict, "out_id": out_id, "is_recording_enabled": record,
        "new_phone_no_x": new_phone_no_x, "new_pool_key": new_pool_key, "new_out_order_id": new_out_order_id,
        "callback_url": callback_url, "idempotency_key": idempotency_key, "callback_deadline": callback_deadline,
        "callback_order_key": callback_order_key, "deadline": deadline, "on_doubt": on_doubt, "lane": lane,
    }  # fmt: skip
    file_request(given, durability=durability, wait=wait, as_json=as_json, kind=JobKind.REBIND)
