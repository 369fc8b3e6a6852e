"""The settings: environment variables with the prefix AXN_, checked once at start.

Credentials are also read under the names that the provider's own SDKs use. Spans of time take `30s`, `5m`, `2h`, `7d`
or a plain number of seconds.
"""

import ipaddress
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.domain.durability import Durability
from worker.domain.durations import Duration, duration_ms
from worker.domain.job import DoubtProbe
from worker.errors import SettingsError
from worker.redis_places import broker_of, check_broker_url, checked_ledger_url
from worker.setting_groups import (
    PREFIX,
    CircuitSettings,
    DoubtSettings,
    EncryptionSettings,
    PaceSettings,
    RenewalSettings,
    RetentionSettings,
    RetrySettings,
    TracesSettings,
)

_PORTS = 65_536

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _comma_separated(given: object) -> object:
    return [part.strip() for part in given.split(",") if part.strip()] if isinstance(given, str) else given


def _networks(given: object) -> object:
    if not isinstance(given, str):
        return given
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in given.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be networks such as 10.1.0.0/16, separated by commas, no host bits set") from None


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]


class Settings(BaseSettings):
    """All of them. docs/settings.md is made from this class."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="the ledger: redis://, rediss:// or unix://; redis+cluster://host,host or "
        "redis+sentinel://host,host/service/0 (docs/redis.md)",
    )
    broker_url: str = Field(
        "",
        description="Celery's broker, as amqp://…; default: the ledger's server, next database. A ledger on a cluster "
        "needs it",
    )
    redis_timeout: Duration = Field(
        timedelta(seconds=2),
        description="longest wait for one answer of Redis; a call is tried three times, then it is an error",
    )
    durability: Durability = Field(
        Durability.ACCEPTED,
        description="what `submit` waits for: accepted (Redis has the job), fsynced (its disk has) or replicated",
    )
    durability_replicas: PositiveInt = Field(1, description="replicas that must hold a job for replicated")
    durability_timeout: Duration = Field(
        timedelta(seconds=2), description="longest wait for fsynced or replicated; past it the job is filed unconfirmed"
    )

    credentials: Literal["static", "chain"] = Field(
        "static",
        description="static: the key below; chain: the provider's default chain (extra `credentials`), and the key id "
        "below only names the account whose pace is shared",
    )
    access_key_id: str = Field(
        "",
        validation_alias=AliasChoices("AXN_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_ID"),
        description="the account's key id (or ALIBABA_CLOUD_ACCESS_KEY_ID)",
    )
    access_key_secret: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("AXN_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        description="its secret (or ALIBABA_CLOUD_ACCESS_KEY_SECRET)",
    )
    security_token: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("AXN_SECURITY_TOKEN", "ALIBABA_CLOUD_SECURITY_TOKEN"),
        description="STS token, where the key is temporary (or ALIBABA_CLOUD_SECURITY_TOKEN)",
    )
    endpoint: str = Field("https://dyplsapi.aliyuncs.com", description="the provider's address")
    signature: Literal["v3", "v1"] = Field("v3", description="v3 = ACS3-HMAC-SHA256, v1 = RPC HMAC-SHA1")
    answer_format: Literal["json", "xml"] = Field("json", description="format asked of the provider")
    connect_timeout: Duration = Field(timedelta(seconds=3), description="longest wait for a connection")
    read_timeout: Duration = Field(
        timedelta(seconds=10), description="longest silence of the provider while its answer is awaited"
    )
    attempt_timeout: Duration = Field(timedelta(seconds=10), description="longest attempt: connect, send and answer")
    http_proxy: SecretStr = Field(
        SecretStr(""), description="http://[user:password@]host:port on the way to the provider; callbacks go without"
    )
    ca_file: str = Field(
        "", description="certificates (PEM) to trust at the provider instead of the public ones, as behind a proxy"
    )
    provider_connections: NonNegativeInt = Field(
        0, description="connections to the provider that one process opens; 0: one for each job in flight"
    )

    pool_key: str = Field("", description="PoolKey of requests that name none")
    expiration_margin: Duration = Field(
        timedelta(seconds=60), description="how much further ahead than the provider's 60 s an Expiration must be"
    )

    lease: Duration = Field(
        timedelta(seconds=20),
        description="how long a job stays a dead worker's; a living one renews it. Longer than AXN_ATTEMPT_TIMEOUT",
    )
    rescues: PositiveInt = Field(
        5, description="how many leases of a job may run out one after the other before it fails as poison"
    )
    grace: Duration = Field(
        timedelta(seconds=15), description="how long attempts under way may take after SIGTERM, before they are cut off"
    )
    result_ttl: Duration = Field(
        timedelta(days=7), description="how long a finished job stays readable; a bound one as long as its binding, too"
    )
    binding_keep: Duration = Field(
        timedelta(days=7), description="how long a binding stays known, with its job, after its end"
    )
    first_look: Duration = Field(
        timedelta(seconds=10), description="when the timetable looks at a job that no worker has taken"
    )
    tick: Duration = Field(timedelta(milliseconds=500), description="how often each worker looks at the timetable")
    in_flight: PositiveInt = Field(64, description="jobs that one worker process works on at a time")
    threads: PositiveInt = Field(32, description="Celery messages that one worker process holds at a time")

    heartbeat_file: str = Field("", description="touched at each tick that reached Redis, for health checks")

    listen: str = Field(
        "",
        description="host:port at which a worker serves /metrics, /live and /ready, such as 0.0.0.0:9464; each process "
        "on a machine needs its own; empty: nowhere",
    )

    callback_secret: SecretStr = Field(
        SecretStr(""),
        description="whsec_… or whsk_… key that signs callbacks to hosts without keys of their own; several, separated "
        "by spaces, all sign",
    )
    callback_timeout: Duration = Field(timedelta(seconds=15), description="longest try of a callback")
    callback_schedule: Annotated[tuple[Duration, ...], NoDecode, BeforeValidator(_comma_separated)] = Field(
        tuple(timedelta(seconds=seconds) for seconds in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)),
        description="delays between the tries of a callback, ±20 %",
    )
    dead_callback_ttl: Duration = Field(
        timedelta(days=30), description="how long a callback that was given up can still be replayed"
    )
    callback_in_flight: NonNegativeInt = Field(
        128, description="first tries of callbacks that one process makes at a time, and as many retries"
    )
    callback_per_receiver: PositiveInt = Field(
        16,
        description="tries at one receiver (host) at a time, all workers together, a quarter of them for checkouts "
        "alone; 16 of 50 ms each are 320 per second, so raise it for a receiver that is told of more",
    )
    callback_give_up: Duration = Field(
        timedelta(days=4),
        description="oldest a callback gets, however often its receiver was not there to be tried; then it is given up",
    )
    callback_allow_http: bool = Field(False, description="allow http:// callback URLs")
    callback_allow_nets: Networks = Field(
        (),
        description="networks inside one's own where receivers may be, such as 10.1.0.0/16; of a cloud's metadata "
        "addresses only one that is named by itself, as a /32 or /128",
    )
    callback_full_phone_no_a: bool = Field(False, description="tell A itself in callbacks, instead of its masked form")
    callback_ports: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_comma_separated)] = Field(
        (80, 443, 8080, 8443), description="ports a callback URL may name; empty: any"
    )

    sentry_dsn: SecretStr = Field(SecretStr(""), description="error reports go there; empty: nowhere")
    environment: str = Field("production", description="named in error reports")
    log_format: Literal["console", "json"] = Field("console", description="of log lines: for people, or json")

    doubt_probe: DoubtProbe = Field(
        DoubtProbe.NONCE,
        description="after an attempt of unknown effect: nonce sends the same nonce again, then looks a chosen X up; "
        "lookup only looks up; off does neither",
    )

    pace: PaceSettings = PaceSettings()
    circuit: CircuitSettings = CircuitSettings()
    retry: RetrySettings = RetrySettings()
    doubt: DoubtSettings = DoubtSettings()
    renewal: RenewalSettings = RenewalSettings()
    traces: TracesSettings = TracesSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    retention: RetentionSettings = RetentionSettings()

    @model_validator(mode="after")
    def _lease_outlasts_an_attempt(self) -> Self:
        if self.lease <= self.attempt_timeout:
            raise ValueError(
                f"AXN_LEASE ({self.lease.total_seconds():g}s) must be longer than AXN_ATTEMPT_TIMEOUT "
                f"({self.attempt_timeout.total_seconds():g}s), or a job could be sent twice at once"
            )
        return self

    @field_validator("redis_url")
    @classmethod
    def _redis_url_leads_to_a_database(cls, url: str) -> str:
        return checked_ledger_url(url)

    @model_validator(mode="after")
    def _broker_is_none_on_a_cluster(self) -> Self:
        check_broker_url(self.broker_url, self.redis_url)
        return self

    @field_validator("durability_timeout")
    @classmethod
    def _durability_timeout_ends(cls, timeout: timedelta) -> timedelta:
        if duration_ms(timeout) < 1:
            raise ValueError("must be at least 1ms: Redis takes 0 for ever")
        return timeout

    @field_validator("dead_callback_ttl")
    @classmethod
    def _dead_callbacks_stay(cls, ttl: timedelta) -> timedelta:
        if duration_ms(ttl) < 1:
            raise ValueError("must be at least 1ms: a callback that was given up could not be replayed")
        return ttl

    @field_validator("http_proxy")
    @classmethod
    def _http_proxy_is_an_address(cls, proxy: SecretStr) -> SecretStr:
        if proxy.get_secret_value() and not _is_proxy(proxy.get_secret_value()):
            raise ValueError("must be http://host:port or http://user:password@host:port")
        return proxy

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        if listen and not (host and port.isascii() and port.isdigit() and int(port) < _PORTS):
            raise ValueError("must be host:port, such as 0.0.0.0:9464 or [::1]:9464")
        return listen

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of AXN_LISTEN; an empty host where it is not set."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port or 0)

    @cached_property
    def effective_broker_url(self) -> str:
        """AXN_BROKER_URL, or the ledger's server with the next database, in Celery's notation."""
        return broker_of(self.broker_url, self.redis_url).url

    @cached_property
    def broker_options(self) -> Mapping[str, Any]:
        """What Celery must be told of the broker beside its URL."""
        return broker_of(self.broker_url, self.redis_url).transport_options

    @property
    def lease_ms(self) -> int:
        """Milliseconds of AXN_LEASE."""
        return duration_ms(self.lease)


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname and parts.port)
    except ValueError:
        return False
    return parts.scheme == "http" and is_whole and not (parts.path.strip("/") or parts.query or parts.fragment)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        SettingsError: a variable is wrong; the message names each and what it must be.
    """
    try:
        return Settings()
    except ValidationError as invalid:
        raise SettingsError("; ".join(_settings_fault(fault) for fault in invalid.errors())) from None


def _settings_fault(fault: object) -> str:
    assert isinstance(fault, dict)  # noqa: S101 - pydantic's own form
    text = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    where = "__".join(str(part) for part in fault["loc"]).upper()
    return (
        text
        if not where or text.startswith(PREFIX)
        else f"{where if where.startswith(PREFIX) else PREFIX + where}: {text}"
    )
