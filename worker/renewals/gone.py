"""What follows when a kept binding has ended: it is bound anew as its policy says, or only told of.

Before anything is done the provider is asked whether it really has: an end that was changed elsewhere is taken over,
and a binding that is still there is not bound a second time. Binding anew is a job like any other, whose id follows
from the binding and the step, so that it is filed once; the old binding is looked at until that job has ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from worker.callbacks.events import BindingEvent
from worker.clock import Clock
from worker.domain.binding import Binding
from worker.domain.job import Job, JobKind, JobState, Lane
from worker.domain.job_ids import job_id_for_key
from worker.domain.renewal import IfGone, due_at, next_target, untold_target
from worker.errors import JobNotFoundError
from worker.ledger.callback_records import OwedCallback
from worker.ledger.kept_binding import KeptBinding
from worker.ledger.ledger import Ledger
from worker.ledger.records import BrokenRecordError, NewJob
from worker.ledger.renewals import Place, RenewalEnd, Renewals
from worker.logs import get_log
from worker.provider.actions import UnbindSubscription
from worker.provider.api import ProviderApi
from worker.provider.nonce import new_seed
from worker.renewals.closing import unbind_of
from worker.renewals.expiry_guard import detail_of
from worker.renewals.renewing import CLEAN, dropped, failed_end, later, renewed_end
from worker.renewals.rules import Failure, RenewalRules, bounded_delay_ms, is_late
from worker.renewals.telling import told_of, wire_of
from worker.steps import reached

_log = get_log(__name__)
_FOLLOW_MS = 2_000
_FOLLOW_SLOWLY_MS = 60_000
_LOOK_AT_DOUBT_MS = 300_000
_CONTRADICTION_MS = 60_000
_JUST_ENDED_MS = 5_000
SAME_X, NEW_X = "same_x", "new_x"


class Announcing(Protocol):
    """Who tells workers of a job: `worker.publisher.Announcer`."""

    async def publish(self, lane: Lane, ids: Sequence[str], published_at_ms: int) -> bool:
        """False where it is left to the timetable."""


@dataclass(frozen=True, slots=True)
class GoneDesk:
    """Sees to bindings that have ended."""

    renewals: Renewals
    ledger: Ledger
    provider: ProviderApi
    announcer: Announcing
    rules: RenewalRules
    clock: Clock

    async def look(self, kept: KeptBinding) -> Place | None:
        """Make sure that it has ended, and begin what its policy says. Returns as `Renewer.renew`."""
        asked_ms = self.clock.monotonic_ms()
        detail = await detail_of(self.provider, kept)
        now_ms = kept.read_at + round(self.clock.monotonic_ms() - asked_ms)
        if detail.is_gone:
            await self._begin(kept, now_ms)
        elif detail.expires_at > kept.expires_at:
            await self._correct(kept, detail.expires_at, now_ms)
        elif not detail.is_live:
            delay_ms = bounded_delay_ms(kept, self.rules.retry.backoff_ms(kept.failures), now_ms)
            failure = Failure(delay_ms, detail.code, detail.message, needs_person=is_late(kept, now_ms))
            await self._put_off(kept, failure, now_ms)
        elif kept.expires_at <= now_ms:
            return later(kept, _JUST_ENDED_MS, now_ms)
        else:
            message = "the provider refuses to renew it as gone, and shows it as active"
            failure = Failure(_CONTRADICTION_MS, "renewal.contradicted", message, needs_person=True)
            await self._put_off(kept, failure, now_ms)
        return None

    async def follow(self, kept: KeptBinding) -> Place | None:
        """Go on with a binding that is being bound anew. Returns as `Renewer.renew`."""
        job = await self._job(kept.step_job)
        if kept.status not in ("active", "lapsed"):
            return await self._withdraw(kept, job)
        if job is None:
            return await self._file_again(kept)
        if not job.state.is_end:
            since_ms = kept.read_at - job.accepted_at
            return later(kept, min(max(_FOLLOW_MS, since_ms // 2), _FOLLOW_SLOWLY_MS))
        if job.is_bound:
            await self._rebound(kept, job)
        elif job.state is JobState.IN_DOUBT:
            failure = Failure(_LOOK_AT_DOUBT_MS, job.code, "it may be bound anew; a person decides", needs_person=True)
            await self._put_off(kept, failure, kept.read_at)
        else:
            await self._next(kept, job.code, job.message)
        return None

    async def unbind(self, binding_id: str) -> Place:
        """End one whose order was closed before it was bound. Returns as `Renewer.renew`."""
        (binding,) = await self.ledger.bindings_of([binding_id])
        if isinstance(binding, Binding):
            job = _closing_job(binding)
            _log.info("binding's order was closed while it was bound; a job unbinds it", binding_id=binding_id)
            await self._file(job)
        return dropped(binding_id)

    async def _begin(self, kept: KeptBinding, now_ms: int) -> None:
        """It has ended."""
        target = next_target(kept.policy, kept.expires_at, now_ms)
        if kept.policy.if_gone is IfGone.REPORT or target is None:
            await self._lose(kept, "renewal.gone", "the binding had ended before it was renewed", now_ms)
            return
        step = SAME_X if kept.policy.if_gone is IfGone.REBIND_SAME_X else NEW_X
        await self._bind(kept, step, target, now_ms, what="gone", status="lapsed")

    async def _file_again(self, kept: KeptBinding) -> Place | None:
        """Whoever said that it is to be bound anew died before its job was filed."""
        target = next_target(kept.policy, kept.expires_at, kept.read_at)
        if target is None:
            await self._lose(kept, "renewal.gone", "the binding had ended before it was renewed", kept.read_at)
            return None
        await self._file(_bind_job(kept, kept.step, target))
        return later(kept, _FOLLOW_MS)

    async def _next(self, kept: KeptBinding, code: str, message: str) -> None:
        """The job that was to bind it anew has ended without a binding."""
        target = next_target(kept.policy, kept.expires_at, kept.read_at)
        if kept.step == SAME_X and target is not None:
            await self._bind(kept, NEW_X, target, kept.read_at, what="same_x_failed", code=code)
        else:
            await self._lose(kept, code, message, kept.read_at)

    async def _bind(
        self, kept: KeptBinding, step: str, target: int, now_ms: int, *, what: str, status: str = "", code: str = ""
    ) -> None:
        """Say first what is to be done, so that a binding which a person has ended meanwhile is not bound anew."""
        job = _bind_job(kept, step, target)
        fields: dict[str, str | int] = {"renew_step": step, "renew_job": job.job_id, **CLEAN}
        end = RenewalEnd(now_ms + _FOLLOW_MS, code=code, status=status, what=what, fields=fields)
        if await self.renewals.settle(kept, end):
            _log.warning(
                "binding had ended; a job binds it anew", binding_id=kept.binding_id, job_id=job.job_id, step=step
            )
            reached("renewal.gone", kept.binding_id, way=step)
            await self._file(job)

    async def _file(self, job: NewJob) -> None:
        filed_at_ms = await self.ledger.open(job)
        if filed_at_ms:
            await self.announcer.publish(job.lane, [job.job_id], filed_at_ms)

    async def _rebound(self, kept: KeptBinding, job: Job) -> None:
        """The new binding inherits who is to be told, and what was said of the order meanwhile."""
        await self.renewals.inherit(job.job_id, kept)
        if kept.is_closed:
            await self.renewals.close(job.job_id)
        if kept.is_to_be_unbound:
            await self.ledger.open(_unbind_job(kept, job))
        fields = {
            "phone_no_x": job.phone_no_x, "subs_id": job.subs_id, "old_phone_no_x": kept.phone_no_x,
            "old_subs_id": kept.subs_id, "new_job_id": job.job_id, "code": "renewal.gone",
            "message": "the binding had ended before it was renewed",
        }  # fmt: skip
        callback = self._told(kept, BindingEvent.REBOUND, kept.read_at, fields, expiration=job.expiration)
        record: dict[str, str | int] = {"renew_step": "", "renew_job": "", "replaced_by": job.job_id, "renew_code": ""}
        end = RenewalEnd(None, status="replaced", what="rebound", fields=record, callback=callback)
        await self.renewals.settle(kept, end)
        _log.warning("binding bound anew", binding_id=kept.binding_id, job_id=job.job_id)

    async def _lose(self, kept: KeptBinding, code: str, message: str, now_ms: int) -> None:
        callback = self._told(kept, BindingEvent.LOST, now_ms, {"code": code, "message": message})
        fields: dict[str, str | int] = {"renew_step": "", "renew_job": "", "renew_code": code}
        end = RenewalEnd(None, status="lapsed", what="lost", fields=fields, callback=callback)
        if await self.renewals.settle(kept, end):
            _log.error("binding lost", binding_id=kept.binding_id, code=code, message=message)

    async def _correct(self, kept: KeptBinding, expires_at: int, now_ms: int) -> None:
        """A later end than ours was set: by somebody else, or by a renewal of ours whose answer never got here."""
        if expires_at == untold_target(kept.policy, kept.expires_at):
            if await self.renewals.settle(kept, renewed_end(kept, expires_at, now_ms, self.rules)):
                _log.info("binding was renewed before its end", binding_id=kept.binding_id, number=kept.number + 1)
            return
        end = RenewalEnd(
            due_at(kept.policy, kept.binding_id, expires_at, now_ms, self.rules.spread),
            expiration=wire_of(expires_at),
            expires_at=expires_at,
            what="corrected",
            fields=dict(CLEAN),
        )
        await self.renewals.settle(kept, end)

    async def _put_off(self, kept: KeptBinding, failure: Failure, now_ms: int) -> None:
        await self.renewals.settle(kept, failed_end(kept, failure, now_ms, self.rules))

    async def _withdraw(self, kept: KeptBinding, job: Job | None) -> Place:
        """The old binding was unbound, or bound anew, by a person meanwhile: ours is not wanted."""
        if job is not None and not job.state.is_end:
            return later(kept, _FOLLOW_MS)
        if job is not None and job.is_bound:
            unbind = _unbind_job(kept, job)
            await self.ledger.open(unbind)
            _log.warning(
                "binding ended by a person while it was bound anew; another job unbinds that",
                binding_id=kept.binding_id, job_id=unbind.job_id,
            )  # fmt: skip
        return dropped(kept.binding_id)

    async def _job(self, job_id: str) -> Job | None:
        try:
            return await self.ledger.read(job_id)
        except (JobNotFoundError, BrokenRecordError):
            return None

    def _told(
        self,
        kept: KeptBinding,
        event: BindingEvent,
        now_ms: int,
        fields: Mapping[str, str | int],
        expiration: str = "",
    ) -> OwedCallback | None:
        return told_of(
            kept, event, now_ms=now_ms, renewals=kept.number, expiration=expiration, fields=fields,
            full_phone_no_a=self.rules.full_phone_no_a,
        )  # fmt: skip


def _bind_job(kept: KeptBinding, step: str, target: int) -> NewJob:
    parameters = {**kept.parameters, "Expiration": wire_of(target)}
    if step == SAME_X:
        parameters["PhoneNoX"] = kept.phone_no_x
    else:
        parameters.pop("PhoneNoX", None)
    job_id = job_id_for_key(f"renewal\x1f{kept.binding_id}\x1f{kept.number}\x1f{step}")
    return NewJob(
        job_id=job_id,
        lane=Lane.RENEWAL,
        parameters=parameters,
        digest=job_id,
        seed=new_seed(),
        on_doubt=kept.on_doubt,
        renew=kept.policy.as_json(),
    )


def _closing_job(binding: Binding) -> NewJob:
    """The same that closing the order files, where it finds the binding."""
    request = unbind_of(binding.binding_id)
    return NewJob(
        job_id=job_id_for_key(request.idempotency_key or ""),
        lane=request.lane,
        parameters=_unbinding(binding.subs_id, binding.phone_no_x, binding.pool_key),
        digest=request.digest(),
        seed=new_seed(),
        kind=JobKind.UNBIND,
        is_confirmed=True,
        binding_id=binding.binding_id,
    )


def _unbinding(subs_id: str, phone_no_x: str, pool_key: str) -> dict[str, str]:
    return UnbindSubscription(subs_id=subs_id, secret_no=phone_no_x, pool_key=pool_key or None).parameters()


def _unbind_job(kept: KeptBinding, job: Job) -> NewJob:
    """As an orphan's: the timetable publishes it."""
    job_id = job_id_for_key(f"renewal\x1f{kept.binding_id}\x1f{kept.number}\x1funbind")
    return NewJob(
        job_id=job_id,
        lane=Lane.BATCH,
        parameters=_unbinding(job.subs_id, job.phone_no_x, kept.pool_key),
        digest=job_id,
        seed=new_seed(),
        kind=JobKind.UNBIND,
        is_confirmed=True,
    )
