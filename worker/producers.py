"""The order system's face: submit a request, submit many, wait for a job's end, read a job.

The plain functions block their thread; the `_async` twins are for coroutines. Both use one background loop and one
set of connections per process, made at the first call from the AXN_ settings, and made anew after a fork.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from worker import producer_process
from worker.bootstrap import ProducerServices, build_pinger
from worker.bootstrap_callbacks import callback_keys
from worker.callback_desk import (
    CallbackDesk,
    CallbackFilter,
    Enabled,
    Moment,
    ReplayReport,
    ReplayRules,
    TellReplays,
)
from worker.callbacks.pinging import Ping
from worker.callbacks.receivers import receiver_of
from worker.callbacks.rotation import Rotation
from worker.callbacks.signature import SigningKey
from worker.domain.any_request import AnyRequest
from worker.domain.callback_secret import SecretOwner
from worker.domain.durability import Durability, parse_durability
from worker.domain.job import Job, JobKind, Lane
from worker.errors import SettingsError, UnknownSecretError
from worker.intake.intake import Submitted
from worker.ledger import listing
from worker.ledger.audit import AuditLine
from worker.ledger.bindings import BindingLedger
from worker.ledger.callback_secrets import StoredSecret
from worker.ledger.callback_views import Callback
from worker.ledger.index_walk import Tell
from worker.ledger.receiver_switch import Disabled
from worker.pace.desk import PaceDesk
from worker.pace.state import AccountState
from worker.producer_process import asked as _asking
from worker.producer_process import process as _producer
from worker.producer_process import run as _run
from worker.producer_process import run_async as _run_async

T = TypeVar("T")


def submit(request: AnyRequest, durability: Durability | str | None = None) -> str:
    """File one request: a bind, an update or an unbind. Its job is stored when this returns.

    Args:
        request: what is asked for.
        durability: how firmly it must be stored: `accepted`, `fsynced` or `replicated`; None: AXN_DURABILITY.

    Returns:
        The job's id.

    Raises:
        InvalidRequestError: it breaks a rule; nothing was stored.
        IdempotencyConflictError: its key stands for another request.
        DurabilityUnavailableError: the server lacks what that durability takes; nothing was stored.
        DurabilityUnconfirmedError: its job is stored and goes on, but was not confirmed to be that durable in time.
        LedgerUnavailableError: Redis did not answer; submit again with the same idempotency key.
    """
    services = _producer.get().services
    return _run(services.intake.submit(request, _chosen(services, durability)))


async def submit_async(request: AnyRequest, durability: Durability | str | None = None) -> str:
    """`submit`, for coroutines."""
    services = _producer.get().services
    return await _run_async(services.intake.submit(request, _chosen(services, durability)))


def submit_many(requests: Iterable[AnyRequest], durability: Durability | str | None = None) -> list[Submitted]:
    """File many requests, of any kinds, in one go, in the order given.

    Args:
        requests: what is asked for.
        durability: as for `submit`; all of them are waited for together.

    Raises:
        InvalidRequestError: one breaks a rule; nothing was stored.
        DurabilityUnavailableError: the server lacks what that durability takes; nothing was stored.
        DurabilityUnconfirmedError: all are stored and go on, except those in conflict, but were not confirmed in time.
        LedgerUnavailableError: Redis did not answer; submit all again with the same idempotency keys.
    """
    services = _producer.get().services
    return _run(services.intake.submit_many(list(requests), _chosen(services, durability)))


async def submit_many_async(
    requests: Iterable[AnyRequest], durability: Durability | str | None = None
) -> list[Submitted]:
    """`submit_many`, for coroutines."""
    services = _producer.get().services
    return await _run_async(services.intake.submit_many(list(requests), _chosen(services, durability)))


def _chosen(services: ProducerServices, durability: Durability | str | None) -> Durability:
    return services.settings.durability if durability is None else parse_durability(durability)


def wait(job_id: str, timeout: float) -> Job:
    """The job, once it has ended: bound, updated, unbound, failed, expired, cancelled or in doubt.

    Args:
        job_id: as `submit` returned it.
        timeout: seconds.

    Raises:
        WaitTimeoutError: it has not ended yet; it goes on.
        JobNotFoundError: there is none of this id.
    """
    return _run(_producer.get().services.endings.wait(job_id, timeout))


async def wait_async(job_id: str, timeout: float) -> Job:  # noqa: ASYNC109 - the twin of wait
    """`wait`, for coroutines."""
    return await _run_async(_producer.get().services.endings.wait(job_id, timeout))


def read(job_id: str) -> Job:
    """The job as it stands.

    Raises:
        JobNotFoundError: there is none of this id.
    """
    return _run(_producer.get().services.ledger.read(job_id))


async def read_async(job_id: str) -> Job:
    """`read`, for coroutines."""
    return await _run_async(_producer.get().services.ledger.read(job_id))


def resolve_bound(job_id: str, *, phone_no_x: str, subs_id: str, by: str) -> Job:
    """See `worker.attempt.resolution.Resolutions.bound_as`."""
    services = _producer.get().services
    return _run(_asking(services, services.resolutions.bound_as(job_id, phone_no_x=phone_no_x, subs_id=subs_id, by=by)))


def resolve_not_bound(job_id: str, *, by: str) -> Job:
    """See `Resolutions.not_bound`."""
    services = _producer.get().services
    return _run(_asking(services, services.resolutions.not_bound(job_id, by=by)))


def resolve_rebind(job_id: str, *, is_surely_not_bound: bool, by: str) -> Job:
    """See `Resolutions.rebind`."""
    services = _producer.get().services
    rebinding = services.resolutions.rebind(job_id, is_surely_not_bound=is_surely_not_bound, by=by)
    return _run(_asking(services, rebinding))


def audit(limit: int) -> list[AuditLine]:
    """What people did to jobs, newest first."""
    services = _producer.get().services
    return _run(_asking(services, services.resolutions.audit.newest(limit)))


def rotate_callback_secret(
    owner: SecretOwner, *, grace_ms: int, given: SigningKey | None = None, is_ed25519: bool = False
) -> Rotation:
    """See `worker.callbacks.rotation.Rotations.rotate`.

    Raises:
        LedgerUnavailableError: says what is wrong with Redis; the key may be live or not.
    """
    services = _producer.get().services
    rotating = services.rotations.rotate(owner, grace_ms=grace_ms, given=given, is_ed25519=is_ed25519)
    return _run(_asking(services, rotating))


def callback_secrets() -> tuple[list[StoredSecret], tuple[SigningKey, ...]]:
    """All keys of hosts and names, and those of AXN_CALLBACK_SECRET as this process reads it."""
    services = _producer.get().services
    stored = _run(_asking(services, services.rotations.secrets.read_all()))
    return stored, callback_keys(services.settings)


def list_jobs(wanted: listing.JobFilter, limit: int, tell: Tell) -> list[Job]:
    """Many jobs: see `worker.ledger.listing.list_jobs`."""
    services = _producer.get().services
    return _run(listing.list_jobs(services.redis, wanted, limit, tell, services.seal))


def ask_bindings(work: Callable[[BindingLedger], Coroutine[Any, Any, T]]) -> T:
    """Do something with the bindings on record. Raises LedgerUnavailableError."""
    return _run(_asking(_producer.get().services, work(_producer.get().services.bindings)))


def pace_state(actions: Sequence[str] = ()) -> AccountState:
    """How the calls of the settings' account go: see `worker.pace.desk.PaceDesk.read`.

    Raises:
        SettingsError: no setting names the account.
        PaceOrderError: an action is unknown.
        LedgerUnavailableError: Redis did not answer.
    """
    return _at_the_desk(lambda desk: desk.read(actions))


def set_pace(action: str, per_second: float | None, *, by: str) -> None:
    """See `PaceDesk.set_per_second`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.set_per_second(action, per_second, by=by))


