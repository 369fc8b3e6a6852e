"""Files jobs in the ledger and publishes their ids. What is filed is accepted, whether or not the broker answers."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.domain.any_request import AnyRequest
from worker.domain.callback_secret import check_secret_name
from worker.domain.callback_url import check_callback_url
from worker.domain.durability import Durability
from worker.domain.job import JobKind, JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.errors import DurabilityUnconfirmedError, FieldFault, IdempotencyConflictError, InvalidRequestError
from worker.intake.acceptance import Acceptance
from worker.intake.naming import NamedBindings
from worker.ledger.bindings import BindingLedger
from worker.ledger.durable import DurableOpening
from worker.ledger.ledger import Ledger
from worker.ledger.records import NewJob
from worker.logs import get_log
from worker.publisher import Announcer
from worker.steps import reached

_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class Submitted:
    """One of many requests, filed.

    Attributes:
        is_new: False where the same request had been filed before.
        conflict: set where its idempotency key stands for another request: then this one was not filed.
    """

    job_id: str
    is_new: bool
    conflict: IdempotencyConflictError | None = None


class SecretNames(Protocol):
    """Who knows the callback secrets: `worker.ledger.callback_secrets`."""

    async def unknown_names(self, names: Iterable[str]) -> frozenset[str]:
        """Those that have no key."""


class Intake:
    """The producers' door."""

    def __init__(
        self,
        acceptance: Acceptance,
        ledger: Ledger,
        durable: DurableOpening,
        announcer: Announcer,
        secrets: SecretNames,
        *,
        bindings: BindingLedger,
    ) -> None:
        self.acceptance = acceptance
        self._secrets = secrets
        self.named_bindings = NamedBindings(ledger, bindings)
        self._ledger = ledger
        self._durable = durable
        self._announcer = announcer

    async def submit(self, request: AnyRequest, durability: Durability = Durability.ACCEPTED) -> str:
        """File one request and publish its id.

        Returns:
            The job's id. The job is stored, as durably as asked, when this returns.

        Raises:
            InvalidRequestError: it breaks a rule; nothing was stored.
            IdempotencyConflictError: its key stands for another request.
            DurabilityUnavailableError: the server cannot give that durability; nothing was stored.
            DurabilityUnconfirmedError: the job is stored and published; its durability was not confirmed in time.
            LedgerUnavailableError: Redis did not answer.
        """
        job = self.acceptance.job_of(
            request,
            found=await self.named_bindings.by([request]),
            unknown_secrets=await self._unknown_secrets_of([request]),
        )
        await self._durable.check(durability)
        reached("producer.accepting", job.job_id)
        filed_at_ms, shortfall = await self._open(job, durability)
        if filed_at_ms:
            _log_accepted(job)
            reached("producer.filed", job.job_id)
            await self._announcer.publish(job.lane, [job.job_id], filed_at_ms)
            reached("producer.published", job.job_id)
        if shortfall:
            raise DurabilityUnconfirmedError(durability.value, [job.job_id], shortfall)
        return job.job_id

    async def submit_many(
        self, requests: Sequence[AnyRequest], durability: Durability = Durability.ACCEPTED
    ) -> list[Submitted]:
        """File many requests in one pipeline and publish their ids, at most 100 a message.

        Raises:
            InvalidRequestError: one breaks a rule; faults are named `[index].field`; nothing was stored.
            DurabilityUnavailableError: the server cannot give that durability; nothing was stored.
            DurabilityUnconfirmedError: all are stored and published but those in conflict; their durability was not
                confirmed in time.
            LedgerUnavailableError: Redis did not answer; with idempotency keys it is safe to submit all again.
        """
        makings = await self._all_checked(requests)
        await self._durable.check(durability)
        reached("producer.accepting")
        jobs, answers, shortfall = await self._open_many(makings, durability)
        reached("producer.filed")
        new: dict[Lane, list[str]] = defaultdict(list)
        filed_at_ms = 0
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, int) and answer:
                new[job.lane].append(job.job_id)
                _log_accepted(job)
                filed_at_ms = max(filed_at_ms, answer)
        for lane, ids in new.items():
            await self._announcer.publish(lane, ids, filed_at_ms)
        reached("producer.published")
        many = [_submitted(job, answer) for job, answer in zip(jobs, answers, strict=True)]
        filed = [one.job_id for one in many if not one.conflict]
        if shortfall and filed:
            raise DurabilityUnconfirmedError(durability.value, filed, shortfall)
        return many

    async def _open(self, job: NewJob, durability: Durability) -> tuple[int, str]:
        if durability is Durability.ACCEPTED:
            return await self._ledger.open(job), ""
        (answer,), shortfall = await self._durable.open_many([job], durability)
        if isinstance(answer, IdempotencyConflictError):
            raise answer
        return answer, shortfall

    async def _open_many(
        self, makings: Sequence[Callable[[], NewJob]], durability: Durability
    ) -> tuple[list[NewJob], list[int | IdempotencyConflictError], str]:
        jobs: list[NewJob] = []

        def made() -> Iterator[NewJob]:
            for make in makings:
                jobs.append(make())
                yield jobs[-1]

        if durability is Durability.ACCEPTED:
            return jobs, await self._ledger.open_many(made()), ""
        return jobs, *await self._durable.open_many(list(made()), durability)

    async def _all_checked(self, requests: Sequence[AnyRequest]) -> list[Callable[[], NewJob]]:
        found = await self.named_bindings.by(requests)
        unknown_secrets = await self._unknown_secrets_of(requests)
        makings, faults = [], []
        for index, request in enumerate(requests):
            try:
                makings.append(self.acceptance.check_for_job(request, found=found, unknown_secrets=unknown_secrets))
            except InvalidRequestError as invalid:
                faults += [FieldFault(f"[{index}].{fault.field}", fault.value, fault.rule) for fault in invalid.faults]
        if faults:
            raise InvalidRequestError(faults)
        return makings

    async def _unknown_secrets_of(self, requests: Sequence[AnyRequest]) -> frozenset[str]:
        names = {request.callback_secret_name for request in requests if request.callback_secret_name}
        return await self._secrets.unknown_names(names) if names else frozenset()

    async def file_message(
        self, given: object, *, task_id: str, kind: JobKind = JobKind.BIND
    ) -> tuple[Lane, str] | None:
        """File a request of this kind that came as a Celery message, the task's id being its idempotency key.

        A request that breaks a rule is filed too, with its refusal, so that its sender finds out.

        Returns:
            Lane and id of the job, or None where the id stands for another request.
        """
        job = await self._job_of_message(given, task_id, kind)
        try:
            if await self._ledger.open(job):
                _log_accepted(job)
        except IdempotencyConflictError as conflict:
            _log.warning("message refused", task_id=task_id, kind=kind.value, message=str(conflict))
            return None
        return job.lane, job.job_id

    async def _job_of_message(self, given: object, task_id: str, kind: JobKind) -> NewJob:
        try:
            request = self.acceptance.parse(given, kind)
            return self.acceptance.job_of(
                request,
                key=task_id,
                found=await self.named_bindings.by([request], task_id),
                unknown_secrets=await self._unknown_secrets_of([request]),
            )
        except InvalidRequestError as invalid:
            return NewJob(
                job_id=job_id_for_key(task_id),
                lane=Lane.CHECKOUT,
                parameters={},
                digest=hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()[:32],
                seed="",
                callback_url=self._usable_callback_url(given),
                callback_secret_name=await self._usable_secret_name(given),
                refusal=str(invalid),
                kind=kind,
            )

    def _usable_callback_url(self, given: object) -> str:
        url = given.get("callback_url") if isinstance(given, Mapping) else None
        try:
            is_usable = isinstance(url, str) and not self.acceptance.rules.receivers.fault_of(check_callback_url(url))
        except ValueError:
            return ""
        return str(url) if is_usable else ""

    async def _usable_secret_name(self, given: object) -> str:
        """A refused request's callback, too, is signed with the secret it names, if there is one."""
        name = given.get("callback_secret_name") if isinstance(given, Mapping) else None
        try:
            is_known = isinstance(name, str) and not await self._secrets.unknown_names([check_secret_name(name)])
        except ValueError:
            return ""
        return str(name) if is_known else ""


def _log_accepted(job: NewJob) -> None:
    _log.debug(
        "job accepted", job_id=job.job_id, lane=job.lane.value, kind=job.kind.value, state=JobState.ACCEPTED.value
    )


def _submitted(job: NewJob, answer: int | IdempotencyConflictError) -> Submitted:
    if isinstance(answer, IdempotencyConflictError):
        return Submitted(job.job_id, is_new=False, conflict=answer)
    return Submitted(job.job_id, is_new=bool(answer))
