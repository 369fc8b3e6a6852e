"""What can go wrong, as a tree. The lowest layer: it imports nothing of ours.

    AxnError
        InvalidRequestError      a bind request breaks a rule; nothing was stored
        IdempotencyConflictError the key is known, with another payload
        LedgerUnavailableError   Redis did not take the job; nothing is promised
            SealError            numbers in the ledger are sealed by a key that this process does not have
        DurabilityUnavailableError   the server cannot give the durability asked for; nothing was stored
        DurabilityUnconfirmedError   the job is stored, but its durability was not confirmed in time
        JobNotFoundError         no such job, or its record has expired
        CallbackNotFoundError    no such callback, or it is no longer on record
        ReceiverDisabledError    nothing is sent to this receiver until it is enabled
        UnknownSecretError       no secret of this name, and no host with keys of its own
        BatchInputError          a batch's file cannot be read, or not to its end
        BatchOutputError         a file that a batch writes cannot be written
        BadRowsError             rows of a batch break rules; nothing is begun
        BatchConflictError       a batch has other rows or options, or is in a state that forbids it
        BatchNotFoundError       no such batch, or it was removed
        WaitTimeoutError         the job is not finished yet; it goes on all the same
        SettingsError            a variable is missing or wrong

What an *attempt* can come to is not an error: see `worker.domain.outcome`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class AxnError(Exception):
    """Base of every error a caller of this package is meant to catch."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One broken rule.

    Attributes:
        field: the field's name in snake_case, as the caller may write it.
        value: what was given, numbers masked.
        rule: what would have been right.
    """

    field: str
    value: str
    rule: str

    def __str__(self) -> str:
        return f"{self.field}: {self.rule} (given: {self.value})" if self.value else f"{self.field}: {self.rule}"


class InvalidRequestError(AxnError):
    """A bind request breaks rules. `faults` names all of them at once; numbers are masked."""

    def __init__(self, faults: Sequence[FieldFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults))


class IdempotencyConflictError(AxnError):
    """This idempotency key already stands for a job with another payload."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(
            f"idempotency_key: already used with a different request, as job {job_id}; "
            "send the same request again, or choose a new key",
        )


class LedgerUnavailableError(AxnError):
    """Redis could not be asked. Whether the job was stored is unknown; the same idempotency key makes a retry safe."""


class SealError(LedgerUnavailableError):
    """Numbers in the ledger cannot be read with the keys of AXN_ENCRYPTION__KEYS; what needs them waits."""


class DurabilityUnavailableError(AxnError):
    """The ledger's Redis lacks what this durability takes. Nothing was stored."""

    def __init__(self, durability: str, lack: str) -> None:
        self.durability = durability
        super().__init__(f"durability {durability}: {lack}; nothing was filed")


class DurabilityUnconfirmedError(AxnError):
    """The jobs are filed and go on, but whether they are as durable as asked is not known.

    Submitting the same requests with the same idempotency keys asks again.

    Attributes:
        job_ids: of all jobs that this call filed or found filed, in the requests' order.
        job_id: the first of them.
    """

    def __init__(self, durability: str, job_ids: Sequence[str], shortfall: str) -> None:
        self.durability = durability
        self.job_ids = tuple(job_ids)
        self.job_id = self.job_ids[0]
        count = len(self.job_ids)
        what = f"job {self.job_id} is" if count == 1 else f"{count} jobs (the first: {self.job_id}) are"
        super().__init__(
            f"durability {durability} not confirmed: {shortfall}; {what} filed all the same, "
            "submit again with the same idempotency key to ask again"
        )


class JobNotFoundError(AxnError):
    """No job of this id is in the ledger: mistyped, or finished longer ago than AXN_RESULT_TTL."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no job {job_id} in the ledger (mistyped, or finished longer ago than AXN_RESULT_TTL)")


class CallbackNotFoundError(AxnError):
    """No callback of this id is on record; the message says what its job tells."""


class ReceiverDisabledError(AxnError):
    """Nothing is sent to this receiver: it answered 410, or a person disabled it."""

    def __init__(self, host: str, disabled_by: str) -> None:
        self.host = host
        super().__init__(f"receiver {host} is disabled (by {disabled_by}); run `axn callbacks enable {host}` first")


class UnknownSecretError(AxnError):
    """Nothing signs under this name."""

    def __init__(self) -> None:
        super().__init__("neither a named secret nor a host with keys of its own; see `axn callbacks secrets`")


class BatchInputError(AxnError):
    """A batch's file cannot be read, or not to its end; the message names the line and the fix, numbers masked."""


class BatchOutputError(AxnError):
    """A file that a batch writes cannot be written; what it had of it is gone."""


class BadRowsError(AxnError):
    """Rows of a batch break rules; nothing of it is begun.

    Attributes:
        count: of all bad rows.
        faults: of the first of them, numbers masked; fields are named `[index].field`, the first row being 0.
    """

    def __init__(self, count: int, faults: Sequence[FieldFault]) -> None:
        self.count = count
        self.faults = tuple(faults)
        rows = {fault.field.partition(".")[0] for fault in faults}
        more = f"; and {count - len(rows)} more" if count > len(rows) else ""
        super().__init__(f"{count} bad rows, nothing is begun: {'; '.join(map(str, faults))}{more}")


class BatchConflictError(AxnError):
    """This cannot be done to the batch: it has other rows or options, or is in a state that forbids it."""


class BatchNotFoundError(AxnError):
    """No batch of this id or name is in the ledger."""

    def __init__(self, batch: str) -> None:
        super().__init__(f"no batch {batch} in the ledger (mistyped or removed); `axn batch list` lists all")


class WaitTimeoutError(AxnError):
    """The job did not end in the time given. It goes on; ask again with the same id."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id} is not finished after {timeout_s:g} s; it goes on, ask again with the same id")


class SettingsError(AxnError):
    """A setting is missing or wrong; the message names the variable and the fix."""