def pause_pace(lanes: Sequence[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
    """See `PaceDesk.pause`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.pause(lanes, actions, by=by))


def resume_pace(lanes: Sequence[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
    """See `PaceDesk.resume`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.resume(lanes, actions, by=by))


def _at_the_desk(work: Callable[[PaceDesk], Coroutine[Any, Any, T]]) -> T:
    services = _producer.get().services
    settings = services.settings
    if settings.credentials == "static" and not settings.access_key_id:
        raise SettingsError(
            "AXN_ACCESS_KEY_ID (or ALIBABA_CLOUD_ACCESS_KEY_ID): must be the workers' key id, "
            "the pace is kept for its account"
        )
    return _run(_asking(services, work(services.pace_desk)))


def _at_callback_desk(work: Callable[[CallbackDesk], Coroutine[Any, Any, T]]) -> T:
    services = _producer.get().services
    return _run(_asking(services, work(CallbackDesk(services.redis, services.seal))))


def find_callbacks(wanted: CallbackFilter, limit: int, tell: Tell = lambda _looked_at: None) -> list[Callback]:
    """Many callbacks: see `worker.callback_desk.CallbackDesk.find`."""
    return _at_callback_desk(lambda desk: desk.find(wanted, limit, tell))


def read_callback(id_: str) -> Callback:
    """See `CallbackDesk.read`."""
    return _at_callback_desk(lambda desk: desk.read(id_))


def replay_callbacks(ids: Sequence[str], rules: ReplayRules, tell: TellReplays = lambda _replays: None) -> ReplayReport:
    """Bring callbacks back that were given up: see `CallbackDesk.replay`."""
    return _at_callback_desk(lambda desk: desk.replay(ids, rules, tell))


def replay_receiver(
    host: str,
    rules: ReplayRules,
    tell: TellReplays = lambda _replays: None,
    *,
    since: Moment,
    until: Moment | None = None,
    tell_looked_at: Tell = lambda _looked_at: None,
) -> ReplayReport:
    """Bring back what a receiver was given up on: see `CallbackDesk.replay_receiver`."""
    return _at_callback_desk(
        lambda desk: desk.replay_receiver(host, rules, tell, since=since, until=until, tell_looked_at=tell_looked_at)
    )


def disable_receiver(host: str, *, by: str) -> Disabled:
    """See `CallbackDesk.disable`."""
    return _at_callback_desk(lambda desk: desk.disable(host, by))


def enable_receiver(host: str, *, by: str, tell: Tell = lambda _looked_at: None) -> Enabled:
    """See `CallbackDesk.enable`."""
    return _at_callback_desk(lambda desk: desk.enable(host, by, tell))


def ping_receiver(url: str, secret_of: str = "") -> Ping:
    """Send one signed event of type `ping`: see `worker.callbacks.pinging`.

    Args:
        url: of the receiver.
        secret_of: a named secret, or a host with keys of its own, that signs; empty: whatever signs its callbacks.

    Raises:
        UnknownSecretError: there is no such secret.
        SettingsError: AXN_CALLBACK_SECRET is malformed.
    """
    return _run(_asking(_producer.get().services, _ping(url, secret_of)))


async def _ping(url: str, secret_of: str) -> Ping:
    services = _producer.get().services
    pinger = build_pinger(services, await _owner_of(services, secret_of) if secret_of else None)
    try:
        return await pinger.ping(url)
    finally:
        await pinger.aclose()


async def _owner_of(services: ProducerServices, text: str) -> SecretOwner:
    for owner in (SecretOwner(text, is_host=False), SecretOwner(receiver_of(f"https://{text}/"), is_host=True)):
        if (await services.rotations.secrets.read(owner)).version:
            return owner
    raise UnknownSecretError


def check_mapping(given: object, kind: JobKind = JobKind.BIND) -> AnyRequest:
    """A request of this kind that arrived as data, checked in full.

    Raises:
        InvalidRequestError: names every fault at once.
    """
    return _producer.get().services.intake.acceptance.parse(given, kind)


def close() -> None:
    """End this process's connections. The next call makes new ones."""
    producer_process.close()
