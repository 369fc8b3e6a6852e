"""A binding that was made for a job which has come into other hands meanwhile.

Who finds one: a worker that was stopped or cut off for longer than its lease and then reads the provider's answer, or
a person. While no later attempt was sent the job simply becomes bound by it. Else the job has another end already, and
the binding is an orphan: reported in the job and to its receiver, and ended by an unbind job if the request said
`rebind`, because then nobody was asked whether there should be two.
"""

import dataclasses
import secrets
from dataclasses import dataclass

from worker.attempt.announcing import owed_callback, owes_callback
from worker.attempt.telling import job_fields
from worker.callbacks.events import orphan_found_body
from worker.callbacks.receivers import receiver_of
from worker.clock import Clock
from worker.domain.job import JobKind, JobState, Lane, OnDoubt, Orphan
from worker.domain.job_ids import job_id_for_key
from worker.errors import JobNotFoundError
from worker.ledger.callback_records import OwedCallback
from worker.ledger.keys import orphan_webhook_id
from worker.ledger.ledger import Ledger
from worker.ledger.records import BrokenRecordError, Claim, NewJob, Settlement
from worker.logs import get_log
from worker.provider.nonce import new_seed

_log = get_log(__name__)
_ASK_AGAIN_MS = 250
_LEASES_TO_WAIT = 3


@dataclass(frozen=True, slots=True)
class FoundBindingsDesk:
    """Brings them home."""

    ledger: Ledger
    clock: Clock
    lease_ms: int
    full_phone_no_a: bool = False

    async def tell(self, claim: Claim, settlement: Settlement) -> None:
        """Make the job bound by it if that can still be, else report an orphan.

        Args:
            claim: of the attempt that bound, as it was read then.
            settlement: to `bound`, refused because the lease had been lost.

        Raises:
            RedisError: Redis is away; nothing more is known of the binding than the provider has.
        """
        gives_up_ms = self.clock.monotonic_ms() + _LEASES_TO_WAIT * self.lease_ms
        while self.clock.monotonic_ms() < gives_up_ms:
            answer = await self._adopt(claim, settlement)
            if answer == "adopted":
                _log.warning("job bound after all, by an attempt whose lease had run out", **job_fields(claim))
                return
            if answer != "leased":
                break
            await self.clock.sleep_ms(_ASK_AGAIN_MS)
        await self.report(claim, str(settlement.fields["phone_no_x"]), str(settlement.fields["subs_id"]))

    async def _adopt(self, claim: Claim, settlement: Settlement) -> str:
        try:
            mine = await self.ledger.claim(
                claim.job_id,
                claim.lane,
                token=secrets.token_hex(8),
                lease_ms=self.lease_ms,
                resume=str(claim.attempt),
            )
        except BrokenRecordError:
            return "broken"
        if isinstance(mine, str):
            return mine
        # What was risked because this attempt was unclear is none; what an earlier one may have left still is.
        fields = {**settlement.fields, "possible_orphans": claim.possible_orphans}
        bound = dataclasses.replace(settlement, fields=fields, callback=None)
        if owes_callback(mine, bound):
            callback = owed_callback(mine, bound, now_ms=mine.now_ms, full_phone_no_a=self.full_phone_no_a)
            bound = dataclasses.replace(bound, callback=callback)
        return "adopted" if await self.ledger.settle(mine, bound) else "leased"

    async def report(self, claim: Claim, phone_no_x: str, subs_id: str) -> bool:
        """Report an orphan, unless it is the job's own binding, and unbind it where the request said `rebind`.

        Returns:
            Whether it is a new one.
        """
        try:
            job = await self.ledger.read(claim.job_id)
        except (JobNotFoundError, BrokenRecordError):
            _log.error("orphan found, and the record of its job is gone", **job_fields(claim), subs_id=subs_id)
            return False
        if job.subs_id == subs_id:
            return False
        unbind_job_id = await self._unbind(claim, phone_no_x, subs_id) if claim.on_doubt is OnDoubt.REBIND else ""
        orphan = Orphan(phone_no_x, subs_id, unbind_job_id)
        is_new = await self.ledger.report_orphan(claim, orphan, self._callback(claim, job.state, orphan))
        if is_new:
            what_now = "a job unbinds it" if unbind_job_id else "it stays bound until somebody unbinds it"
            found = {**job_fields(claim), "subs_id": subs_id, "unbind_job_id": unbind_job_id}
            _log.error(f"orphan found: {what_now}", **found)
        return is_new

    async def _unbind(self, claim: Claim, phone_no_x: str, subs_id: str) -> str:
        """File the job that ends it; the timetable publishes it. The same orphan is always the same job."""
        parameters = {"SubsId": subs_id, "SecretNo": phone_no_x, "PoolKey": claim.parameters.get("PoolKey", "")}
        job = NewJob(
            job_id=job_id_for_key(f"orphan:{claim.job_id}:{subs_id}"),
            lane=Lane.BATCH,
            parameters={name: value for name, value in parameters.items() if value},
            digest=subs_id,
            seed=new_seed(),
            kind=JobKind.UNBIND,
            is_confirmed=True,
        )
        await self.ledger.open(job)
        return job.job_id

    def _callback(self, claim: Claim, state: JobState, orphan: Orphan) -> OwedCallback | None:
        if not claim.callback_url:
            return None
        body = orphan_found_body(
            job_id=claim.job_id,
            state=state,
            unix_ms=self.clock.unix_ms(),
            parameters=claim.parameters,
            orphan=orphan,
            full_phone_no_a=self.full_phone_no_a,
        )
        return OwedCallback(
            webhook_id=orphan_webhook_id(claim.job_id, orphan.subs_id),
            url=claim.callback_url,
            host=receiver_of(claim.callback_url),
            body=body,
            deadline_at=claim.callback.deadline(claim.accepted_at),
            secret=claim.callback_secret_name,
            trace=claim.trace,
        )
