"""`axn update`: one aspect of a binding set anew, from the command line."""

from typing import Annotated

import typer

from worker.cli import changes
from worker.cli.bind import file_request
from worker.domain.job import JobKind


def update(
    job_id: changes.JobId = "",
    *,
    phone_no_a: Annotated[str, typer.Option(help="The new A; X stays.")] = "",
    phone_no_b: Annotated[str, typer.Option(help="Whom A reaches by calling X.")] = "",
    expiration: Annotated[str, typer.Option(help='"2026-12-01 12:00:00" in Asia/Shanghai, or with its zone.')] = "",
    expires_in: Annotated[str, typer.Option(help="Instead of --expiration: 2h, 30m, 7d.")] = "",
    group_id: Annotated[str, typer.Option(help="The AXG group.")] = "",
    call_restrict: Annotated[str, typer.Option(help="CONTROL_AX_DISABLE, CONTROL_BX_DISABLE or _CLEAR_DISABLE.")] = "",
    call_display_type: Annotated[str, typer.Option(help="1, 2 or 3.")] = "",
    out_id: Annotated[str, typer.Option(help="Your id, told in call receipts.")] = "",
    record: Annotated[bool | None, typer.Option("--record/--no-record", help="Record calls.")] = None,
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
    """File an update request, of one aspect; with --wait, also wait until it is done.

    Example: [bold]axn update 01kap4w8z9v7r2c3d4e5f6g7h8 --expires-in 2h --wait 5s[/bold]

    Exit status: 0 updated (without --wait: filed), 1 failed, 2 bad input, 3 not finished, or its durability
    not confirmed, in time.
    """
    given = {
        "callback_secret_name": callback_secret_name,
        "bind_job_id": job_id, "out_order_id": out_order_id, "subs_id": subs_id, "phone_no_x": phone_no_x,
        "pool_key": pool_key, "product_type": product_type, "is_confirmed": confirmed or None, "phone_no_a": phone_no_a,
        "phone_no_b": phone_no_b, "expiration": expiration, "expires_in": expires_in, "group_id": group_id,
        "call_restrict": call_restrict, "call_display_type": call_display_type, "out_id": out_id,
        "is_recording_enabled": record, "callback_url": callback_url, "idempotency_key": idempotency_key,
        "callback_deadline": callback_deadline, "callback_order_key": callback_order_key, "deadline": deadline,
        "lane": lane,
    }  # fmt: skip
    file_request(given, durability=durability, wait=wait, as_json=as_json, kind=JobKind.UPDATE)
