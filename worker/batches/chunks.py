"""A chunk of a batch's rows, as its feeder goes over it."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.batches.row_codec import RowCodec
from worker.domain.batch import row_job_id
from worker.ledger.batch_feed import Cursor, HeldBatch
from worker.ledger.batch_rows import RowPlace, WrittenOutcome


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows and what decides which of them are fed.

    Attributes:
        rows: their texts.
        outcomes: in the rounds before, by the rows' indexes; None in the first round, which feeds all.
    """

    round_: int
    number: int
    rows: Sequence[str]
    outcomes: dict[int, WrittenOutcome] | None

    def some(self, held: HeldBatch, start: int, most: int) -> tuple[list[int], Cursor]:
        """Indexes of the next rows to feed, from `start` on, and where to go on."""
        fed: list[int] = []
        for index in range(start, len(self.rows)):
            if len(fed) == most:
                return fed, Cursor(self.number, index)
            if self._is_to_be_fed(held, index):
                fed.append(index)
        return fed, Cursor(self.number + 1, 0)

    def _is_to_be_fed(self, held: HeldBatch, index: int) -> bool:
        if self.outcomes is None:
            return True
        outcome = self.outcomes.get(index)
        return outcome is not None and outcome.round_ < held.round_ and outcome.is_retriable(held.retry_codes)


def without_end(chunk: Chunk, held: HeldBatch) -> list[tuple[RowPlace, str]]:
    """Of a chunk that was fed, the rows whose jobs have not ended in this round: their places, and their jobs' ids.

    Args:
        chunk: with its outcomes up to now, in the first round too.
        held: its batch.
    """
    outcomes = chunk.outcomes or {}
    if held.round_:
        indexes, _ = chunk.some(held, 0, len(chunk.rows))
    else:
        indexes = [index for index in range(len(chunk.rows)) if index not in outcomes]
    places = [RowPlace(held.batch_id, chunk.number, index, held.round_) for index in indexes]
    keys = [RowCodec.row_of(chunk.rows[index]).key for index in indexes]
    return [(place, row_job_id(held.batch_id, key, held.round_)) for place, key in zip(places, keys, strict=True)]
