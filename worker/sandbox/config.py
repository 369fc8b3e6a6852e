"""What a sandbox is started with, and the command-line spellings of its parts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from worker.sandbox.unknowns import Unknowns

ThrottleStyle = Literal["gateway", "business"]
"""Which layer refuses a request over the rate: the gateway (HTTP 400 `Throttling.User`) or the product
(HTTP 200 `isv.FLOW_LIMIT`). The provider's documents do not say which, so both can be played."""

Counts = tuple[tuple[str, int], ...]
"""How many numbers of which city, "" where none was named."""

_HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A number pool to make: how many numbers each city holds. The city is "" where none was named."""

    pool_key: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key pair the gateway knows; with a token it is a temporary (STS) key, and the token must come with it.

    A temporary key may end at `expires_at`, Unix seconds.
    """

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most this many requests of one action in any one second; with a burst, that many at once after a rest."""

    action: str
    per_second: int
    burst: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Everything a sandbox needs to know.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 lets the system choose.
        pools: Number pools, keys all different.
        access_keys: Keys accepted, ids all different.
        limits: Rate limits; an action without one is not limited.
        throttle_style: Which layer refuses what is over the limit.
        retry_after_ms: Value of the `x-acs-retry-after` header on such a refusal; None sends no header.
        latency_ms: Wait before every answer, after its effect has happened.
        clock_skew_s: How far a request's timestamp may be from the sandbox's clock, either way.
        nonce_memory_s: How long a nonce stays used. The provider's support says 31 minutes.
        for_sale: Numbers that can be bought.
        unknowns: How to play what only a real account can tell.
        magic_numbers: Whether some As choose what happens to their requests; `worker.sandbox.magic` lists them.
        record: File to which every exchange is added, phone numbers and all; None records nothing.
        seed: Decides the numbers of the pools and the draws of faults.
    """

    pools: tuple[PoolSpec, ...]
    access_keys: tuple[AccessKey, ...]
    host: str = "127.0.0.1"
    port: int = 0
    limits: tuple[Limit, ...] = ()
    throttle_style: ThrottleStyle = "gateway"
    retry_after_ms: int | None = None
    latency_ms: int = 0
    clock_skew_s: int = 900
    nonce_memory_s: int = 1860
    for_sale: Counts = (("上海", 100), ("北京", 100))
    unknowns: Unknowns = field(default_factory=Unknowns)
    magic_numbers: bool = True
    record: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_duplicates("pools: pool key", [pool.pool_key for pool in self.pools])
        _refuse_duplicates("access_keys: key id", [key.key_id for key in self.access_keys])
        _refuse_duplicates("limits: action", [limit.action for limit in self.limits])
        if self.throttle_style not in get_args(ThrottleStyle):
            raise ValueError(f"throttle_style: {self.throttle_style!r} is not known; use 'gateway' or 'business'")
        for name in ("port", "latency_ms", "clock_skew_s", "nonce_memory_s", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: must be 0 or more, not {getattr(self, name)}")
        if self.port > _HIGHEST_PORT:
            raise ValueError(f"port: must be at most {_HIGHEST_PORT}, not {self.port}")
        if self.retry_after_ms is not None and self.retry_after_ms <= 0:
            raise ValueError(f"retry_after_ms: must be 1 or more, or None, not {self.retry_after_ms}")


def _refuse_duplicates(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{what} given more than once: {', '.join(twice)}; give each one once")


def parse_pool(text: str) -> PoolSpec:
    """Read `KEY=COUNT@CITY,COUNT@CITY`, e.g. `FC123456=1000@上海,500@北京`; `@CITY` may be left out.

    Raises:
        ValueError: The text has another shape; the message shows the right one.
    """
    pool_key, equals, counts = text.partition("=")
    if not (pool_key.strip() and equals and counts.strip()):
        raise ValueError(f"pool {text!r}: write KEY=COUNT@CITY,COUNT@CITY, e.g. FC123456=1000@上海,500@北京")
    parts = tuple(_parse_count(text, part) for part in counts.split(","))
    _refuse_duplicates(f"pool {text!r}: city", [city or "(none)" for city, _ in parts])
    return PoolSpec(pool_key.strip(), parts)


def _parse_count(text: str, part: str) -> tuple[str, int]:
    count, at, city = part.partition("@")
    if at and not city.strip():
        raise ValueError(f"pool {text!r}: {part!r} names no city after @; write e.g. 1000@上海, or 1000 for no city")
    return city.strip(), _positive(count, f"pool {text!r}: the count in {part!r}")


def parse_access_key(text: str) -> AccessKey:
    """Read `ID:SECRET` or, for a temporary key, `ID:SECRET:TOKEN` or `ID:SECRET:TOKEN@UNIX_SECONDS` (when it ends).

    The token may itself hold colons.

    Raises:
        ValueError: A part is missing. The message does not repeat the text, which may hold a secret.
    """
    parts = text.split(":", 2)
    if len(parts) == 1 or not all(parts):
        raise ValueError("access key: write ID:SECRET or ID:SECRET:TOKEN, e.g. testid:testsecret, no part empty")
    key_id, secret, *token = parts
    return AccessKey(key_id, secret, *_parse_token(token[0])) if token else AccessKey(key_id, secret)


def _parse_token(text: str) -> tuple[str, float | None]:
    token, at, end = text.rpartition("@")
    return (token, float(end)) if token and at and end.isascii() and end.isdigit() else (text, None)


def parse_limit(text: str) -> Limit:
    """Read `ACTION=REQUESTS_PER_SECOND`, e.g. `BindAxn=50`, or with a burst `BindAxn=50:200`.

    Raises:
        ValueError: The text has another shape, or a figure is not a whole number above 0.
    """
    action, equals, figures = text.partition("=")
    if not (action.strip() and equals):
        raise ValueError(f"limit {text!r}: write ACTION=REQUESTS_PER_SECOND, e.g. BindAxn=50")
    rate, colon, burst = figures.partition(":")
    per_second = _positive(rate, f"limit {text!r}: the rate")
    return Limit(action.strip(), per_second, _positive(burst, f"limit {text!r}: the burst") if colon else None)


def parse_for_sale(text: str) -> Counts:
    """Read `COUNT@CITY,COUNT@CITY`, the numbers that can be bought; "" is none.

    Raises:
        ValueError: The text has another shape.
    """
    return parse_pool(f"for sale={text}").counts if text else ()


def _positive(text: str, what: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(f"{what} must be a whole number above 0, not {text!r}")
    return int(text)
