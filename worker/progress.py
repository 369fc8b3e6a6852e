"""How far this process has come in each lane's queue: what tells a message that waits from one that is lost."""

from collections.abc import Callable

from worker.domain.job import Lane


class Progress:
    """Of each lane, when the newest message that was taken up here had been published.

    A queue is first in, first out. So an entry that was published earlier, and that nobody has dealt with, has lost its
    message; one that was published later is most likely still queued.
    """

    def __init__(self, tell: Callable[[], None] = lambda: None) -> None:
        """Progress of this process.

        Args:
            tell: called whenever work on a message begins.
        """
        self._tell = tell
        self._taken_up: dict[Lane, int] = {}
        self._told: dict[Lane, int] = {}

    def note(self, lane: Lane, published_at_ms: int) -> None:
        """Work on a message begins.

        Args:
            lane: of the message.
            published_at_ms: Unix ms by Redis's clock, 0 where the message does not tell.
        """
        self._tell()
        self._taken_up[lane] = max(published_at_ms, self._taken_up.get(lane, 0))

    def news(self) -> dict[Lane, int]:
        """What has changed since it was last asked for."""
        news = {lane: at_ms for lane, at_ms in self._taken_up.items() if at_ms != self._told.get(lane, 0)}
        self._told.update(news)
        return news
