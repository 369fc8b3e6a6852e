"""The settings' groups: AXN_PACE__…, AXN_CIRCUIT__…, AXN_RETRY__… and so on."""

from datetime import timedelta
from typing import Self

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, SecretStr, field_validator, model_validator

from worker.domain.durations import Duration, duration_ms
from worker.domain.encryption_keys import is_plain_first, parse_key, parse_ring
from worker.domain.job import JobState

PREFIX = "AXN_"


class PaceSettings(BaseModel):
    """The shared rates, in calls per second of one account, over all workers together."""

    bind_axn_per_second: PositiveFloat = Field(
        50,
        description="most BindAxn calls in any second, all workers together; fewer where the provider throttles",
    )
    unbind_per_second: PositiveFloat = Field(50, description="UnbindSubscription calls per second, the same")
    update_per_second: PositiveFloat = Field(50, description="UpdateSubscription calls per second, the same")
    query_per_second: PositiveFloat = Field(
        50, description="calls per second of each of the two queries that look a binding up, the same"
    )
    checkout_depth: Duration = Field(
        timedelta(milliseconds=50), description="how far ahead of the schedule checkout may run: its burst"
    )
    renewal_depth: Duration = Field(timedelta(milliseconds=40), description="the same for the renewal lane")
    batch_depth: Duration = Field(timedelta(milliseconds=30), description="the same for the batch lane")
    assured_share: float = Field(
        0.05, gt=0, le=0.5, description="share of the rate that renewal and batch each get while checkout wants all"
    )
    probe_first: Duration = Field(
        timedelta(seconds=5), description="first interval between probes of an account that the provider refuses"
    )
    probe_longest: Duration = Field(timedelta(minutes=5), description="longest interval between those probes")
    share_without_redis: float = Field(
        0,
        ge=0,
        le=1,
        description="while Redis is away, checkouts already taken go on in each process at this share of the last "
        "rate; all processes' shares together must not exceed 1; 0: they wait",
    )
    patience: Duration = Field(
        timedelta(seconds=10), description="longest wait for a permit in a worker; past it the job waits in the ledger"
    )

    @model_validator(mode="after")
    def _higher_lanes_run_further_ahead(self) -> Self:
        depths = {name: getattr(self, f"{name}_depth") for name in ("checkout", "renewal", "batch")}
        if not depths["checkout"] >= depths["renewal"] >= depths["batch"]:
            given = (f"{PREFIX}PACE__{name.upper()}_DEPTH ({duration_ms(depths[name])}ms)" for name in depths)
            raise ValueError(f"{' >= '.join(given)} must hold, or a lower lane would go before a higher one")
        return self

    @property
    def per_second(self) -> dict[str, float]:
        """The rate of each of the provider's actions that is called."""
        return {
            "BindAxn": self.bind_axn_per_second, "UnbindSubscription": self.unbind_per_second,
            "UpdateSubscription": self.update_per_second, "QuerySubsId": self.query_per_second,
            "QuerySubscriptionDetail": self.query_per_second,
        }  # fmt: skip


class CircuitSettings(BaseModel):
    """When calls to the endpoint are held back because it does not answer, all workers together."""

    least: PositiveInt = Field(
        10, description="calls without an answer lately (1 to 20 s, by how many there are) that it takes"
    )
    share: float = Field(0.5, gt=0, le=1, description="share of the calls without an answer that it takes")
    probe_first: Duration = Field(timedelta(seconds=1), description="until the first probe; doubles with each in vain")
    probe_longest: Duration = Field(timedelta(seconds=30), description="longest interval between those probes")


class RetrySettings(BaseModel):
    """How failed attempts are tried again: full jitter below a growing bound."""

    base: Duration = Field(timedelta(milliseconds=200), description="first bound of the backoff")
    cap: Duration = Field(timedelta(seconds=20), description="last bound of the backoff")
    in_process: Duration = Field(
        timedelta(seconds=1), description="a job that waits for less stays in its worker, five times on end at most"
    )
    attempts: PositiveInt = Field(8, description="how often a job that certainly was not processed is tried again")
    budget_per_second: PositiveFloat = Field(
        10, description="calls that failed before, sent again per second by all workers in any case"
    )
    budget_share: float = Field(0.2, ge=0, le=10, description="and so many more for each call that was processed")
    slow_base: Duration = Field(
        timedelta(seconds=5), description="first bound where no number is free or the account is refused"
    )
    slow_cap: Duration = Field(timedelta(minutes=1), description="last bound of those")


class DoubtSettings(BaseModel):
    """What happens after an attempt of unknown effect."""

    probe_after: Duration = Field(
        timedelta(seconds=5), description="wait before the same nonce is sent again, beyond the attempt's own timeout"
    )
    window: Duration = Field(timedelta(minutes=10), description="how long the same nonce may be sent again")
    read_lag: Duration = Field(
        timedelta(seconds=30),
        description="how long the provider's queries may show an older state: so long a binding not found may exist",
    )


