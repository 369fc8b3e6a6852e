"""An intake whose requests begin a trace, or go on with the one of the code that submits them."""

from collections.abc import Sequence
from typing import Any

from worker.domain.any_request import AnyRequest
from worker.domain.durability import Durability
from worker.intake.intake import Intake, Submitted
from worker.tracing import Tracer


class TracedIntake(Intake):
    """Each submission is a span. The ledger writes it into the records of the jobs that it files meanwhile."""

    def __init__(self, *parts: Any, traces: Tracer, **more: Any) -> None:
        """As `Intake`, with who makes the spans."""
        super().__init__(*parts, **more)
        self._traces = traces

    async def submit(self, request: AnyRequest, durability: Durability = Durability.ACCEPTED) -> str:
        """See `Intake.submit`."""
        with self._traces.root("axn.submit") as span:
            job_id = await super().submit(request, durability)
            span.tell(job_id=job_id)
            return job_id

    async def submit_many(
        self, requests: Sequence[AnyRequest], durability: Durability = Durability.ACCEPTED
    ) -> list[Submitted]:
        """See `Intake.submit_many`."""
        with self._traces.root("axn.submit_many", jobs=len(requests)):
            return await super().submit_many(requests, durability)
