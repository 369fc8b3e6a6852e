"""The parts of batches, put together."""

from redis.asyncio import Redis

from worker.batches.desk import Ask, BatchStore
from worker.batches.feeding import Feeder
from worker.batches.retention import BatchRetention
from worker.batches.row_codec import RowCodec
from worker.batches.row_jobs import NamedBindings, RowJobs, SecretNames
from worker.batches.rows import Row
from worker.batches.starting import Starting
from worker.clock import Clock
from worker.domain.durations import duration_ms
from worker.intake.acceptance import Acceptance
from worker.ledger.batch_feed import FeedLedger
from worker.ledger.batches import BatchLedger
from worker.ledger.ledger import Ledger
from worker.ledger.seal import NO_SEAL, Seal
from worker.publisher import Announcer
from worker.settings import Settings

_LEASE_MS = 10_000


def build_batches(redis: Redis, seal: Seal = NO_SEAL) -> BatchLedger[Row]:
    """The batches of the ledger."""
    return BatchLedger(redis, RowCodec.row_of, seal)


def build_batch_retention(settings: Settings, redis: Redis, seal: Seal, clock: Clock) -> BatchRetention | None:
    """Removes batches in time; None where no setting says when."""
    keep = settings.retention.batch
    return None if keep is None else BatchRetention(build_batches(redis, seal), duration_ms(keep), clock)


def build_starting(store: BatchStore, ask: Ask, acceptance: Acceptance, secrets: SecretNames) -> Starting:
    """Starts batches, by the rules that single requests have.

    Args:
        store: keeps them.
        ask: asks it, from another thread.
        acceptance: what time and settings say of rows.
        secrets: that rows may name.
    """
    return Starting(store, ask, RowCodec.text_of, acceptance, secrets.unknown_names)


def build_feeder(
    redis: Redis,
    ledger: Ledger,
    acceptance: Acceptance,
    *,
    bindings: NamedBindings,
    secrets: SecretNames,
    announcer: Announcer,
    clock: Clock,
    give_up_ms: int,
    lease_ms: int = _LEASE_MS,
    seal: Seal = NO_SEAL,
) -> Feeder:
    """Feeds the batches that messages name; a process that does not consume the batch lane gets none.

    Args:
        redis: a client that decodes replies to text.
        ledger: files the jobs.
        acceptance: judges every row when its turn comes.
        bindings: that rows may name.
        secrets: that rows may name.
        announcer: tells the batch lane of the jobs.
        clock: of this process.
        give_up_ms: after which the callback of a batch's end is given up.
        lease_ms: after which a feeder that is not heard of is replaced.
        seal: of the numbers in Redis.
    """
    feed = FeedLedger(redis, ledger, lease_ms=lease_ms, give_up_ms=give_up_ms, seal=seal)
    return Feeder(feed, RowJobs(acceptance, bindings, secrets), announcer, clock)
