import asyncio
import functools
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from worker.local.part import Part, PartFailedError
from worker.local.redis_server import answers_ping, find_server, new_folder, redis_command, redis_url
from worker.local.supervisor import RestartLimits, Supervisor

from .processes import FAMILY, SLEEPER, STUBBORN, exists, python, runs, wait_until

FAST = RestartLimits(per_minute=3, first_delay_s=0.01, max_delay_s=0.02)


class Events:
    """Keeps what a supervisor tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._news = asyncio.Event()

    def __call__(self, part_name: str, text: str) -> None:
        self.told.append((part_name, text))
        self._news.set()

    async def wait_for(self, text: str, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while sum(text in event for _, event in self.told) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
async def supervisor(tmp_path: Path, events: Events) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path / "logs", on_event=events, limits=FAST) as supervisor:
        yield supervisor


def sleeper(name: str = "sleeper", program: str = SLEEPER, *, restart: bool = False, grace_s: float = 5.0) -> Part:
    return Part(name=name, command=python(program), ready_line="READY", restart=restart, stop_grace_s=grace_s)


async def failure(supervisor: Supervisor) -> str:
    async with asyncio.timeout(10):
        return str(await supervisor.failed())


async def refusal(supervisor: Supervisor, part: Part) -> str:
    with pytest.raises(PartFailedError) as caught:
        await supervisor.start(part)
    return str(caught.value)


# --- Ready ---


async def test_the_ready_line_is_awaited_and_its_rest_handed_over(supervisor: Supervisor) -> None:
    program = """
