"""The provider: is it reached, does its clock agree, does it take our key, does the pool exist?

One request without a signature, for the clock, and one signed query that changes nothing.
"""

import secrets
from datetime import UTC
from email.utils import parsedate_to_datetime

from worker.clock import Clock
from worker.doctor.finding import Finding, error, good, unknown, warning
from worker.domain.outcome import Outcome, Verdict
from worker.http import HttpClient, HttpError
from worker.provider.actions import QuerySubsId
from worker.provider.api import Caller, ProviderApi

NOBODYS_NUMBER = "10000000000"
"""No number of any network begins so: nobody's binding is asked for."""
_CLOCK_OFF_S = 30
_CLOCK_REFUSED_S = 15 * 60
_TIMEOUT_MS = 10_000


async def check_provider_clock(http: HttpClient, endpoint: str, clock: Clock) -> list[Finding]:
    """Reach it, and compare clocks by its answer's date."""
    try:
        answer = await http.post(endpoint, headers={}, total_timeout_ms=_TIMEOUT_MS)
    except HttpError as failure:
        remedy = "look at DNS, firewall and proxy (AXN_HTTP_PROXY), and at AXN_ENDPOINT"
        return [error("provider", f"is not reached ({failure.kind})", remedy)]
    reached = good("provider", f"answers (HTTP {answer.status})")
    server_s = _unix_s(answer.headers.get("date", ""))
    if server_s is None:
        return [reached, unknown("provider.clock", "its answer tells no date")]
    off_s = server_s - clock.unix_ms() / 1000
    told = f"{abs(off_s):.0f} s {'ahead of' if off_s >= 0 else 'behind'} this machine's"
    remedy = "set this machine's clock by NTP"
    if abs(off_s) >= _CLOCK_REFUSED_S:
        return [reached, error("provider.clock", told, f"{remedy}: the provider refuses signatures that old")]
    if abs(off_s) >= _CLOCK_OFF_S:
        return [reached, warning("provider.clock", told, remedy)]
    return [reached, good("provider.clock", told)]


def _unix_s(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def check_account(caller: Caller, pool_key: str) -> list[Finding]:
    """Ask for the bindings of a number that nobody has, in our pool."""
    request = QuerySubsId(phone_no_x=NOBODYS_NUMBER, pool_key=pool_key or None)
    outcome = (await ProviderApi(caller).query_subs_id(request, secrets.token_hex(16))).outcome
    told = f"answers a signed query with {outcome.code}"
    pool = (
        good("provider.pool", "AXN_POOL_KEY is set")
        if pool_key
        else warning("provider.pool", "AXN_POOL_KEY is not set", "set it, or give each request a pool_key")
    )
    if outcome.verdict is Verdict.ACCOUNT:
        if "pool" in outcome.code.lower():
            bad_pool = error("provider.pool", f"{told}: no such pool", "correct AXN_POOL_KEY; the console lists pools")
            return [good("provider.account", "takes the key"), bad_pool]
        return [error("provider.account", f"{told}: {outcome.message}", _account_remedy(outcome)), pool]
    if outcome.verdict in (Verdict.AMBIGUOUS, Verdict.NOT_PROCESSED):
        return [error("provider.account", told, "try again; if it stays so, ask the provider's support"), pool]
    if outcome.verdict is Verdict.THROTTLED:
        remedy = "see `axn pace`; try again when less is under way"
        return [warning("provider.account", f"{told}: throttled", remedy), pool]
    return [good("provider.account", "takes the key and its signature"), pool]


def _account_remedy(outcome: Outcome) -> str:
    code = outcome.code.lower()
    if "signature" in code:
        return "correct AXN_ACCESS_KEY_SECRET: it is not this key's"
    if "accesskey" in code:
        return "correct AXN_ACCESS_KEY_ID, or enable the key in the console"
    if "token" in code:
        return "renew AXN_SECURITY_TOKEN: temporary keys run out"
    if "timestamp" in code:
        return "set this machine's clock by NTP"
    if "permission" in code or "forbidden" in code or "ram" in code:
        return (
            "allow the key's user dypls:BindAxn, UnbindSubscription, UpdateSubscription, QuerySubsId and "
            "QuerySubscriptionDetail"
        )
    return "see the account in the provider's console (arrears, product not opened)"
