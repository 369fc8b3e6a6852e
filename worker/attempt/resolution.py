"""A person ends a doubt: bound after all, not bound, or bound anew. Each leaves a line in the audit."""

import dataclasses
import secrets
from dataclasses import dataclass
from typing import NoReturn, Protocol

from worker.attempt.announcing import owed_callback, owes_callback
from worker.attempt.decisions import bound
from worker.attempt.rebind import Replacements
from worker.attempt.rebind_decisions import after_bound, is_binding, is_old_restored, what_ended
from worker.clock import Clock
from worker.domain.job import Job, JobState
from worker.errors import AxnError
from worker.ledger.audit import Audit
from worker.ledger.ledger import Ledger
from worker.ledger.records import AttemptKnowledge, BrokenRecordError, Claim, Settlement


class UnresolvableError(AxnError):
    """The job cannot be resolved so; the message says why and what can be done."""


class OrphanDesk(Protocol):
    """Where a binding goes that is not the one its job ended with."""

    async def report(self, claim: Claim, phone_no_x: str, subs_id: str) -> bool:
        """Report it, and unbind it where the request said so. Whether it is a new one."""


@dataclass(frozen=True, slots=True)
class Resolutions:
    """What a person may say of a job.

    Every method answers with the job as it stands afterwards.

    Raises:
        UnresolvableError: the job is not in doubt, or what is said does not fit it; nothing was changed.
        JobNotFoundError, LedgerUnavailableError: as `Ledger.read`.
    """

    ledger: Ledger
    orphans: OrphanDesk
    audit: Audit
    replacements: Replacements
    clock: Clock
    lease_ms: int
    full_phone_no_a: bool = False

    async def bound_as(self, job_id: str, *, phone_no_x: str, subs_id: str, by: str) -> Job:
        """It was bound: this is its binding. A rebind to another X then goes on to end the old binding.

        Of a job with another end it is an orphan: reported and, where the request said `rebind`, unbound.
        """
        job = await self.ledger.read(job_id)
        if job.state is not JobState.IN_DOUBT:
            return await self._found_too_late(job, phone_no_x, subs_id, by)
        if job.old_subs_id == subs_id:
            _refuse(job, "replaces this very binding: say --not-bound if it is still there")
        claim = await self._claim(job)
        told = {"code": "resolved.bound", "message": "found bound by a person"}
        settlement = bound(phone_no_x, subs_id, {**told, "possible_orphans": 0, "resolved_by": by})
        if claim.rebind is not None:
            settlement = after_bound(claim, settlement)
            if is_old_restored(settlement):
                await self.replacements.restored(claim, phone_no_x, subs_id)
        return await self._settle(claim, settlement, by, "bound-as")

    async def not_bound(self, job_id: str, *, by: str) -> Job:
        """It was not bound, and is not to be: it fails. Of a rebind nothing more is bound, or ended."""
        claim = await self._claim(await self.ledger.read(job_id))
        fields: dict[str, str | int] = {
            "code": "resolved.not_bound",
            "message": f"found not bound by a person{what_ended(claim)}",
            "resolved_by": by,
        }
        return await self._settle(claim, Settlement(JobState.FAILED, AttemptKnowledge.CLOSED, fields), by, "not-bound")

    async def rebind(self, job_id: str, *, is_surely_not_bound: bool, by: str) -> Job:
        """Bind it anew.

        Args:
            job_id: of a job in doubt.
            is_surely_not_bound: the person knows that no binding was made; otherwise a possible orphan is counted.
            by: who says so.
        """
        job = await self.ledger.read(job_id)
        if job.deadline_at and job.deadline_at <= self.clock.unix_ms():
            _refuse(job, "has passed its deadline, so it would expire: say --not-bound")
        claim = await self._claim(job)
        fields: dict[str, str | int] = {"code": "resolved.rebind", "message": "to be bound anew", "resolved_by": by}
        fields |= {"look_up_since": 0, "retries": 0}
        if not is_surely_not_bound and is_binding(claim):
            fields["possible_orphans"] = claim.possible_orphans + 1
        what = "not-bound, rebind" if is_surely_not_bound else "rebind"
        return await self._settle(claim, Settlement(JobState.WAITING, AttemptKnowledge.CLOSED, fields), by, what)

    async def _claim(self, job: Job) -> Claim:
        if job.state is not JobState.IN_DOUBT:
            _refuse(job, f"is {job.state.value}: only a job in doubt can be resolved")
        try:
            claim = await self.ledger.claim(
                job.job_id, job.lane, token=secrets.token_hex(8), lease_ms=self.lease_ms, resume="any"
            )
        except BrokenRecordError as broken:
            _refuse(job, f"has a broken record: {broken}")
        if claim == "newer":
            _refuse(job, "is one of a newer release: resolve it with the `axn` of that release")
        if isinstance(claim, str):
            _refuse(job, "is being resolved by somebody else; look again in a moment")
        return claim

    async def _settle(self, claim: Claim, settlement: Settlement, by: str, what: str) -> Job:
        if owes_callback(claim, settlement):
            callback = owed_callback(claim, settlement, now_ms=claim.now_ms, full_phone_no_a=self.full_phone_no_a)
            settlement = dataclasses.replace(settlement, callback=callback)
        # Said before it is done: a resolution without a line must not be possible, a line without an effect may be.
        await self.audit.add(claim.job_id, by=by, what=what, was=JobState.IN_DOUBT, now=settlement.state)
        if not await self.ledger.settle(claim, settlement):
            raise UnresolvableError(f"job {claim.job_id}: its lease was lost meanwhile; look again and repeat")
        return await self.ledger.read(claim.job_id)

    async def _found_too_late(self, job: Job, phone_no_x: str, subs_id: str, by: str) -> Job:
        if not job.state.is_end:
            _refuse(job, f"is {job.state.value}: wait until it has ended")
        if job.subs_id == subs_id:
            _refuse(job, "has this very binding already")
        claim = await self.ledger.claim_of_ended(job.job_id)
        await self.audit.add(job.job_id, by=by, what="orphan found", was=job.state, now=job.state)
        await self.orphans.report(claim, phone_no_x, subs_id)
        return await self.ledger.read(job.job_id)


def _refuse(job: Job, why: str) -> NoReturn:
    raise UnresolvableError(f"job {job.job_id} {why}")
