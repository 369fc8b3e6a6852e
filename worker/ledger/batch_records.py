"""How a batch stands in its hash, and what its sixteen hashes of counts add up to."""

import dataclasses
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from worker.domain.batch import Batch, BatchOptions, BatchState
from worker.domain.batch_hours import parse_hour
from worker.domain.formats import BATCH
from worker.errors import FieldFault, InvalidRequestError

CHUNK_ROWS = 500
"""Most rows of a chunk."""
DIGEST_BYTES = 16
CHUNK_PLACE = "chunk:"
"""And its number: where in its batch a chunk is sealed for."""
_PACKING = 6
_STATE, _CODE = "state:", "code:"


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What became of the rows so far, all partitions together.

    Attributes:
        opened, closed: jobs that were filed, and those of them that have ended, in all rounds.
        trouble, trouble_at: the code of the last wait that speaks of all rows, and when it was noted, Unix ms.
        ended_at: when a row's job ended last, Unix ms; 0: none has, of those that this release counted.
    """

    opened: int = 0
    closed: int = 0
    by_state: Mapping[str, int] = field(default_factory=dict)
    by_code: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    trouble_at: int = 0
    ended_at: int = 0

    @property
    def alive(self) -> int:
        """Jobs that have not ended."""
        return max(self.opened - self.closed, 0)

    @classmethod
    def of(cls, hashes: Sequence[Mapping[str, str]]) -> "BatchCounts":
        """The sum of the partitions' hashes."""
        sums: Counter[str] = Counter()
        trouble, trouble_at = "", 0
        for counts in hashes:
            for name, text in counts.items():
                if name not in ("trouble", "trouble_at", "ended_at"):
                    sums[name] += int(text)
            noted_at = int(counts.get("trouble_at", 0))
            if noted_at > trouble_at:
                trouble, trouble_at = counts.get("trouble", ""), noted_at
        return cls(
            opened=sums["opened"],
            closed=sums["closed"],
            by_state=_named(sums, _STATE),
            by_code=_named(sums, _CODE),
            trouble=trouble,
            trouble_at=trouble_at,
            ended_at=max((int(counts.get("ended_at", 0)) for counts in hashes), default=0),
        )


def _named(sums: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in sums.items() if name.startswith(prefix) and count > 0}


def options_text(options: BatchOptions) -> str:
    """As the hash holds them: what is as usual is left out, so that a release may add one.

    Raises:
        InvalidRequestError: names what cannot be.
    """
    if faults := _faults_of(options):
        raise InvalidRequestError(faults)
    usual = BatchOptions()
    given = {name: value for name, value in dataclasses.asdict(options).items() if value != getattr(usual, name)}
    return json.dumps(given, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _faults_of(options: BatchOptions) -> list[FieldFault]:
    faults = []
    if options.per_second < 0:
        faults.append(
            FieldFault("per_second", str(options.per_second), "must not be negative; 0 is as the pace allows")
        )
    if options.window < 1:
        faults.append(FieldFault("window", str(options.window), "must be at least 1"))
    if bool(options.not_before) != bool(options.not_after):
        missing = "not_after" if options.not_before else "not_before"
        faults.append(FieldFault(missing, "", "is required with the other end of the hours"))
    for name in ("not_before", "not_after"):
        try:
            parse_hour(getattr(options, name) or "00:00")
        except ValueError as wrong:
            faults.append(FieldFault(name, getattr(options, name), str(wrong)))
    return faults


def options_of(text: str) -> BatchOptions:
    """Read them back."""
    known = {one.name for one in fields(BatchOptions)}
    return BatchOptions(**{name: value for name, value in json.loads(text).items() if name in known})


def batch_from(batch_id: str, record: Mapping[str, str], counts: BatchCounts) -> Batch:
    """The batch as it can be seen.

    Raises:
        NewerFormatError: only a newer release can tell what it is.
    """
    BATCH.check(int(record.get("v", 1)))
    rows, round_ = int(record.get("rows", 0)), int(record.get("round", 0))
    # A batch is retried when all its rows had been begun.
    begun = rows if round_ else min(counts.opened + counts.by_state.get("refused", 0), rows)
    return Batch(
        batch_id=batch_id,
        name=record.get("name", ""),
        state=BatchState(record["state"]),
        options=options_of(record["options"]),
        rows=rows,
        begun=begun,
        alive=counts.alive,
        by_state=counts.by_state,
        by_code=counts.by_code,
        reason=_reason(record.get("reason", ""), record.get("paused_by", "")),
        created_at=int(record.get("created_at", 0)),
        began_at=int(record.get("began_at", 0)),
        finished_at=int(record.get("finished_at", 0)),
    )


def _reason(reason: str, by: str) -> str:
    told = f"by {by}" if by else ""
    return f"{reason} ({told})" if reason and told else reason or told


def packed(rows: Sequence[str]) -> tuple[bytes, bytes]:
    """The digest of a chunk's rows, and the rows, packed: how they are packed may differ between machines."""
    text = "\n".join(rows).encode()
    return hashlib.blake2s(text, digest_size=DIGEST_BYTES).digest(), zlib.compress(text, _PACKING)


def unpacked(content: bytes) -> list[str]:
    """The rows that were packed."""
    return zlib.decompress(content).decode().split("\n")
