"""The provider's client, put together from the settings."""

from worker.clock import Clock
from worker.domain.durations import duration_ms
from worker.errors import SettingsError
from worker.http import HttpClient
from worker.provider.client import ProviderClient
from worker.provider.credentials import ChainCredentials, CredentialsSource, StaticCredentials, official_chain
from worker.provider.requests import Credentials
from worker.settings import Settings

_LARGEST_ANSWER_BYTES = 1 << 20


def provider_http(settings: Settings) -> HttpClient:
    """Connections to the provider; raises SettingsError where AXN_CA_FILE holds no certificates."""
    try:
        return HttpClient(
            max_connections=settings.provider_connections or settings.in_flight,
            max_answer_bytes=_LARGEST_ANSWER_BYTES,
            connect_timeout_ms=duration_ms(settings.connect_timeout),
            read_timeout_ms=duration_ms(settings.read_timeout),
            ca_file=settings.ca_file or None,
            proxy=settings.http_proxy.get_secret_value() or None,
        )
    except OSError as unreadable:
        raise SettingsError(f"AXN_CA_FILE: no certificates (PEM) in it ({type(unreadable).__name__})") from None


def credentials_of(settings: Settings, clock: Clock) -> CredentialsSource:
    """Where keys come from; raises SettingsError where they are missing."""
    if settings.credentials == "chain":
        return ChainCredentials(official_chain(), clock)
    secret = settings.access_key_secret.get_secret_value()
    if not settings.access_key_id or not secret:
        raise SettingsError(
            "AXN_ACCESS_KEY_ID and AXN_ACCESS_KEY_SECRET (or ALIBABA_CLOUD_ACCESS_KEY_ID and …_SECRET) must be set, "
            "or AXN_CREDENTIALS=chain"
        )
    return StaticCredentials(Credentials(settings.access_key_id, secret, settings.security_token.get_secret_value()))


def build_provider(settings: Settings, http: HttpClient, clock: Clock) -> ProviderClient:
    """Signs and sends, without a pace; raises SettingsError where credentials are missing."""
    return ProviderClient(
        http,
        endpoint=settings.endpoint,
        credentials=credentials_of(settings, clock),
        signature_version=settings.signature,
        answer_format=settings.answer_format,
        total_timeout_ms=duration_ms(settings.attempt_timeout),
        clock=clock,
    )