import json, sys, time
print("starting", file=sys.stderr)
print("READY", json.dumps({"url": "http://127.0.0.1:1"}), flush=True)
time.sleep(600)
"""
    running = await supervisor.start(Part(name="server", command=python(program), ready_line="READY "))
    assert json.loads(running.ready_value or "") == {"url": "http://127.0.0.1:1"}
    assert running.log_path.read_text().startswith("starting\nREADY")


async def test_half_a_ready_line_is_not_taken(supervisor: Supervisor) -> None:
    program = "import time; print('READY ha', end='', flush=True); time.sleep(600)"
    part = Part(name="server", command=python(program), ready_line="READY", ready_within_s=0.5)
    assert "server was not ready within 0.5 s" in await refusal(supervisor, part)


async def test_a_check_is_asked_until_it_holds(supervisor: Supervisor) -> None:
    answers = iter([False, False, True])
    await supervisor.start(Part(name="checked", command=python(SLEEPER), ready=lambda: next(answers)))
    assert next(answers, None) is None


async def test_a_check_may_be_awaitable_and_comes_after_the_line(supervisor: Supervisor, tmp_path: Path) -> None:
    async def line_is_there() -> bool:
        return "READY" in (tmp_path / "logs" / "checked.log").read_text()

    await supervisor.start(Part(name="checked", command=python(SLEEPER), ready_line="READY", ready=line_is_there))


async def test_a_check_that_hangs_is_given_up(supervisor: Supervisor) -> None:
    async def hang() -> bool:
        await asyncio.Event().wait()
        return True

    part = Part(name="server", command=python(SLEEPER), ready=hang, ready_within_s=0.2)
    assert "server was not ready within 0.2 s" in await refusal(supervisor, part)


async def test_a_check_that_raises_is_a_failure(supervisor: Supervisor) -> None:
    def broken() -> bool:
        raise LookupError("no such answer")

    part = Part(name="server", command=python(SLEEPER), ready=broken)
    assert "server could not be checked (LookupError('no such answer'))" in await refusal(supervisor, part)


async def test_a_part_that_ended_is_not_ready_even_if_its_check_holds(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    program = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))"

    def another_program_answers() -> bool:
        return ended.exists() and ended.read_text() != "" and not runs(int(ended.read_text()))

    part = Part(name="server", command=python(program, str(ended)), ready=another_program_answers)
    assert "server ended with code 0 before it was ready" in await refusal(supervisor, part)


async def test_a_part_gets_its_environment_on_top_of_ours(supervisor: Supervisor) -> None:
    program = "import os, time; print('READY', os.environ['AXN_X'], 'PATH' in os.environ, flush=True); time.sleep(600)"
    part = Part(name="server", command=python(program), ready_line="READY", env={"AXN_X": "x"})
    assert (await supervisor.start(part)).ready_value == "x True"


# --- Failing at the start ---


async def test_a_part_that_ends_at_its_start_shows_its_last_twenty_lines(supervisor: Supervisor) -> None:
    program = "for number in range(30): print('line', number)\nimport sys; sys.exit('no configuration')"
    text = await refusal(supervisor, Part(name="server", command=python(program), ready_line="READY"))
    assert text.startswith("server ended with code 1 before it was ready. Its last output, from ")
    assert "server.log" in text
    assert "no configuration" in text
    assert "line 29" in text
    assert len(text.splitlines()) == 21


async def test_a_missing_program_is_named(supervisor: Supervisor) -> None:
    part = Part(name="server", command=["/nowhere/axn"], ready_line="READY")
    assert "/nowhere/axn: No such file or directory" in await refusal(supervisor, part)


async def test_a_log_that_cannot_be_written_is_a_failure_of_the_part(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "logs" / "server.log").mkdir()
    assert "server could not be started: " in await refusal(supervisor, sleeper("server"))


async def test_a_part_that_is_late_is_killed_with_its_group(supervisor: Supervisor, tmp_path: Path) -> None:
    part = Part(name="late", command=python(FAMILY), ready_line="NEVER", ready_within_s=1.0)
    await refusal(supervisor, part)
    grandchild = int((tmp_path / "logs" / "late.log").read_text().split()[1])
    wait_until(lambda: not runs(grandchild))


async def test_a_start_given_up_leaves_no_process(supervisor: Supervisor, tmp_path: Path) -> None:
    pids: list[int] = []
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"

    def note_pid() -> bool:
        pids.extend(int(line) for line in (tmp_path / "logs" / "slow.log").read_text().splitlines())
        return False

    starting = asyncio.create_task(supervisor.start(Part(name="slow", command=python(program), ready=note_pid)))
    async with asyncio.timeout(10):
        while not pids:  # noqa: ASYNC110 (another process gives no event)
            await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not exists(pids[0])


# --- Ending unasked ---


async def test_a_killed_part_is_restarted_and_leaves_no_zombie(supervisor: Supervisor, events: Events) -> None:
    running = await supervisor.start(sleeper(restart=True))
    first = running.pid
    os.kill(first, signal.SIGKILL)
    await events.wait_for("runs again as process")
    assert events.told[0] == ("sleeper", "was killed by SIGKILL, starts again in 0.0 s")
    assert running.pid != first
    assert not exists(first)
    assert runs(running.pid)


async def test_a_restart_hands_over_a_new_ready_value(supervisor: Supervisor, events: Events) -> None:
    program = "import os, time; print('READY', os.getpid(), flush=True); time.sleep(600)"
    running = await supervisor.start(sleeper(program=program, restart=True))
    os.kill(running.pid, signal.SIGKILL)
    await events.wait_for("runs again as process")
    assert running.ready_value == str(running.pid)


async def test_what_a_killed_part_left_behind_is_ended_before_it_restarts(
    supervisor: Supervisor, events: Events
) -> None:
    running = await supervisor.start(sleeper(program=FAMILY, restart=True))
    grandchild = int(running.ready_value or "")
    os.kill(running.pid, signal.SIGKILL)
    await events.wait_for("runs again as process")
    wait_until(lambda: not runs(grandchild))


async def test_a_part_that_keeps_ending_fails_with_its_output(supervisor: Supervisor, events: Events) -> None:
    command = ["sh", "-c", 'echo READY; sleep 0.2; echo "out of luck"; exit 3']
    await supervisor.start(Part(name="unlucky", command=command, ready_line="READY", restart=True))
    text = await failure(supervisor)
    assert text.startswith("unlucky ended with code 3, after 3 restarts within a minute.")
    assert "out of luck" in text
    assert sum("starts again" in told for _, told in events.told) == 3


async def test_a_restart_that_does_not_become_ready_counts(
    supervisor: Supervisor, events: Events, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    command = ["sh", "-c", f"test -e {once} && exit 4; touch {once}; echo READY; exec sleep 600"]
    running = await supervisor.start(Part(name="once", command=command, ready_line="READY", restart=True))
    os.kill(running.pid, signal.SIGKILL)
    assert "once ended with code 4, after 3 restarts within a minute" in await failure(supervisor)
    await events.wait_for("ended with code 4 before it was ready", count=3)


async def test_restarts_are_put_off_longer_and_longer_up_to_the_limit(tmp_path: Path, events: Events) -> None:
    limits = RestartLimits(per_minute=4, first_delay_s=0.1, max_delay_s=0.3)
    async with Supervisor(tmp_path / "logs", on_event=events, limits=limits) as supervisor:
        await supervisor.start(Part(name="brief", command=["sleep", "0"], restart=True))
        await failure(supervisor)
    delays = [text.rpartition(" in ")[2] for _, text in events.told if "starts again" in text]
    assert delays == ["0.1 s", "0.2 s", "0.3 s", "0.3 s"]


async def test_the_end_of_a_part_without_restart_is_the_systems_failure(supervisor: Supervisor) -> None:
    running = await supervisor.start(sleeper())
    os.kill(running.pid, signal.SIGKILL)
    text = await failure(supervisor)
    assert text.startswith("sleeper was killed by SIGKILL. Its last output, from ")
    assert "READY" in text


async def test_an_unnamed_signal_is_told_by_its_number(supervisor: Supervisor) -> None:
    running = await supervisor.start(sleeper())
    os.kill(running.pid, signal.SIGRTMIN + 1)
    assert f"was killed by signal {signal.SIGRTMIN + 1}" in await failure(supervisor)


async def test_an_event_handler_that_raises_fails_the_part_loudly(tmp_path: Path) -> None:
    def broken(part_name: str, text: str) -> None:
        raise BrokenPipeError("the terminal is gone")

    async with Supervisor(tmp_path / "logs", on_event=broken, limits=FAST) as supervisor:
        running = await supervisor.start(sleeper(restart=True))
        os.kill(running.pid, signal.SIGKILL)
        assert "is no longer watched (BrokenPipeError('the terminal is gone'))" in await failure(supervisor)


async def test_a_restart_needs_no_event_handler(tmp_path: Path) -> None:
    async with Supervisor(tmp_path / "logs", limits=FAST) as supervisor:
        running = await supervisor.start(sleeper(restart=True))
        first = running.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while exists(first):  # noqa: ASYNC110 (another process gives no event)
                await asyncio.sleep(0.01)


# --- Stopping ---


async def test_stop_ends_all_parts_the_last_started_first(tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    command = ["sh", "-c", f'trap "echo $0 >> {ends}; exit" TERM; echo READY; while :; do sleep 0.01; done']
    async with Supervisor(tmp_path / "logs") as supervisor:
        for name in ("first", "second", "third"):
            await supervisor.start(Part(name=name, command=[*command, name], ready_line="READY"))
    assert ends.read_text().split() == ["third", "second", "first"]


async def test_stop_kills_a_part_that_ignores_sigterm(supervisor: Supervisor) -> None:
    running = await supervisor.start(sleeper(program=STUBBORN, grace_s=0.2))
    await supervisor.stop()
    assert not exists(running.pid)


async def test_stop_ends_grandchildren_too(supervisor: Supervisor) -> None:
    running = await supervisor.start(sleeper(program=FAMILY))
    grandchild = int(running.ready_value or "")
    assert runs(grandchild)
    await supervisor.stop()
    wait_until(lambda: not runs(grandchild))


async def test_stop_restarts_nothing_and_reports_nothing(supervisor: Supervisor, events: Events) -> None:
    await supervisor.start(sleeper(restart=True))
    await supervisor.stop()
    await supervisor.stop()
    assert events.told == []


async def test_stop_during_a_restart_leaves_no_process(supervisor: Supervisor, events: Events, tmp_path: Path) -> None:
    once, second = tmp_path / "once", tmp_path / "second"
    command = ["sh", "-c", f"test -e {once} && echo $$ > {second} || {{ touch {once}; echo READY; }}; exec sleep 600"]
    running = await supervisor.start(Part(name="once", command=command, ready_line="READY", restart=True))
    os.kill(running.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while not (second.exists() and second.read_text()):  # noqa: ASYNC110 (another process gives no event)
            await asyncio.sleep(0.01)
    await supervisor.stop()
    assert not exists(int(second.read_text()))


async def test_a_stop_that_is_cancelled_kills_all_at_once(supervisor: Supervisor) -> None:
    pids = [(await supervisor.start(sleeper(name, program=STUBBORN, grace_s=600))).pid for name in ("first", "second")]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await supervisor.stop()
    wait_until(lambda: not any(runs(pid) for pid in pids))


async def test_parts_are_out_of_reach_of_the_terminals_interrupt(supervisor: Supervisor) -> None:
    running = await supervisor.start(sleeper())
    assert os.getsid(running.pid) == os.getpgid(running.pid) == running.pid
    assert os.getsid(0) != running.pid


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
async def test_the_parts_of_a_killed_supervisor_end_too(tmp_path: Path, supervisor: Supervisor) -> None:
    program = f"""
