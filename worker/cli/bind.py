"""`axn bind`: one number, from the command line."""

from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

import typer

from worker import producers
from worker.cli import renewal_options as renewal
from worker.cli.output import Exit, complain, exit_of, print_job, print_json, refuse
from worker.domain.durations import parse_duration
from worker.domain.job import JobKind
from worker.errors import (
    DurabilityUnavailableError,
    DurabilityUnconfirmedError,
    IdempotencyConflictError,
    InvalidRequestError,
    LedgerUnavailableError,
    WaitTimeoutError,
)


def bind(
    *,
    phone_no_a: Annotated[str, typer.Option(help="The customer's real number A, digits only.")] = "",
    pool_key: Annotated[str, typer.Option(help="Number pool; default AXN_POOL_KEY.")] = "",
    expiration: Annotated[str, typer.Option(help='"2026-12-01 12:00:00" in Asia/Shanghai, or with its zone.')] = "",
    expires_in: Annotated[str, typer.Option(help="Instead of --expiration: 2h, 30m, 7d.")] = "",
    phone_no_b: Annotated[str, typer.Option(help="Whom A reaches by calling X.")] = "",
    phone_no_x: Annotated[str, typer.Option(help="A chosen X of the pool.")] = "",
    expect_city: Annotated[str, typer.Option(help="City the X should belong to, such as 上海.")] = "",
    out_id: Annotated[str, typer.Option(help="Your id, told in call receipts.")] = "",
    out_order_id: Annotated[str, typer.Option(help="Your order's id.")] = "",
    record: Annotated[bool | None, typer.Option("--record/--no-record", help="Record calls.")] = None,
    renew_until: renewal.RenewUntil = "",
    renew_for: renewal.RenewFor = "",
    renew_while_open: renewal.RenewWhileOpen = False,
    extend_by: renewal.ExtendBy = "",
    renew_lead: renewal.RenewLead = "",
    if_gone: renewal.IfGone = "",
    callback_secret_name: Annotated[str, typer.Option(help="The named secret that signs the callback.")] = "",
    callback_url: Annotated[str, typer.Option(help="Told when the job has ended.")] = "",
    idempotency_key: Annotated[str, typer.Option(help="The same key is the same job, however often it is sent.")] = "",
    callback_deadline: Annotated[
        str, typer.Option(help="Give the callback up then: 2d, or a time with its zone.")
    ] = "",
    callback_order_key: Annotated[str, typer.Option(help="One callback at a time, in order, for this key.")] = "",
    deadline: Annotated[str, typer.Option(help="Do not bind later than this: 30s, or a time with its zone.")] = "",
    on_doubt: Annotated[str, typer.Option(help="hold or rebind, when nobody can tell whether it was bound.")] = "",
    lane: Annotated[str, typer.Option(help="checkout or batch.")] = "",
    durability: Annotated[str, typer.Option(help="accepted, fsynced or replicated; default AXN_DURABILITY.")] = "",
    wait: Annotated[str, typer.Option(help="Wait this long for X, such as 5s; without it, only file the job.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """File a bind request; with --wait, also wait for its X.

    Example: [bold]axn bind --phone-no-a 13900001234 --pool-key FC123456 --expires-in 2h --wait 5s[/bold]

    Exit status: 0 bound (without --wait: filed), 1 failed, 2 bad input, 3 not finished, or its durability
    not confirmed, in time.
    """
    given: dict[str, Any] = {
        "callback_secret_name": callback_secret_name,
        "phone_no_a": phone_no_a, "pool_key": pool_key, "expiration": expiration, "expires_in": expires_in,
        "phone_no_b": phone_no_b, "phone_no_x": phone_no_x, "expect_city": expect_city, "out_id": out_id,
        "out_order_id": out_order_id, "is_recording_enabled": record, "callback_url": callback_url,
        "callback_deadline": callback_deadline, "callback_order_key": callback_order_key,
        "idempotency_key": idempotency_key, "deadline": deadline, "on_doubt": on_doubt, "lane": lane,
        "renew": renewal.renew_of(
            renew_until, renew_for, while_open=renew_while_open, extend_by=extend_by, lead=renew_lead, if_gone=if_gone
        ),
    }  # fmt: skip
    file_request(given, durability=durability, wait=wait, as_json=as_json)


def file_request(
    given: Mapping[str, Any], *, durability: str, wait: str, as_json: bool, kind: JobKind = JobKind.BIND
) -> None:
    """File a request of this kind, and wait for the job's end if asked to.

    Args:
        given: its fields; those that are empty or None were not given.
        durability: how firmly its job must be stored, or empty.
        wait: a span of time, or empty.
        as_json: print JSON, also of what is wrong.
        kind: of the request.

    Raises:
        typer.Exit: the request is refused, or the job was waited for.
    """
    try:
        wait_s = parse_duration(wait).total_seconds() if wait else None
    except ValueError as wrong:
        refuse(f"--wait: {wrong}", as_json=as_json)
    given = {name: value for name, value in given.items() if value not in ("", None)}
    job_id = _submit(given, kind, durability or None, as_json=as_json)
    if wait_s is None:
        print_json({"job_id": job_id}) if as_json else typer.echo(job_id)
    else:
        _wait(job_id, wait_s, as_json=as_json)


def _submit(given: Mapping[str, Any], kind: JobKind, durability: str | None, *, as_json: bool) -> str:
    try:
        return producers.submit(producers.check_mapping(given, kind), durability)
    except InvalidRequestError as invalid:
        refuse("the request breaks rules", faults=invalid.faults, as_json=as_json)
    except IdempotencyConflictError as conflict:
        refuse(str(conflict), as_json=as_json)
    except (LedgerUnavailableError, DurabilityUnavailableError) as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    except DurabilityUnconfirmedError as unconfirmed:
        _tell_unconfirmed(unconfirmed, as_json=as_json)


def _tell_unconfirmed(unconfirmed: DurabilityUnconfirmedError, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": str(unconfirmed), "faults": [], "job_id": unconfirmed.job_id})
    else:
        complain(str(unconfirmed))
        typer.echo(unconfirmed.job_id)
    raise typer.Exit(Exit.NOT_FINISHED)


def _wait(job_id: str, wait_s: float, *, as_json: bool) -> None:
    try:
        job = producers.wait(job_id, wait_s)
    except WaitTimeoutError as late:
        job = producers.read(job_id)
        if not as_json:
            complain(str(late))
    print_job(job, as_json=as_json)
    raise typer.Exit(exit_of(job))
