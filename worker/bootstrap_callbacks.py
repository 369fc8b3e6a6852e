"""How callbacks are sent under these settings: the parts of `worker.bootstrap` that need nothing else of it."""

from worker.callbacks.client import receiver_client
from worker.callbacks.guard import ReceiverRules
from worker.callbacks.keyring import SharedKeyring
from worker.callbacks.pinging import OwnersKeyring
from worker.callbacks.sender import CallbackSender
from worker.callbacks.signature import SigningKey, decode_secrets
from worker.clock import Clock
from worker.delivery.assembly import DeliveryRules
from worker.domain.callback_secret import SecretOwner
from worker.domain.durations import duration_ms
from worker.errors import SettingsError
from worker.http import HttpClient
from worker.ledger.callback_secrets import CallbackSecrets
from worker.settings import Settings
from worker.tracing import Tracer, receivers_headers

_LEASE_SLACK_MS = 2_000


def receiver_rules(settings: Settings) -> ReceiverRules:
    """Where callbacks may go."""
    return ReceiverRules(settings.callback_allow_http, settings.callback_allow_nets, settings.callback_ports)


def callback_http(settings: Settings) -> HttpClient:
    """Connections to receivers, guarded."""
    return receiver_client(
        receiver_rules(settings),
        max_connections=2 * max(settings.callback_in_flight, 1),
        connect_timeout_ms=duration_ms(settings.connect_timeout),
    )


def callback_keys(settings: Settings) -> tuple[SigningKey, ...]:
    """The keys of hosts without their own; raises SettingsError where AXN_CALLBACK_SECRET is malformed."""
    try:
        return decode_secrets(settings.callback_secret.get_secret_value())
    except ValueError as malformed:
        raise SettingsError(str(malformed)) from None


def callback_lease_ms(settings: Settings) -> int:
    """Longer than a try."""
    return duration_ms(settings.callback_timeout) + _LEASE_SLACK_MS


def delivery_rules(settings: Settings) -> DeliveryRules:
    """When tries come, and how many at a time."""
    return DeliveryRules(
        schedule_ms=[duration_ms(delay) for delay in settings.callback_schedule],
        lease_ms=callback_lease_ms(settings),
        give_up_ms=duration_ms(settings.callback_give_up),
        dead_ttl_ms=duration_ms(settings.dead_callback_ttl),
        in_flight=settings.callback_in_flight,
        per_receiver=settings.callback_per_receiver,
    )


def callback_sender(
    settings: Settings,
    http: HttpClient,
    secrets: CallbackSecrets,
    *,
    clock: Clock,
    traces: Tracer,
    owner: SecretOwner | None = None,
) -> CallbackSender:
    """Signs and sends; with an owner by its keys alone."""
    shared = SharedKeyring(secrets, default=callback_keys(settings), clock=clock)
    keyring = OwnersKeyring(shared, owner) if owner else shared
    timeout_ms = duration_ms(settings.callback_timeout)
    trace = receivers_headers(settings, traces)
    return CallbackSender(http, keyring=keyring, timeout_ms=timeout_ms, clock=clock, more_headers=trace)
