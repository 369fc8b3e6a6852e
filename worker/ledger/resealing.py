"""Rotation: all that is stored under older keys, or plain, is written anew under the first key of the ring.

Beside running workers: each record is read, and written by a script that compares it with what was read, so that no
change of a worker's is undone. Broken off at any point it is simply begun again: what is done is left alone.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from redis.asyncio import Redis
from redis.client import NEVER_DECODE

from worker.domain.batch import row_job_id
from worker.errors import SealError
from worker.ledger.batch_records import CHUNK_PLACE, DIGEST_BYTES, packed, unpacked
from worker.ledger.batch_rows import WrittenOutcome, outcomes_key
from worker.ledger.batches import KeyedRow
from worker.ledger.index_walk import Tell
from worker.ledger.keys import ALL_PARTITIONS, binding_index_key
from worker.ledger.record_walk import RecordKind, RecordPlace, walk_records
from worker.ledger.registration import digest_of_text
from worker.ledger.seal import DIGEST_MARK, MARK, Seal, index_in, key_id_of
from worker.ledger.sealed_records import is_sealed_field, plain_numbers, resealed_value, sealed_texts
from worker.redis_scripts import load_script

PLAIN = ""
"""Instead of a key's id: numbers that are not sealed."""
_RECORDS_PER_STEP = 100
"""Scripts of one pipeline keep Redis busy for about 2 ms."""
_MOST_PASSES = 5


@dataclass
class SealReport:
    """What a walk found and did; true also when it is cut short.

    Attributes:
        looked_at: records so far, in all passes.
        resealed: records that were written anew.
        by_key: how many records held texts under each key, or `PLAIN` ones, in the last pass, as it left them.
        unreadable: records that no key of the ring opens, in the last pass.
        overtaken: records that a worker changed in the very moment, in the last pass: looked at again in the next.
        is_whole: the last pass came to its end.
    """

    looked_at: int = 0
    resealed: int = 0
    by_key: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    overtaken: int = 0
    is_whole: bool = False
    stopped_by: str = ""

    def begin_pass(self) -> None:
        """Count anew what only the last pass tells."""
        self.by_key, self.unreadable, self.overtaken, self.is_whole = Counter(), 0, 0, False

    def is_all_under(self, key_id: str) -> bool:
        """Whether nothing that was looked at is plain, or under another key."""
        is_clean = not (self.unreadable or self.overtaken)
        return self.is_whole and is_clean and not any(count for key, count in self.by_key.items() if key != key_id)


@dataclass(frozen=True, slots=True)
class _Change:
    """A record's fields: name, what was read, what is to be written."""

    key: str
    id: str
    fields: Sequence[tuple[str, str, str]]

    @property
    def moved(self) -> tuple[str, str, str]:
        """The binding whose X is called otherwise in the index, and the digests of that."""
        for name, was, now in self.fields:
            if name == "phone_no_x" and was and index_in(was) != index_in(now):
                old, new = (digest_of_text(f"phone_no_x:{index_in(text)}") for text in (was, now))
                return self.id, old, new
        return "", "", ""


