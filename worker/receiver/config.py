"""How a receiver behaves."""

from dataclasses import dataclass, field

_REDIRECTS = range(300, 400)
_FINAL = range(200, 600)


@dataclass(frozen=True, kw_only=True)
class ReceiverConfig:
    """What a receiver listens on, believes and answers.

    Attributes:
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        secrets: Standard Webhooks secrets (`whsec_`, or `whpk_` for ed25519); a call is verified when one of them fits.
        fail_share: the share of verified calls, from 0 to 1, that are answered 500 and not counted as delivered.
        status: the answer to a delivered call; None: 204, or what the next two ask for.
        retry_after: the Retry-After of every answer but 2xx, seconds or a date; alone it makes all answers 503.
        redirect: the Location of a redirect; makes all answers 302, or the 3xx that status says.
        delay_ms: how long every answer to a callback is held back, in milliseconds.
        seed: makes the choice of failing calls repeatable.

    Raises:
        ValueError: a value is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    secrets: tuple[str, ...] = field(repr=False)
    fail_share: float = 0.0
    status: int | None = None
    retry_after: str = ""
    redirect: str = ""
    delay_ms: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("secrets: at least one is needed, for nothing can be verified without")
        if not 0 <= self.fail_share <= 1:
            raise ValueError(f"fail_share: {self.fail_share} is not between 0 and 1")
        if self.status is not None and self.status not in _FINAL:
            raise ValueError(f"status: {self.status} is not between 200 and 599")
        if self.delay_ms < 0:
            raise ValueError(f"delay_ms: {self.delay_ms} is below 0")
        if self.redirect and self.status is not None and self.status not in _REDIRECTS:
            raise ValueError(f"status: {self.status} is no redirect, and one is asked for")
        for name in ("retry_after", "redirect"):
            text = getattr(self, name)
            if not (text.isascii() and (text.isprintable() or not text)):
                raise ValueError(f"{name}: must be printable ASCII, as it stands in a header")

    @property
    def answer_status(self) -> int:
        """Of a delivered call."""
        if self.status is not None:
            return self.status
        if self.redirect:
            return 302
        return 503 if self.retry_after and not self.fail_share else 204

    def headers_of(self, status: int) -> dict[str, str]:
        """What goes with this status."""
        headers = {}
        if self.retry_after and status >= _REDIRECTS.start:
            headers["Retry-After"] = self.retry_after
        if self.redirect and status in _REDIRECTS:
            headers["Location"] = self.redirect
        return headers