class RenewalSettings(BaseModel):
    """How bindings are kept."""

    spread: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of the time until its lead by which a binding may be renewed earlier, each by its own; so "
        "bindings of one minute are not renewed in one minute",
    )
    in_flight: PositiveInt = Field(
        16, description="renewals that one process makes at a time in each of the ledger's 16 partitions"
    )
    lease: Duration = Field(
        timedelta(seconds=15), description="how long a partition's renewals stay a dead process's; a living one goes on"
    )

    @field_validator("lease")
    @classmethod
    def _lease_holds(cls, lease: timedelta) -> timedelta:
        if lease < timedelta(seconds=1):
            raise ValueError("must be at least 1s")
        return lease


class TracesSettings(BaseModel):
    """What is traced. Where spans go the standard OTEL_… variables say, such as OTEL_EXPORTER_OTLP_ENDPOINT."""

    enabled: bool = Field(
        False,
        description="trace jobs with OpenTelemetry, from the producer to the callback; needs the extra `otel`; set it "
        "for producers and workers",
    )
    share: float = Field(
        1.0, ge=0, le=1, description="share of the traces begun here that are kept; a caller's own trace decides itself"
    )
    to_receivers: bool = Field(
        False, description="callbacks of traced jobs carry a `traceparent` header, for receivers that are traced"
    )


class EncryptionSettings(BaseModel):
    """Whether numbers stand in Redis as they are, or sealed."""

    keys: SecretStr = Field(
        SecretStr(""),
        description="id:key,id:key: the ring that seals phone numbers in Redis (extra `privacy`, docs/privacy.md); the "
        "first writes, all read; `plain` in front: none writes; `axn keys new` prints one; empty: numbers stand there "
        "as they are",
    )
    index_key: SecretStr = Field(
        SecretStr(""),
        description="key by which sealed numbers are found; goes with AXN_ENCRYPTION__KEYS and stays the same for ever",
    )

    @model_validator(mode="after")
    def _keys_are_keys(self) -> Self:
        try:
            ring = self.ring
        except ValueError as wrong:
            raise ValueError(f"{PREFIX}ENCRYPTION__KEYS: {wrong}") from None
        if ring and not self.index_key.get_secret_value():
            raise ValueError(f"{PREFIX}ENCRYPTION__INDEX_KEY: is required with {PREFIX}ENCRYPTION__KEYS")
        try:
            index_key = self.index_key_bytes
        except ValueError as wrong:
            raise ValueError(f"{PREFIX}ENCRYPTION__INDEX_KEY: {wrong}") from None
        if index_key in ring.values():
            raise ValueError(f"{PREFIX}ENCRYPTION__INDEX_KEY: must not be a key of {PREFIX}ENCRYPTION__KEYS, too")
        return self

    @property
    def ring(self) -> dict[str, bytes]:
        """The keys by their ids, the writing one first."""
        return parse_ring(self.keys.get_secret_value())

    @property
    def writes_plain(self) -> bool:
        """Whether the keys only read."""
        return is_plain_first(self.keys.get_secret_value())

    @property
    def index_key_bytes(self) -> bytes:
        """Empty where there is none."""
        text = self.index_key.get_secret_value()
        return parse_key(text) if text else b""


class RetentionSettings(BaseModel):
    """How long finished jobs stay, where AXN_RESULT_TTL is not the time for all of them, and batches."""

    bound: Duration | None = Field(
        None,
        description="how long a bound job stays, at least as long as its binding is known; default AXN_RESULT_TTL",
    )
    updated: Duration | None = Field(None, description="the same of a job that updated a binding")
    unbound: Duration | None = Field(None, description="of one that ended a binding")
    failed: Duration | None = Field(None, description="of a failed one")
    expired: Duration | None = Field(None, description="of one whose deadline passed")
    cancelled: Duration | None = Field(None, description="of a cancelled one")
    batch: Duration | None = Field(
        None, description="how long a batch stays after its end, with its rows; default: until `axn batch rm`"
    )

    @field_validator("*")
    @classmethod
    def _records_stay(cls, ttl: timedelta | None) -> timedelta | None:
        if ttl is not None and duration_ms(ttl) < 1:
            raise ValueError("must be at least 1ms: a result could not be read")
        return ttl

    @property
    def by_state_ms(self) -> dict[JobState, int]:
        """The states that have a time of their own."""
        names = [name for name in type(self).model_fields if name != "batch"]
        given = {JobState(name): ttl for name in names if (ttl := getattr(self, name)) is not None}
        if self.bound is not None:
            given[JobState.OLD_LEFT_BOUND] = self.bound
        return {state: duration_ms(ttl) for state, ttl in given.items()}