class Resealing:
    """Counts, and rewrites.

    Args:
        redis: a client that decodes replies to text.
        seal: whose first key writes.
        row_of: reads a batch's row from its text.
    """

    def __init__(self, redis: Redis, seal: Seal, row_of: Callable[[str], KeyedRow]) -> None:
        self._redis: Any = redis
        self._seal = seal
        self._row_of = row_of
        self._write = load_script(redis, "worker.ledger", "reseal")
        self._write_chunk = load_script(redis, "worker.ledger", "reseal_chunk")

    async def count(self, report: SealReport, tell: Tell) -> None:
        """Only look how many records there are under each key.

        Args:
            report: notes it all along.
            tell: called with the number of records looked at so far.
        """
        await self._pass(report, tell, is_writing=False)

    async def rotate(self, report: SealReport, tell: Tell) -> None:
        """Write anew what is not under the first key, pass by pass, until a pass finds nothing more; as `count`."""
        for _ in range(_MOST_PASSES):
            before = report.resealed
            await self._pass(report, tell, is_writing=True)
            if report.resealed == before and not report.overtaken:
                return

    async def _pass(self, report: SealReport, tell: Tell, *, is_writing: bool) -> None:
        report.begin_pass()
        async with aclosing(walk_records(self._redis, _RECORDS_PER_STEP)) as pages:
            async for page in pages:
                chunks = [place for place in page if place.kind is RecordKind.CHUNK]
                await self._hashes([place for place in page if place not in chunks], report, is_writing=is_writing)
                for place in chunks:
                    await self._chunk(place, report, is_writing=is_writing)
                report.looked_at += len(page)
                tell(report.looked_at)
        report.is_whole = True

    async def _hashes(self, places: Sequence[RecordPlace], report: SealReport, *, is_writing: bool) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for place in places:
            pipeline.hgetall(place.key)
        records = await pipeline.execute(raise_on_error=False)
        changes = []
        for place, record in zip(places, records, strict=True):
            if isinstance(record, dict):
                changes += self._change_of(place, record, report, is_writing=is_writing)
        await self._written(changes, report)

    def _change_of(
        self, place: RecordPlace, record: Mapping[str, str], report: SealReport, *, is_writing: bool
    ) -> list[_Change]:
        """What is to be written of a record; counts what it holds."""
        held = {name: value for name, value in record.items() if is_sealed_field(name)}
        keys = _keys_in(held)
        fields: list[tuple[str, str, str]] = []
        if is_writing and keys - {self._seal.writes_with}:
            try:
                anew = {name: resealed_value(self._seal, place.id, name, value) for name, value in held.items()}
            except SealError:
                report.unreadable += 1
                report.by_key.update(keys)
                return []
            fields = [(name, held[name], value) for name, value in anew.items() if value != held[name]]
        digest = record.get("digest", "")
        if is_writing and self._seal.is_on and digest and not digest.startswith(DIGEST_MARK):
            fields.append(("digest", digest, self._seal.digests(digest)[0]))
        if not fields:
            report.by_key.update(keys)
            return []
        return [_Change(place.key, place.id, fields)]

    async def _written(self, changes: Sequence[_Change], report: SealReport) -> None:
        if not changes:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for change in changes:
            parts = [part for triple in change.fields for part in triple]
            await self._write(
                [change.key, binding_index_key(_partition_in(change.key))], [*change.moved, *parts], client=pipeline
            )
        done = sum(map(int, await pipeline.execute()))
        report.resealed += done
        report.by_key[self._seal.writes_with] += done
        report.overtaken += len(changes) - done

    async def _chunk(self, place: RecordPlace, report: SealReport, *, is_writing: bool) -> None:
        content = await self._redis.execute_command("GET", place.key, **{NEVER_DECODE: []})
        if content is None:
            return
        where, sealed = f"{CHUNK_PLACE}{place.chunk}", content[DIGEST_BYTES:]
        key_id = sealed.split(b".", 2)[1].decode() if sealed.startswith(MARK.encode()) else PLAIN
        try:
            rows = self._seal.unpacked(place.id, where, sealed)
        except SealError:
            report.unreadable += 1
            report.by_key[key_id] += 1
            return
        if is_writing and key_id != self._seal.writes_with:
            digest = content[:DIGEST_BYTES]
            if not key_id:
                digest = self._seal.digests_of_rows(packed(unpacked(rows))[0])[0]
            anew = digest + self._seal.packed(place.id, where, rows)
            was = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            done = int(await self._write_chunk([place.key], [was, anew]))
            report.resealed += done
            report.overtaken += 1 - done
            report.by_key[self._seal.writes_with] += done
        else:
            report.by_key[key_id] += 1
        await self._outcomes(place, unpacked(rows), report, is_writing=is_writing)

    async def _outcomes(self, place: RecordPlace, rows: Sequence[str], report: SealReport, *, is_writing: bool) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        keys = [outcomes_key(partition, place.id, place.chunk) for partition in ALL_PARTITIONS]
        for key in keys:
            pipeline.hgetall(key)
        changes = []
        for key, outcomes in zip(keys, await pipeline.execute(), strict=True):
            fields = []
            for index, text in outcomes.items():
                outcome = WrittenOutcome.parse(text)
                held = {"phone_no_x": outcome.phone_no_x, "old_phone_no_x": outcome.old_phone_no_x}
                key_ids = _keys_in(held)
                if not (is_writing and key_ids - {self._seal.writes_with}):
                    report.by_key.update(key_ids)
                    continue
                job_id = row_job_id(place.id, self._row_of(rows[int(index)]).key, outcome.round_)
                try:
                    anew = {name: resealed_value(self._seal, job_id, name, text) for name, text in held.items()}
                except SealError:
                    report.unreadable += 1
                    report.by_key.update(key_ids)
                    continue
                renamed = replace(outcome, phone_no_x=anew["phone_no_x"], old_phone_no_x=anew["old_phone_no_x"])
                fields.append((index, text, str(renamed)))
            changes += [_Change(key, "", [one]) for one in fields]
        await self._written(changes, report)


def _keys_in(fields: Mapping[str, str]) -> set[str]:
    """The ids of the keys that these are under, `PLAIN` for numbers that are under none."""
    return {
        key_id
        for name, value in fields.items()
        for key_id in (*map(key_id_of, sealed_texts(name, value)), *([PLAIN] if plain_numbers(name, value) else ()))
    }


def _partition_in(key: str) -> int:
    return int(key.partition("{p")[2][:2])


def in_order(by_key: Mapping[str, int], ring: Iterable[str]) -> list[tuple[str, int, bool]]:
    """Key ids, counts, and whether the ring has them: the ring's in their order, then others, then plain ones."""
    known = list(ring)
    others = sorted(key_id for key_id in by_key if key_id and key_id not in known)
    return [(key_id, by_key.get(key_id, 0), key_id in known) for key_id in (*known, *others, PLAIN)]
