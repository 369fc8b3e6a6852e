"""`axn callbacks rotate` and `axn callbacks secrets`: the keys that sign callbacks."""

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from worker import producers
from worker.callbacks.rotation import LONGEST_GRACE_MS, Rotation, RotationRefusedError, host_owner, named_owner
from worker.callbacks.signature import MissingExtraError, SigningKey, fingerprint_of, parse_secret
from worker.cli.output import Exit, complain, print_json, print_table, readable_age, readable_time, refuse
from worker.domain.callback_secret import SecretOwner
from worker.domain.durations import duration_ms, parse_duration
from worker.errors import LedgerUnavailableError
from worker.ledger.callback_secrets import StoredSecret

_DEFAULT = "AXN_CALLBACK_SECRET"


def rotate(
    host: Annotated[str, typer.Argument(metavar="[HOST]", help="Of the receivers, such as shop.example.")] = "",
    *,
    name: Annotated[str, typer.Option(help="Instead of HOST: a secret that requests name.")] = "",
    grace: Annotated[str, typer.Option(help="How long the old keys sign on: 0 to 7d.")] = "24h",
    secret: Annotated[str, typer.Option(help="A key of your own, whsec_… or whsk_…; - reads it from stdin.")] = "",
    ed25519: Annotated[bool, typer.Option("--ed25519", help="Make an ed25519 key: the receiver gets whpk_….")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Make a new key for a receiver host or a named secret, and print it: this once, and nowhere else.

    Workers sign with it within 5 s. The old keys, AXN_CALLBACK_SECRET before a host's first key of its own included,
    sign as well until the grace ends: hand the new one to the receiver in that time. With --grace 0 it signs alone.

    Example: [bold]axn callbacks rotate shop.example --grace 24h[/bold]

    Exit status: 0 done, 1 not done, or not known to be, 2 bad input.
    """
    owner = _owner(host, name, as_json=as_json)
    grace_ms = _grace_ms(grace, as_json=as_json)
    if secret and ed25519:
        refuse("give either --secret or --ed25519", as_json=as_json)
    given = _given_key(secret, as_json=as_json) if secret else None
    try:
        rotation = producers.rotate_callback_secret(owner, grace_ms=grace_ms, given=given, is_ed25519=ed25519)
    except MissingExtraError as missing:
        refuse(f"--ed25519: {missing}", as_json=as_json)
    except RotationRefusedError as refused:
        complain(str(refused), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    except LedgerUnavailableError as away:
        unknown = "whether the key was made is not known: look at `axn callbacks secrets`, and rotate again"
        complain(f"{away}; {unknown}", as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    _tell_rotation(rotation, was_given=given is not None, as_json=as_json)


def _owner(host: str, name: str, *, as_json: bool) -> SecretOwner:
    if bool(host) == bool(name):
        refuse("give either HOST or --name NAME", as_json=as_json)
    try:
        return host_owner(host) if host else named_owner(name)
    except ValueError as wrong:
        refuse(f"{'HOST' if host else '--name'}: {wrong}", as_json=as_json)


def _grace_ms(grace: str, *, as_json: bool) -> int:
    try:
        grace_ms = duration_ms(parse_duration(grace))
    except ValueError as wrong:
        refuse(f"--grace: {wrong}", as_json=as_json)
    if grace_ms > LONGEST_GRACE_MS:
        refuse("--grace: must be at most 7d", as_json=as_json)
    return grace_ms


def _given_key(secret: str, *, as_json: bool) -> SigningKey:
    try:
        return parse_secret(sys.stdin.readline().strip() if secret == "-" else secret)  # noqa: S105 - the option's word
    except ValueError as wrong:
        refuse(f"--secret: {wrong}", as_json=as_json)


def _tell_rotation(rotation: Rotation, *, was_given: bool, as_json: bool) -> None:
    key, stored = rotation.key, rotation.stored
    told = {"secret": "" if was_given else key.secret, "public_key": key.public_key}
    rows = list(_rows(stored))
    if as_json:
        owner = {"owner": stored.owner.name, "kind": _kind_of(stored)}
        print_json(owner | {"fingerprint": rotation.fingerprint} | told | {"keys": rows})
        return
    for line in told.values():
        if line:
            typer.echo(line)
    typer.echo(f"{stored.owner.name}: key {rotation.fingerprint} signs within 5 s", err=True)
    for row in rows:
        if row["retires_at"]:
            typer.echo(f"key {row['fingerprint']} signs until {readable_time(row['retires_at'])}", err=True)


def secrets(*, as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a key.")] = False) -> None:
    """List the live keys that sign callbacks: whose, how old, when they retire; never the keys themselves.

    A fingerprint is the beginning of the SHA-256 of what the receiver holds: `printf %s whsec_… | sha256sum`.

    Example: [bold]axn callbacks secrets[/bold]
    """
    try:
        stored, default = producers.callback_secrets()
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    rows = [_default_row(key) for key in default]
    rows += [{"owner": one.owner.name, "kind": _kind_of(one)} | row for one in stored for row in _rows(one)]
    if as_json:
        for row in rows:
            print_json(row)
    elif not rows:
        typer.echo(f"no keys: set {_DEFAULT}, or see `axn callbacks rotate --help`", err=True)
    else:
        _print_keys(rows)


def _rows(stored: StoredSecret) -> Iterator[dict[str, Any]]:
    for key in stored.live_keys(stored.now_ms):
        algorithm = "v1a" if key.secret.startswith("whsk_") else "v1"
        yield {
            "fingerprint": key.fingerprint, "signature": algorithm, "created_at": key.created_at,
            "retires_at": key.retired_at,
        }  # fmt: skip
    if stored.default_until > stored.now_ms:
        yield {"fingerprint": _DEFAULT, "signature": "", "created_at": 0, "retires_at": stored.default_until}


def _default_row(key: SigningKey) -> dict[str, Any]:
    algorithm = "v1a" if key.public_key else "v1"
    return {
        "owner": _DEFAULT, "kind": "default", "fingerprint": fingerprint_of(key), "signature": algorithm,
        "created_at": 0, "retires_at": 0,
    }  # fmt: skip


def _kind_of(stored: StoredSecret) -> str:
    return "host" if stored.owner.is_host else "name"


def _print_keys(rows: list[dict[str, Any]]) -> None:
    now_ms = time.time_ns() // 1_000_000
    table = Table(box=None, pad_edge=False)
    for name in ("owner", "kind", "fingerprint", "signature", "age", "retires in"):
        table.add_column(name, overflow="fold")
    for row in rows:
        age = readable_age(now_ms - row["created_at"]) if row["created_at"] else "–"
        retires = readable_age(row["retires_at"] - now_ms) if row["retires_at"] else "–"
        shown = (row["owner"], row["kind"], row["fingerprint"], row["signature"] or "–", age, retires)
        table.add_row(*(Text(cell) for cell in shown))
    print_table(table)
