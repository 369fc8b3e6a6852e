"""What the doctor says."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    GOOD = "good"
    WARNING = "warning"
    """The worker works, and something may go wrong."""
    ERROR = "error"
    """The worker does not work, or may lose jobs."""
    UNKNOWN = "unknown"
    """It could not be looked at, because of something said elsewhere."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        area: what was looked at, such as `redis.memory`.
        told: what was found; never a secret.
        remedy: how to mend it; empty where all is good.
    """

    area: str
    level: Level
    told: str
    remedy: str = ""


def good(area: str, told: str) -> Finding:
    """All is as it should be."""
    return Finding(area, Level.GOOD, told)


def warning(area: str, told: str, remedy: str) -> Finding:
    """It may go wrong."""
    return Finding(area, Level.WARNING, told, remedy)


def error(area: str, told: str, remedy: str) -> Finding:
    """It is wrong."""
    return Finding(area, Level.ERROR, told, remedy)


def unknown(area: str, told: str) -> Finding:
    """It could not be looked at."""
    return Finding(area, Level.UNKNOWN, told)
