"""What a cell needs where batches are at stake: the `axn batch` commands, their moments, and a verdict on each row."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from tests.chaos.batch_checker import (
    CANCELLED,
    FINISHED,
    BatchEvidence,
    EffectEvidence,
    RowEnd,
    Told,
    check_batch,
    check_effects,
)
from tests.chaos.batch_sheets import Sheet, SheetMaker
from tests.chaos.bench import Bench
from tests.chaos.callback_bench import options as callback_options
from tests.chaos.checker import FAULT, LOST, percentile
from tests.chaos.processes import HarnessError, Kept
from tests.chaos.receivers import Sinks
from tests.chaos.system import SystemOptions
from worker.batches.assembly import build_batches
from worker.domain.batch import Batch, batch_id_for_name
from worker.errors import BatchNotFoundError, LedgerUnavailableError

WINDOW = 200
ENDS_WITHIN_S = 150.0
_STARTS_WITHIN_S = 90.0
_TOLD_WITHIN_S = 30.0
_LOOK_S = 0.1
_BYSTANDER_SHARE = 0.2


def options(**tuning: str) -> SystemOptions:
    """A system that may tell the ends of batches, on a Redis that forgets nothing."""
    tuned = callback_options("500ms,1s,2s", **tuning)
    return SystemOptions(tuning=tuned.tuning, redis=("--appendfsync", "always"))


class BatchBench:
    """Batches beside a bench.

    Attributes:
        sheets: all files whose rows are to be judged.
    """

    def __init__(self, bench: Bench, sinks: Sinks, finished_url: str) -> None:
        self.bench = bench
        self.system = bench.system
        self._sinks = sinks
        self._finished_url = finished_url
        self._batches = build_batches(bench.system.ledger)
        self._commands: list[Kept] = []
        self._ends: defaultdict[str, list[RowEnd]] = defaultdict(list)
        self._maker = SheetMaker(bench)
        self.sheets: list[Sheet] = []

    # --- commands ---

    async def start(
        self,
        sheet: Sheet,
        name: str,
        *,
        crashes: Sequence[str] = (),
        of: Sequence[int] | None = None,
        rate: int = 0,
        window: int = WINDOW,
    ) -> Kept:
        """`axn batch start` in a process of its own, which is repeated until it succeeds, as a cron job would.

        Args:
            sheet: whose rows.
            name: of the batch.
            crashes: where its first lives end.
            of: indexes of its rows; without it all.
            rate: rows begun per second at most; 0 for no limit.
            window: rows under way at most.
        """
        path = self.system.folder / "producers" / f"{name}.csv"
        sheet.write(path, name, of)
        words = ["batch", "start", str(path), "--name", name, "--rate", str(rate), "--window", str(window), "--json"]
        command = [sys.executable, "-m", "worker.cli", *words, "--finished-url", self._finished_url]
        kept = Kept(f"start-{name}-{len(self._commands)}", command, self.system.folder / "logs", self.system.env,
                    until_done=True)  # fmt: skip
        envs = [{"AXN_STEPS_CRASH": crash} for crash in crashes]
        kept.next_env, kept.following = (envs[0], envs[1:]) if envs else ({}, [])
        self._commands.append(kept)
        await kept.start()
        return kept

    async def started(self, *commands: Kept, within_s: float = _STARTS_WITHIN_S) -> None:
        """Wait until these have succeeded."""
        for kept in commands:
            try:
                await asyncio.wait_for(kept.is_done.wait(), within_s)
            except TimeoutError:
                self.bench.blame("I1", LOST, f"{kept.name} did not succeed within {within_s:g} s")
            if kept.failure is not None:
                raise HarnessError(str(kept.failure))

    async def read(self, name: str) -> Batch:
        """As it stands."""
        return await self._batches.read(batch_id_for_name(name))

    async def axn(self, *words: str, may_fail: bool = False) -> list[str]:
        """Run `axn …` as a person does; its lines.

        Raises:
            HarnessError: it failed.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker.cli", *words, env={**os.environ, **self.system.env},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode and not may_fail:
            raise HarnessError(f"axn {' '.join(words)} ended with {process.returncode}: {err.decode()[-300:]}")
        return out.decode().splitlines()

    async def cancel(self, sheet: Sheet, name: str) -> None:
        """Cancel it, and wait until its rows under way have ended."""
        await self.axn("batch", "cancel", name)
        sheet.batches[name] = (sheet.batches[name][0], CANCELLED)
        await self.until(name, lambda batch: not batch.alive, "its rows under way end")

    # --- moments ---

    async def until(
        self, name: str, condition: Callable[[Batch], bool], what: str, within_s: float = ENDS_WITHIN_S
    ) -> None:
        """Wait for something to be true of a batch.

        Raises:
            HarnessError: it did not come true in time.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(RedisError, OSError, LedgerUnavailableError, BatchNotFoundError):
                if condition(await self.read(name)):
                    return
            await asyncio.sleep(_LOOK_S)
        raise HarnessError(f"batch {name}: {what}: not within {within_s:g} s")

    async def at(self, name: str, share: float) -> None:
        """Wait until so many of its rows have ended."""
        await self.until(name, lambda batch: batch.ended >= max(1, round(share * batch.rows)), f"{share:.0%} end")

    async def ended(self, name: str) -> None:
        """Wait until it has finished; what has not is the checker's to tell."""
        with contextlib.suppress(HarnessError):
            await self.until(name, lambda batch: batch.state.is_end and not batch.alive, "it ends")

    async def kill_workers(self) -> None:
        """SIGKILL to all of the batch lane's at once; they start again."""
        workers = [kept for name, kept in self.system.workers.items() if name.startswith("batch")]
        await asyncio.gather(*(self.bench.kill(kept) for kept in workers))

    async def run(self, title: str, rows: int, scenario: Callable[[Sheet], Awaitable[None]], **kinds: Any) -> None:
        """A file of so many rows, the scenario with checkout's orders beside it, and the verdict."""
        sheet = await self._maker.sheet(rows, **kinds)
        self.sheets.append(sheet)
        orders = self.bench.book.make(max(12, round(rows * _BYSTANDER_SHARE)), lane="checkout")

        async def play() -> None:
            await scenario(sheet)
            for name, (_, must_be) in sheet.batches.items():
                if must_be == FINISHED:
                    await self.ended(name)

        await self.bench.run(title, play, orders=orders, over_s=max(3.0, rows / 100))
        await self.judge(sheet)

    # --- the verdict ---

    async def judge(self, sheet: Sheet) -> None:
        """What its batches tell of themselves."""
        for name, (rows, must_be) in sheet.batches.items():
            await self._until_told(name, must_be)
            shown, report = await asyncio.gather(
                self.axn("batch", "show", name, "--json", may_fail=True),
                self.axn("batch", "report", name, "--format", "jsonl"),
            )
            ends = [RowEnd.from_json(line) for line in report]
            evidence = BatchEvidence(name, rows, ends, json.loads("".join(shown) or "{}"), self._told_of(name), must_be)
            self.bench.violations += check_batch(evidence)
            for row, end in zip(rows, ends, strict=False):
                self._ends[row.order].append(end)
            self.bench.row_states.update(end.outcome for end in ends if end.outcome)

    async def _until_told(self, name: str, must_be: str) -> None:
        deadline = time.monotonic() + _TOLD_WITHIN_S
        while must_be == FINISHED and not self._told_of(name) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)

    def _told_of(self, name: str) -> list[Told]:
        mine = [one for one in self._sinks.arrivals if one.webhook_id.startswith(batch_id_for_name(name))]
        return [Told(one.webhook_id, one.body, one.status) for one in mine]

    async def judge_effects(self) -> None:
        """At the end, when nothing changes any more: what every row did."""
        job_ids = {end.job_id for ends in self._ends.values() for end in ends if end.job_id}
        records = await self.system.records(sorted(job_ids))
        self.bench.violations += check_effects(
            EffectEvidence(
                rows=[row for sheet in self.sheets for row in sheet.rows],
                ends=self._ends,
                bindings=await self.system.bindings(),
                orphans={job_id: record.possible_orphans for job_id, record in records.items() if record},
            )
        )
        await self._note_figures()

    async def _note_figures(self) -> None:
        bench = self.bench
        beside = await self.system.records([one.job_id for one in bench.submissions])
        waits = [record.finished_at - record.accepted_at for record in beside.values() if record and record.has_ended]
        codes = Counter(end.code for ends in self._ends.values() for end in ends if end.code not in ("", "OK"))
        bench.figures |= {
            "rows": sum(sheet.count for sheet in self.sheets),
            **{f"rows {state}": count for state, count in sorted(bench.row_states.items())},
            **{f"code {code}": count for code, count in sorted(codes.items())},
            "checkout_orders": len(waits),
            "checkout_p50_ms": percentile(waits, 0.5),
            "checkout_p99_ms": percentile(waits, 0.99),
            "starts": sum(kept.deaths for kept in self._commands),
        }

    async def end(self) -> None:
        """End what is left of the commands."""
        await asyncio.gather(*(kept.end() for kept in self._commands))


@contextlib.asynccontextmanager
async def batching(bench: Bench) -> AsyncIterator[BatchBench]:
    """A receiver of the batches' ends for the length of the block; at its end every row is judged."""
    async with Sinks() as sinks:
        at_work = BatchBench(bench, sinks, (await sinks.add()).url)
        try:
            yield at_work
        except HarnessError as broken:
            bench.blame("F0", FAULT, str(broken))
        finally:
            await at_work.end()
        await at_work.judge_effects()
