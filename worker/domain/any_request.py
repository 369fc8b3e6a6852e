"""The requests that producers may submit, by kind."""

from collections.abc import Mapping

from worker.domain.bind_request import BindRequest
from worker.domain.job import JobKind
from worker.domain.rebind_request import RebindRequest
from worker.domain.unbind_request import UnbindRequest
from worker.domain.update_request import UpdateRequest

AnyRequest = BindRequest | UpdateRequest | UnbindRequest | RebindRequest

REQUEST_TYPES: Mapping[JobKind, type[AnyRequest]] = {
    JobKind.BIND: BindRequest,
    JobKind.UPDATE: UpdateRequest,
    JobKind.UNBIND: UnbindRequest,
    JobKind.REBIND: RebindRequest,
}
