"""How a receiver behaves."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ReceiverConfig:
    """What a receiver listens on, believes and answers.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        secrets: Standard Webhooks secrets, `whsec_` and base64; a call is verified when one of them fits.
        fail_share: the share of verified calls, from 0 to 1, that are answered 500 and not counted as delivered.
        status: the answer to a delivered call.
        delay_ms: how long every answer to a callback is held back, in milliseconds.
        seed: makes the choice of failing calls repeatable.

    Raises:
        ValueError: a value is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    secrets: tuple[str, ...] = field(repr=False)
    fail_share: float = 0.0
    status: int = 204
    delay_ms: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("secrets: at least one is needed, for nothing can be verified without")
        if not 0 <= self.fail_share <= 1:
            raise ValueError(f"fail_share: {self.fail_share} is not between 0 and 1")
        if not 200 <= self.status <= 599:  # noqa: PLR2004 (the final statuses of HTTP)
            raise ValueError(f"status: {self.status} is not between 200 and 599")
        if self.delay_ms < 0:
            raise ValueError(f"delay_ms: {self.delay_ms} is below 0")
