"""A job whose numbers a process has no key for: it is put off, neither failed nor counted as if its worker had died."""

from worker.domain.job import JobState
from worker.ledger.records import AttemptKnowledge, Claim, Settlement, claim_without_numbers, record_in

KEY_MISSING = "encryption.key_missing"
KEY_MISSING_MS = 60_000
_MESSAGE = "its numbers cannot be read by a worker without their key; `axn doctor` tells which"


def put_off(reply: list[str], job_id: str, token: str) -> tuple[Claim, Settlement]:
    """What settles a claim that claim.lua gave, so that the job is as it was and somebody looks at it in a minute.

    Its deadline may have passed: it is then looked at no sooner.
    """
    claim = claim_without_numbers(reply, job_id, token)
    if record_in(reply).get("state") == JobState.IN_DOUBT:
        return claim, Settlement(JobState.IN_DOUBT, AttemptKnowledge.OPEN)
    is_new = claim.attempt > int(record_in(reply).get("attempts", 0))
    knowledge = AttemptKnowledge.UNSENT if is_new else AttemptKnowledge.OPEN
    fields: dict[str, str | int] = {"code": KEY_MISSING, "message": _MESSAGE}
    return claim, Settlement(JobState.WAITING, knowledge, fields, delay_ms=KEY_MISSING_MS, grace_ms=KEY_MISSING_MS)
