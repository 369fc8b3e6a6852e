"""A job as the ledger keeps it: its states, its lanes, its record."""

from dataclasses import dataclass
from enum import StrEnum


class JobKind(StrEnum):
    """What was asked for."""

    BIND = "bind"
    """A number X for A."""
    UPDATE = "update"
    """One aspect of a binding set anew."""
    UNBIND = "unbind"
    """The end of a binding."""
    REBIND = "rebind"
    """A binding made anew: the new one bound, the old one ended."""


class JobState(StrEnum):
    """Where a job stands: accepted -> submitting -> an end, or waiting between attempts.

    The ends of a bind job: bound, failed, in_doubt, expired, cancelled. An update ends as updated, an unbind as
    unbound, instead of bound, and neither is ever in doubt: both may simply be repeated. A rebind ends as a bind does,
    or as old_left_bound.
    """

    ACCEPTED = "accepted"
    """Stored; nobody has worked on it yet."""
    SUBMITTING = "submitting"
    """A worker holds its lease and may be talking to the provider."""
    WAITING = "waiting"
    """Between attempts; `code` says why, `next_at` says until when."""
    BOUND = "bound"
    """The provider confirmed the binding: X and SubsId are in the record."""
    OLD_LEFT_BOUND = "old_left_bound"
    """Of a rebind: the new X is bound, and the old binding could not be ended, or nobody can tell."""
    UPDATED = "updated"
    """The provider confirmed the update."""
    UNBOUND = "unbound"
    """The binding is gone: the provider ended it now, or had ended it before."""
    FAILED = "failed"
    """It will not be done; `code` and `message` say why."""
    IN_DOUBT = "in_doubt"
    """The provider may have bound and no answer tells. Held for a person."""
    EXPIRED = "expired"
    """Its deadline passed before it could be submitted."""
    CANCELLED = "cancelled"
    """Withdrawn before it was submitted."""

    @property
    def is_end(self) -> bool:
        """Whether no worker will move it any more. A job in doubt is such an end until a person resolves it."""
        return self not in (JobState.ACCEPTED, JobState.SUBMITTING, JobState.WAITING)

    @property
    def is_success(self) -> bool:
        """Whether what was asked for is done."""
        return self in (JobState.BOUND, JobState.UPDATED, JobState.UNBOUND)

    @property
    def is_bound(self) -> bool:
        """Whether the job made a binding: its record is that binding's record, too."""
        return self in (JobState.BOUND, JobState.OLD_LEFT_BOUND)


class Lane(StrEnum):
    """A Celery queue and a priority in the pace."""

    CHECKOUT = "checkout"
    """A person is waiting."""
    BATCH = "batch"
    """Rows of a file, over hours."""
    RENEWAL = "renewal"
    """Bindings that must not expire."""
    CALLBACK = "callback"
    """Callbacks that are due again."""

    @property
    def queue(self) -> str:
        """The Celery queue's name."""
        return f"axn.{self.value}"


class OnDoubt(StrEnum):
    """What to do when nobody can tell whether the provider has bound."""

    HOLD = "hold"
    """Stop and tell; a person decides."""
    REBIND = "rebind"
    """Bind anew and report the possible orphan."""


class DoubtProbe(StrEnum):
    """What may be sent to find out what an attempt of unknown outcome has done."""

    NONCE = "nonce"
    """The same nonce again; then, with a chosen X, a look-up."""
    LOOKUP = "lookup"
    """With a chosen X a look-up, nothing else."""
    OFF = "off"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A binding that was made for a job, found when the job had already come to another end.

    Attributes:
        unbind_job_id: the job that ends it, where the request said `rebind`; else empty.
    """

    phone_no_x: str
    subs_id: str
    unbind_job_id: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """A job's record as its producer may read it.

    Times are Unix milliseconds by Redis's clock, 0 where the thing has not happened.

    Attributes:
        possible_orphans: bindings that may have been made for it and lost sight of.
        orphans: those of them that were found.
        resolved_by: the person who ended its doubt.
        step: of a rebind: where it stands, or ended.
        old_phone_no_x, old_subs_id: of a rebind: the binding that it replaces.
    """

    job_id: str
    state: JobState
    lane: Lane
    kind: JobKind = JobKind.BIND
    phone_no_x: str = ""
    subs_id: str = ""
    request_id: str = ""
    code: str = ""
    message: str = ""
    attempts: int = 0
    accepted_at: int = 0
    finished_at: int = 0
    next_at: int = 0
    deadline_at: int = 0
    expiration: str = ""
    out_id: str = ""
    out_order_id: str = ""
    possible_orphans: int = 0
    callback_state: str = ""
    callback_attempts: int = 0
    orphans: tuple[Orphan, ...] = ()
    resolved_by: str = ""
    step: str = ""
    old_phone_no_x: str = ""
    old_subs_id: str = ""

    @property
    def is_bound(self) -> bool:
        """Whether it has its X."""
        return self.state.is_bound
