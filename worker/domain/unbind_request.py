"""An unbind request: the end of a binding."""

from typing import Any, ClassVar

from worker.domain.change_request import ChangeRequest
from worker.domain.job import JobKind


class UnbindRequest(ChangeRequest):
    """One binding to end.

    Raises:
        InvalidRequestError: rules are broken; all of them are named, numbers masked.
    """

    kind: ClassVar[JobKind] = JobKind.UNBIND

    def __init__(self, **given: Any) -> None:  # without its own, type checkers take the fields for its arguments
        super().__init__(**given)
