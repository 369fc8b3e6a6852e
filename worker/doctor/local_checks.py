"""This machine and the settings: enough files, keys for callbacks, a pace that makes sense."""

import resource
from collections.abc import Collection

from worker.doctor.finding import Finding, error, good, warning
from worker.settings import Settings

_REDIS_AND_BROKER = 64
_SPARE = 64
_DOCUMENTED_PER_SECOND = {
    "bind_axn_per_second": 5_000, "unbind_per_second": 5_000, "update_per_second": 10_000, "query_per_second": 1_000,
}  # fmt: skip
"""The provider's own limits of one account, as its pages state them."""


def files_needed(settings: Settings) -> int:
    """Open files of one worker process at full load."""
    provider = settings.provider_connections or settings.in_flight
    return provider + 2 * max(settings.callback_in_flight, 1) + _REDIS_AND_BROKER + _SPARE


def check_files(settings: Settings, soft_limit: int | None = None) -> Finding:
    """Whether a worker may open as many files as it needs."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if soft_limit is None else soft_limit
    needed = files_needed(settings)
    told = f"{limit:,} open files allowed, a worker may need {needed:,}"
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return good("machine.files", told)
    return error("machine.files", told, "raise `ulimit -n` (or LimitNOFILE of the service) for the workers")


def check_callback_keys(settings: Settings, stored: Collection[str] | None) -> Finding:
    """Whether callbacks can be signed.

    Args:
        settings: as below.
        stored: hosts and names that have keys of their own; None where Redis could not be asked.
    """
    has_default = bool(settings.callback_secret.get_secret_value())
    if has_default:
        told = "AXN_CALLBACK_SECRET signs for every host"
        return good("callbacks.keys", f"{told}, {len(stored)} have keys of their own" if stored else told)
    if stored:
        told = f"{len(stored)} hosts and names have keys; callbacks to all others wait, AXN_CALLBACK_SECRET is not set"
        return warning("callbacks.keys", told, "set it, or `axn callbacks rotate HOST` for each receiver")
    remedy = "set AXN_CALLBACK_SECRET (`axn callbacks rotate HOST` makes one for a host)"
    return warning("callbacks.keys", "there is no key: no callback can be sent", remedy)


def check_callback_guard(settings: Settings) -> Finding:
    """What of the guard is open."""
    opened = []
    if settings.callback_allow_http:
        opened.append("http:// is allowed (AXN_CALLBACK_ALLOW_HTTP): bodies and numbers travel unencrypted")
    if settings.callback_allow_nets:
        nets = ", ".join(map(str, settings.callback_allow_nets))
        opened.append(f"private networks are allowed (AXN_CALLBACK_ALLOW_NETS): {nets}")
    if not opened:
        return good("callbacks.guard", "https only, no private networks")
    return warning("callbacks.guard", "; ".join(opened), "keep it only if that is meant")


def check_pace(settings: Settings) -> Finding:
    """Whether the pace exceeds what the provider documents."""
    above = [
        f"AXN_PACE__{name.upper()} ({getattr(settings.pace, name):g}) is above the documented {most:,}"
        for name, most in _DOCUMENTED_PER_SECOND.items()
        if getattr(settings.pace, name) > most
    ]
    if above:
        return warning("pace", "; ".join(above), "lower it: the rest is throttled")
    return good("pace", f"at most {settings.pace.bind_axn_per_second:g} binds per second, all workers together")


def check_environment(settings: Settings) -> Finding:
    """Whether somebody hears of errors."""
    if settings.sentry_dsn.get_secret_value():
        return good("errors", f"go to Sentry as environment {settings.environment}")
    return warning("errors", "AXN_SENTRY_DSN is not set", "set it, or watch the workers' logs")
