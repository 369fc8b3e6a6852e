"""`axn receiver`: a callback URL that verifies what arrives, and may answer badly."""

import json
import re
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from worker.cli.output import print_json, readable_time, refuse
from worker.cli.sandbox import serve_until_interrupted
from worker.domain.durations import duration_ms, parse_duration
from worker.domain.masking import mask_text
from worker.receiver.config import ReceiverConfig
from worker.receiver.events import Call
from worker.receiver.server import Receiver, serve

_IDS = frozenset({"job_id", "unbind_job_id", "subs_id", "request_id"})
"""Digits that are nobody's number."""
_OPTIONS = {"secrets": "--secret", "secret": "--secret", "fail_share": "--fail", "delay_ms": "--slow"}


def receiver(
    *,
    secret: Annotated[
        list[str] | None, typer.Option(help="whsec_…, or whpk_… for ed25519; may be repeated: one must fit.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    fail: Annotated[float, typer.Option(help="Share of verified calls, 0 to 1, that are answered 500.")] = 0.0,
    slow: Annotated[str, typer.Option(help="Hold every answer back so long, such as 2s.")] = "",
    status: Annotated[int, typer.Option(help="The answer to the others, such as 410; default 204.")] = 0,
    retry_after: Annotated[
        str, typer.Option(help="Retry-After of all answers but 2xx, seconds or a date; alone: answers 503.")
    ] = "",
    redirect: Annotated[str, typer.Option(help="Answer with a redirect to this URL.")] = "",
    seed: Annotated[int | None, typer.Option(help="Makes the choice of --fail repeatable.")] = None,
    show_numbers: Annotated[bool, typer.Option("--show-numbers", help="Print telephone numbers in full.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print what arrives.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON for each: address, calls, counts.")] = False,
) -> None:
    """Receive callbacks: print each as it arrives, verified or why not, and at the end the counts.

    Example: [bold]axn receiver --port 8901 --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw --fail 0.3[/bold]

    What arrived, numbers in full: GET /_receiver/events; counts: GET /_receiver/stats.
    """
    try:
        slow_ms = duration_ms(parse_duration(slow)) if slow else 0
    except ValueError as wrong:
        refuse(f"--slow: {wrong}", as_json=as_json)
    printer = _Printer(shows_numbers=show_numbers, as_json=as_json)
    try:
        config = ReceiverConfig(
            host=host,
            port=port,
            secrets=tuple(secret or ()),
            fail_share=fail,
            status=status or None,
            retry_after=retry_after,
            redirect=redirect,
            delay_ms=slow_ms,
            seed=seed,
        )
        listening = Receiver(config) if quiet else Receiver(config, printer.tell)
    except ValueError as wrong:
        refuse(_by_option(str(wrong)), as_json=as_json)
    serve_until_interrupted(lambda tell: serve(config, on_ready=tell, receiver=listening), as_json=as_json)
    printer.tell_counts(listening.stats)


def _by_option(fault: str) -> str:
    """The fault with the option's name in front, instead of the field's."""
    field, _, rule = fault.partition(":")
    if rule:
        return f"{_OPTIONS.get(field, '--' + field.replace('_', '-'))}:{rule}"
    return f"--secret: {fault}"


class _Printer:
    """Prints calls, as long as somebody reads."""

    def __init__(self, *, shows_numbers: bool, as_json: bool) -> None:
        self._shows_numbers = shows_numbers
        self._as_json = as_json
        self._console = Console(soft_wrap=True, highlight=False)
        self._is_read = True

    def tell(self, call: Call) -> None:
        """One line."""
        if not self._is_read:
            return
        try:
            self._console.print(self._json(call) if self._as_json else self._line(call))
        except OSError:  # `axn receiver | head`: the answers go on
            self._is_read = False

    def tell_counts(self, stats: dict[str, int]) -> None:
        """The last line."""
        if self._as_json:
            print_json({"stats": stats})
        else:
            typer.echo(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in stats.items()))

    def _json(self, call: Call) -> Text:
        row = {
            "at": call.at_ms, "webhook_id": _printable(call.webhook_id), "call": call.number,
            "verified": not call.refusal, "refusal": call.refusal, "status": call.status, "type": call.type,
            "has_other_body": call.has_other_body, "data": self._shown(call.data),
        }  # fmt: skip
        # Half a surrogate pair is legal in JSON and nowhere else.
        return Text(json.dumps(row, ensure_ascii=False).encode(errors="replace").decode())

    def _line(self, call: Call) -> Text:
        line = Text(f"{readable_time(call.at_ms)[11:23]} ")
        if call.refusal:
            line.append(f"not verified: {call.refusal} ", "red")
        else:
            line.append("verified ", "green").append(_printable(call.type or "(no event)"), "bold").append(" ")
        line.append(f"{_printable(call.webhook_id) or '(no webhook-id)'}, call {call.number} → {call.status}")
        if call.has_other_body:
            line.append(" BODY DIFFERS FROM AN EARLIER ONE", "red")
        if call.data is not None:
            data = json.dumps(self._shown(call.data), ensure_ascii=False, separators=(",", ":"))
            line.append(f" {_printable(data)}", "dim")
        return line

    def _shown(self, data: Any) -> Any:
        try:
            return self._masked(data)
        except RecursionError:
            return "(nested too deep to be shown)"

    def _masked(self, value: Any, name: str = "") -> Any:
        if self._shows_numbers or name in _IDS:
            return value
        if isinstance(value, dict):
            return {mask_text(str(key)): self._masked(each, key) for key, each in value.items()}
        if isinstance(value, list):
            return [self._masked(each) for each in value]
        if isinstance(value, str):
            return mask_text(value)
        return mask_text(str(value)) if re.search(r"\d{7}", str(value)) else value


def _printable(text: str) -> str:
    """What others sent must not steer a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
