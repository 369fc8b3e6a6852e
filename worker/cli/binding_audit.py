"""`axn bindings audit` and `forget`: the registry held against the provider."""

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from worker import registry_producers
from worker.cli.binding_adopt import PerSecond
from worker.cli.output import Exit, complain, print_json, print_table, progress, refuse
from worker.domain.job_ids import is_job_id
from worker.domain.masking import mask_number, mask_text
from worker.errors import AxnError, LedgerUnavailableError, SettingsError
from worker.registry.drift import AuditScope, Drift, DriftReport, Finding
from worker.settings import load_settings

_STOPPED = 130
_MOST_SHOWN = 50
_MOST_IN_JSON = 10_000


def audit(
    *,
    pool_key: Annotated[str, typer.Option("--pool", help="Only bindings of this pool.")] = "",
    sample: Annotated[str, typer.Option(help="Only such a share of them, drawn at random: 1%.")] = "100%",
    fix: Annotated[bool, typer.Option("--fix", help="Mend the registry; nothing is changed at the provider.")] = False,
    numbers: Annotated[
        str, typer.Option(metavar="FILE", help="X, one a line, to ask for bindings that nobody here knows.")
    ] = "",
    orphans_to: Annotated[
        str, typer.Option(metavar="PATH", help="Where such bindings go, as CSV for `axn bindings adopt`.")
    ] = "",
    per_second: PerSecond = 20.0,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Compare the registry with the provider, binding by binding.

    lapsed: run out there, active here. gone: not there (any more). changed: there, with other values. orphan: bound on
    one of our numbers, and not in the registry; looked for on the numbers of ended bindings, and those of --numbers.

    With --fix the provider's values are taken over. A kept binding that is lapsed or gone is seen to by its renewal,
    which does as its policy says; any other is noted as ended. Orphans are left alone: adopt them, or unbind them.

    Example: [bold]axn bindings audit --pool FC123456 --sample 1%[/bold]

    Exit status: 0 nothing differs, or all is mended; 1 differences are left, or no answer; 2 bad input.
    """
    pool_key_of_numbers = pool_key or load_settings().pool_key
    if numbers and not pool_key_of_numbers:
        refuse("--pool: is required with --numbers (or AXN_POOL_KEY)", as_json=as_json)
    scope = AuditScope(
        pool_key, _share(sample, as_json=as_json), _numbers(numbers, pool_key_of_numbers, as_json=as_json), fix
    )
    report, status = DriftReport(), Exit.DONE
    try:
        with progress("bindings") as tell:
            registry_producers.audit_bindings(scope, report, per_second=per_second, tell=tell)
    except KeyboardInterrupt:
        report.stopped_by, status = "stopped", _STOPPED  # type: ignore[assignment]
    except SettingsError as wrong:
        refuse(str(wrong), as_json=as_json)
    except AxnError as failed:
        report.stopped_by, status = str(failed), Exit.FAILED
    _write_orphans(orphans_to, report, as_json=as_json)
    if as_json:
        print_json(_as_dict(report))
    else:
        _print(report)
    raise typer.Exit(status or (Exit.FAILED if len(report.findings) > report.fixed else Exit.DONE))


def forget(
    binding_ids: Annotated[list[str], typer.Argument(metavar="BINDING_ID…", help="As `axn bindings list` shows them.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Take bindings out of the registry: they are not found, nor renewed, any more. At the provider they stay.

    Example: [bold]axn bindings forget k3v9c2m8xq7w4r6t1y5z0n8b3d[/bold]

    Exit status: 0 forgotten, 1 some were not in the registry, or no answer from Redis, 2 bad input.
    """
    if wrong := [given for given in binding_ids if not is_job_id(given)]:
        refuse(
            f"BINDING_ID: must be the 26 letters and digits of a binding's id: {mask_text(wrong[0])}", as_json=as_json
        )
    try:
        forgotten = [given for given in binding_ids if registry_producers.forget_binding(given)]
    except LedgerUnavailableError as away:
        complain(str(away), as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None
    unknown = [given for given in binding_ids if given not in forgotten]
    if as_json:
        print_json({"forgotten": forgotten, "unknown": unknown})
    else:
        typer.echo(f"forgotten: {len(forgotten)}")
        for given in unknown:
            complain(f"{given} is not in the registry")
    raise typer.Exit(Exit.FAILED if unknown else Exit.DONE)


def _share(text: str, *, as_json: bool) -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        refuse("--sample: must be a share such as 1% or 0.01, above 0 and at most 100%", as_json=as_json)
    return share


def _numbers(file: str, pool_key: str, *, as_json: bool) -> Sequence[tuple[str, str]]:
    if not file:
        return ()
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as unreadable:
        refuse(f"--numbers: {file} cannot be read ({type(unreadable).__name__})", as_json=as_json)
    if wrong := [place for place, line in enumerate(lines, 1) if not (line.isascii() and line.isdigit())]:
        refuse(f"--numbers: entry {wrong[0]} of {file} is not digits only", as_json=as_json)
    return [(line, pool_key) for line in dict.fromkeys(lines)]


def _write_orphans(path: str, report: DriftReport, *, as_json: bool) -> None:
    """Whole numbers are in it, so nobody but its owner may read it."""
    orphans = [finding for finding in report.findings if finding.drift is Drift.ORPHAN]
    if not path:
        return
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(["subs_id", "phone_no_x", "pool_key"])
            writer.writerows([orphan.subs_id, orphan.phone_no_x, orphan.pool_key] for orphan in orphans)
    except OSError as failed:
        complain(f"--orphans-to: {path} cannot be written: {failed.strerror}", as_json=as_json)
        raise typer.Exit(Exit.FAILED) from None


def _print(report: DriftReport) -> None:
    _print_table(report.findings[:_MOST_SHOWN])
    if (more := len(report.findings) - _MOST_SHOWN) > 0:
        typer.echo(f"… and {more} more")
    if report.stopped_by:
        complain(mask_text(report.stopped_by))
    typer.echo(f"checked: {report.checked} bindings, {report.numbers} numbers")
    counts = ", ".join(f"{drift.value} {report.counts[drift.value]}" for drift in Drift)
    typer.echo(f"{counts}; mended: {report.fixed}")


def _print_table(findings: Iterable[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("drift", "binding", "subs_id", "x", "differs", ""):
        table.add_column(name, no_wrap=True)
    for finding in findings:
        table.add_row(
            finding.drift.value, finding.binding_id, finding.subs_id, mask_number(finding.phone_no_x),
            " ".join(finding.fields), "mended" if finding.is_fixed else "",
        )  # fmt: skip
    if table.row_count:
        print_table(table)


def _as_dict(report: DriftReport) -> dict[str, Any]:
    return {
        "checked": report.checked,
        "numbers": report.numbers,
        "counts": {drift.value: report.counts[drift.value] for drift in Drift},
        "fixed": report.fixed,
        "stopped_by": mask_text(report.stopped_by),
        "findings": [
            {
                "drift": finding.drift.value,
                "binding_id": finding.binding_id,
                "subs_id": finding.subs_id,
                "phone_no_x": mask_number(finding.phone_no_x),
                "pool_key": finding.pool_key,
                "fields": list(finding.fields),
                "is_fixed": finding.is_fixed,
            }
            for finding in report.findings[:_MOST_IN_JSON]
        ],
    }
