"""The operator's face, where the pace is concerned; see `worker.producers`."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from worker.domain.job import Lane
from worker.errors import SettingsError
from worker.pace.desk import PaceDesk
from worker.pace.state import AccountState
from worker.producers import begin
from worker.settings import load_settings

T = TypeVar("T")


def pace_state(actions: Sequence[str] = ()) -> AccountState:
    """How the calls of the settings' account go: see `worker.pace.desk.PaceDesk.read`.

    Raises:
        SettingsError: no setting names the account.
        PaceOrderError: an action is unknown.
        LedgerUnavailableError: Redis did not answer.
    """
    return _at_the_desk(lambda desk: desk.read(actions))


def set_pace(action: str, per_second: float | None, *, by: str) -> None:
    """See `PaceDesk.set_per_second`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.set_per_second(action, per_second, by=by))


def pause_pace(lanes: Sequence[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
    """See `PaceDesk.pause`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.pause(lanes, actions, by=by))


def resume_pace(lanes: Sequence[Lane] = (), actions: Sequence[str] = (), *, by: str) -> None:
    """See `PaceDesk.resume`; raises what `pace_state` does."""
    _at_the_desk(lambda desk: desk.resume(lanes, actions, by=by))


def _at_the_desk(work: Callable[[PaceDesk], Coroutine[Any, Any, T]]) -> T:
    settings = load_settings()
    if settings.credentials == "static" and not settings.access_key_id:
        raise SettingsError(
            "AXN_ACCESS_KEY_ID (or ALIBABA_CLOUD_ACCESS_KEY_ID): must be the workers' key id, "
            "the pace is kept for its account"
        )
    return begin(lambda services: work(services.pace_desk)).result()
