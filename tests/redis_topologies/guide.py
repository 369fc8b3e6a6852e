"""What docs/redis.md tells an operator to type."""

from pathlib import Path

_GUIDE = Path(__file__).parents[2] / "docs" / "redis.md"


def line_of(command: str) -> str:
    """The rights in the guide's line that begins with this command, after the password."""
    (line,) = [line for line in _GUIDE.read_text(encoding="utf-8").splitlines() if line.strip().startswith(command)]
    rights = line.partition(" >")[2].partition(" ")[2]
    assert rights, line
    return rights
