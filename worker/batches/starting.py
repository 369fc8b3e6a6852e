"""Starts a batch: its rows are judged, and go to the ledger in chunks; when all are there it is sealed and begins.

The same rows under the same name are the same batch. So whatever stops a start (a kill, Ctrl-C, no answer from Redis),
the same start again completes it: chunks that are there already are compared and left. A batch that is begun, or done,
is found so. For that to hold at any time, rows are judged by the moment at which the batch was made.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from worker.batches.checking import BadRow, BadRowsSink, CheckReport, check
from worker.batches.desk import Ask, BatchStore, Encode
from worker.batches.plan import BatchPlan, difference
from worker.batches.raw_rows import Table
from worker.batches.row_rules import RowRules
from worker.batches.rows import Row
from worker.batches.sources import Limits
from worker.domain.batch import Batch, BatchState
from worker.errors import BatchConflictError, BatchInputError, BatchNotFoundError
from worker.intake.acceptance import Acceptance
from worker.ledger.batch_records import CHUNK_ROWS
from worker.steps import reached

_MOST_UNDER_WAY = 4
"""Chunks on their way to Redis while further rows are judged."""

T = TypeVar("T")
UnknownNames = Callable[[Iterable[str]], Coroutine[Any, Any, frozenset[str]]]


@dataclass(frozen=True, slots=True)
class Started:
    """What a start came to.

    Attributes:
        report: of the rows.
        batch: as it stands; None where nothing is begun.
        is_new: False where a batch of this name, with these rows, had been sealed before.
    """

    report: CheckReport
    batch: Batch | None
    is_new: bool = True


@dataclass(frozen=True, slots=True)
class Starting:
    """Starts batches from a thread that may wait.

    Attributes:
        store: keeps them.
        ask: asks it.
        encode: a row, for the store.
        acceptance: what time and settings say of rows.
        unknown_secrets: which of these callback secrets there are none of.
    """

    store: BatchStore
    ask: Ask
    encode: Encode
    acceptance: Acceptance
    unknown_secrets: UnknownNames

    def start(
        self,
        plan: BatchPlan,
        table: Table,
        *,
        sink: BadRowsSink | None = None,
        tell: Callable[[int], None] = lambda _rows: None,
        most_rows: int = Limits().rows,
    ) -> Started:
        """Judge and store all rows, and begin.

        Bad rows stop it, unless the plan skips them: then nothing is begun, and what a first start had stored is gone.

        Args:
            plan: checked.
            table: to read the rows from.
            sink: for bad rows.
            tell: called now and then with the rows read so far.
            most_rows: of one batch.

        Raises:
            BatchConflictError: the name stands for a batch of other rows or options, or for a cancelled one.
            BatchInputError: a callback secret does not exist.
            LedgerUnavailableError: Redis did not answer; start again.
        """
        self._check_secrets({plan.options.callback_secret_name, plan.defaults.get("callback_secret_name", "")} - {""})
        before = self._standing(plan)
        batch = before or self._get(self.store.create(plan.batch_id, plan.name, plan.options, plan.by))
        reached("batch.made", batch.batch_id)
        _check_options(plan, batch)
        rules = self._rules(plan, batch.created_at)
        with _Upload(self, plan) as upload:
            report = check(table, rules, most_rows=most_rows, sink=sink, tell=tell, take=upload.take)
            if report.is_good(skips_bad=plan.skips_bad):
                self._check_secrets(upload.secret_names)
                sealed = upload.seal()
                reached("batch.sealed", sealed.batch_id)
                return Started(report, sealed, is_new=before is None or before.state is BatchState.UPLOADING)
        if before is None:
            self._get(self.store.remove(plan.batch_id))
        return Started(report, None)

    def _standing(self, plan: BatchPlan) -> Batch | None:
        try:
            batch = self._get(self.store.read(plan.batch_id))
        except BatchNotFoundError:
            return None
        if batch.state is BatchState.CANCELLED:
            raise BatchConflictError(
                f"batch {plan.name} was cancelled; start it under another name, or `axn batch rm` it first"
            )
        return batch

    def _rules(self, plan: BatchPlan, at_ms: int) -> RowRules:
        pool_key = plan.defaults.get("pool_key") or self.acceptance.rules.pool_key
        defaults = {**plan.defaults, "pool_key": pool_key} if pool_key else plan.defaults
        return RowRules(dataclasses.replace(self.acceptance, clock=_Moment(at_ms)), plan.operation, defaults)

    def _check_secrets(self, names: set[str]) -> None:
        unknown = self._get(self.unknown_secrets(names)) if names else ()
        if unknown:
            raise BatchInputError(
                f"callback_secret_name: there is no secret {', '.join(sorted(unknown))}; "
                "`axn callbacks rotate --name` makes one; nothing is begun"
            )

    def _get(self, work: Coroutine[Any, Any, T]) -> T:
        return self.ask(work).result()


class _Upload:
    """Rows on their way to the ledger; left with an error, what is not stored yet is dropped."""

    def __init__(self, starting: Starting, plan: BatchPlan) -> None:
        self.secret_names: set[str] = set()
        self._starting = starting
        self._plan = plan
        self._rows: list[str] = []
        self._chunks = 0
        self._count = 0
        self._under_way: deque[Future[bool]] = deque()
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._wait_for(0)
        for put in self._under_way:
            put.cancel()

    def take(self, row: Row | BadRow) -> None:
        """Store a good row with its chunk; after a bad one that is not to be skipped nothing more is stored."""
        if isinstance(row, BadRow):
            self._is_stopped |= not self._plan.skips_bad
        elif not self._is_stopped:
            if name := row.wishes.get("callback_secret_name"):
                self.secret_names.add(name)
            self._rows.append(self._starting.encode(row))
            if len(self._rows) == CHUNK_ROWS:
                self._put()

    def seal(self) -> Batch:
        """Store the rest and begin."""
        if self._rows:
            self._put()
        self._wait_for(0)
        try:
            return self._starting.ask(self._starting.store.seal(self._plan.batch_id, self._count)).result()
        except BatchConflictError as conflict:
            raise self._other_rows(conflict) from None

    def _put(self) -> None:
        rows, self._rows = self._rows, []
        put = self._starting.store.put_chunk(self._plan.batch_id, self._chunks, rows)
        self._under_way.append(self._starting.ask(put))
        self._chunks += 1
        self._count += len(rows)
        self._wait_for(_MOST_UNDER_WAY)

    def _wait_for(self, most: int) -> None:
        try:
            while len(self._under_way) > most:
                self._under_way.popleft().result()
                reached("batch.stored", self._plan.batch_id)
        except BatchConflictError as conflict:
            raise self._other_rows(conflict) from None

    def _other_rows(self, conflict: BatchConflictError) -> BatchConflictError:
        return BatchConflictError(
            f"batch {self._plan.name} was started with other rows ({conflict}); "
            "give these another name, or `axn batch rm` the other first"
        )


@dataclass(frozen=True, slots=True)
class _Moment:
    """A clock that stands."""

    at_ms: int

    def unix_ms(self) -> int:
        return self.at_ms

    def monotonic_ms(self) -> float:
        return float(self.at_ms)

    async def sleep_ms(self, delay_ms: float) -> None:
        raise NotImplementedError


def _check_options(plan: BatchPlan, batch: Batch) -> None:
    if changed := difference(plan.options, batch.options):
        raise BatchConflictError(
            f"batch {plan.name} was started with other options: {changed}; give the same, or another name"
        )
