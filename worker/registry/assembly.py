"""The parts that watch over the registry, put together."""

from worker.clock import Clock
from worker.ledger.renewals import Renewals
from worker.pace.desk import PaceDesk
from worker.pace.keys import account_of
from worker.registry.alarm import RenewalAlarm, RiskView
from worker.settings import Settings


def build_risk_view(settings: Settings, renewals: Renewals, pace_desk: PaceDesk) -> RiskView:
    """What will end before it can be renewed, at the settings' pace."""
    return RiskView(renewals, pace_desk.read, settings.pace.assured_share)


def build_alarm(settings: Settings, renewals: Renewals, pace_desk: PaceDesk, clock: Clock) -> RenewalAlarm:
    """The alarm of one worker process."""
    view = build_risk_view(settings, renewals, pace_desk)
    return RenewalAlarm(view, renewals.redis, account=account_of(settings.access_key_id), clock=clock)
