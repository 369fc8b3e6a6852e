"""What one try of a callback came to, as it is judged, logged and counted.

Error classes are names for people and programs: `http.500`, `connect.refused`, `connect.timeout`, `timeout`, `tls`,
`dns`, `denied` (by the guard), `disconnected`, `reset`, `answer.malformed`, `answer.too_large`, `url`, `no_secret`,
`closed`, `unknown`.
"""

from dataclasses import dataclass
from enum import StrEnum

from worker.callbacks.retry_after import retry_after_ms
from worker.domain.masking import mask_text
from worker.http import HttpAnswer, HttpError

_SUCCESS = range(200, 300)
_GONE = 410
_BUSY = (408, 429)
_SERVER_ERRORS = 500
_KEPT_CHARACTERS = 1024
_CLASSES = {
    "connect_refused": "connect.refused",
    "connect_timeout": "connect.timeout",
    "refused_by_guard": "denied",
    "bad_answer": "answer.malformed",
    "answer_too_large": "answer.too_large",
    "bad_url": "url",
}
_OUR_OWN = frozenset({"url", "no_secret", "closed"})


class Health(StrEnum):
    """What a try tells of its receiver, whatever became of the callback."""

    ANSWERS = "answers"
    """It is there: also a 404, which concerns this callback alone."""
    FAILS = "fails"
    """It is broken, overloaded, or not to be reached."""
    UNKNOWN = "unknown"
    """Nothing was tried."""


@dataclass(frozen=True, slots=True)
class TryResult:
    """What a try came to.

    Attributes:
        error: its class; empty where it was delivered.
        status: of the answer; 0 where there is none.
        ms: how long it took.
        answer: its first 1,024 characters, numbers masked.
        retry_after_ms: how long the receiver asks to be left alone.
    """

    error: str
    status: int = 0
    ms: int = 0
    answer: str = ""
    retry_after_ms: int = 0

    @property
    def is_delivered(self) -> bool:
        """2xx, and nothing else."""
        return not self.error

    @property
    def is_gone(self) -> bool:
        """The receiver says that it wants no more callbacks."""
        return self.status == _GONE

    @property
    def health(self) -> Health:
        """What it tells of the receiver."""
        if self.error in _OUR_OWN:
            return Health.UNKNOWN
        if not self.status or self.status in _BUSY or self.status >= _SERVER_ERRORS:
            return Health.FAILS if self.error else Health.ANSWERS
        return Health.ANSWERS


def answered(answer: HttpAnswer, ms: int, now_unix_ms: int) -> TryResult:
    """The receiver answered."""
    text = answer.body[: 4 * _KEPT_CHARACTERS].decode(errors="replace")
    return TryResult(
        error="" if answer.status in _SUCCESS else f"http.{answer.status}",
        status=answer.status,
        ms=ms,
        # Masked before it is cut: half a number may be too short to be known for one.
        answer=mask_text(text)[:_KEPT_CHARACTERS],
        retry_after_ms=retry_after_ms(answer.headers, now_unix_ms),
    )


def failed(failure: HttpError, ms: int) -> TryResult:
    """There is no complete answer."""
    return TryResult(error=_CLASSES.get(failure.kind, failure.kind), ms=ms)
