"""`axn up`: the whole system on this machine, until Ctrl-C."""

import shlex
from typing import Annotated

import typer

from worker.cli.children import run_with_children
from worker.cli.output import print_json
from worker.errors import AxnError
from worker.local.system import LocalSystem, SystemPlan


def up(
    *,
    sandbox: Annotated[
        bool, typer.Option("--sandbox/--no-sandbox", help="Without: AXN_ENDPOINT and key are yours.")
    ] = True,
    redis: Annotated[bool, typer.Option("--redis/--no-redis", help="Without: AXN_REDIS_URL is yours.")] = True,
    latency_ms: Annotated[int, typer.Option(min=0, help="How long the sandbox takes to answer.")] = 50,
    numbers: Annotated[int, typer.Option(min=1, help="How many numbers the sandbox's pool holds.")] = 1500,
    as_json: Annotated[bool, typer.Option("--json", help="The variables as one line of JSON.")] = False,
) -> None:
    """Start Redis, the sandbox, a callback receiver and the workers, and keep them running until Ctrl-C.

    Prints the AXN_ variables that lead there: export them in another terminal and use `axn bind` or `from tasks import
    submit`. Data live in a temporary folder and go with the command.

    Example: [bold]axn up --latency-ms 20[/bold]
    """
    plan = SystemPlan(with_redis=redis, with_sandbox=sandbox, numbers=numbers, latency_ms=latency_ms)
    run_with_children(lambda: _stay_up(plan, as_json=as_json))


async def _stay_up(plan: SystemPlan, *, as_json: bool) -> None:
    def on_event(part: str, text: str) -> None:
        typer.echo(f"{part}: {text}", err=True)

    async with LocalSystem(plan, on_event=on_event) as system:
        if as_json:
            print_json(
                {
                    "env": system.env,
                    "sandbox": system.sandbox_url,
                    "receiver": system.receiver_url,
                    "logs": str(system.log_folder),
                    "pids": system.pids,
                }
            )
        else:
            _print_env(system)
        raise AxnError(await system.failure())


def _print_env(system: LocalSystem) -> None:
    for name, value in system.env.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    typer.echo(f"# callbacks may go to {system.receiver_url}/axn; logs: {system.log_folder}; Ctrl-C ends everything")