import asyncio, pathlib, sys
from worker.local.part import Part
from worker.local.supervisor import Supervisor

async def main():
    supervisor = Supervisor(pathlib.Path({str(tmp_path)!r}))
    stubborn = Part(name="stubborn", command=[sys.executable, "-c", {STUBBORN!r}], ready_line="READY")
    print("READY", (await supervisor.start(stubborn)).pid, flush=True)
    await supervisor.failed()

asyncio.run(main())
"""
    # Where the project is not installed, -c finds it by the path only.
    env = {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await supervisor.start(Part(name="parent", command=python(program), ready_line="READY", env=env))
    part = int(parent.ready_value or "")
    assert os.getpgid(part) == part
    os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not runs(part))


@pytest.fixture
def redis_folder() -> Iterator[Path]:
    folder = new_folder()
    yield folder
    shutil.rmtree(folder)


async def test_a_redis_as_a_part_keeps_its_data_over_a_kill(
    redis_folder: Path, supervisor: Supervisor, events: Events
) -> None:
    socket_path = redis_folder / "redis.sock"
    command = redis_command(find_server(), redis_folder, appendfsync="always", log_file="")
    ready = functools.partial(answers_ping, socket_path)
    running = await supervisor.start(Part(name="redis", command=command, ready=ready, restart=True))
    async with redis.asyncio.Redis.from_url(redis_url(socket_path), decode_responses=True) as client:
        await client.set("job", "accepted")
        os.kill(running.pid, signal.SIGKILL)
        await events.wait_for("runs again as process")
        assert await client.get("job") == "accepted"
