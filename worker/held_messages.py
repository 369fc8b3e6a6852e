"""Messages that this process has taken from the broker and not yet acknowledged: worked on without a pool's thread.

The consumer's thread takes them in, the process's loop works on them, and the consumer's thread acknowledges them. Both
ways go in groups. The first message of an idle process is handed over at once; what is delivered together goes
together. Acknowledgements wait a moment for each other, but only while other messages are under way: nobody waits for
an acknowledgement, but for the free place that it leaves in the prefetch.

A message is acknowledged when its own work has ended, not when its group's has: one slow job holds one place.
"""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

from worker.logs import get_log

_log = get_log(__name__)

GATHER_S = 0.01
"""So long an acknowledgement waits for others while messages are under way."""
MOST_GATHERED = 16
"""So many go at once: half of the messages that a process holds by default."""
_AGAIN_S = 1.0

Work = Callable[[], Coroutine[Any, Any, None]]


class HeldMessages:
    """Of one consumer.

    Args:
        consumer: Celery's, whose thread calls all methods; it has a hub.
        call_on_loop: calls a function on the process's loop, soon.
    """

    def __init__(self, consumer: Any, call_on_loop: Callable[..., None]) -> None:
        self._consumer = consumer
        self._call_on_loop = call_on_loop
        self._gathered: list[tuple[Any, Work]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()  # guards what follows: both threads use it
        self._under_way = 0
        self._ended: list[Any] = []
        self._is_asked_for = False

    def take(self, message: Any, work: Work) -> None:
        """Work on a message, with those that are delivered in the same go."""
        self._gathered.append((message, work))
        if len(self._gathered) == 1:
            self._consumer.call_soon(self._hand_over)

    def resume(self) -> None:
        """At each new connection: what the consumer was to do soon may have gone down with the old one."""
        with self._changed:
            self._is_asked_for = False
        self._consumer.call_soon(self._hand_over)
        self._consumer.call_soon(self.acknowledge)

    def finish(self) -> None:
        """Wait until all that was handed over has ended, and acknowledge it. What was not goes back to the queue."""
        self._gathered = []  # never acknowledged: whoever closes the channel gives it back
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or not self._under_way)
                is_last = not self._under_way
            self.acknowledge(is_last_try=True)
            if is_last:
                return

    def _hand_over(self) -> None:
        group, self._gathered = self._gathered, []
        if group:
            with self._changed:
                self._under_way += len(group)
            self._call_on_loop(self._begin, group)

    def _begin(self, group: list[tuple[Any, Work]]) -> None:
        """On the loop, as the next two."""
        for message, work in group:
            task = asyncio.get_running_loop().create_task(self._work_on(message, work))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work_on(self, message: Any, work: Work) -> None:
        try:
            await work()
        except Exception as failure:  # noqa: BLE001 - the timetable brings back whatever is not finished
            _log.error("work on a message broke off; the timetable brings it back", error=type(failure).__name__)
        finally:
            self._end(message)

    def _end(self, message: Any) -> None:
        with self._changed:
            self._under_way -= 1
            self._ended.append(message)
            is_first, is_enough = len(self._ended) == 1, len(self._ended) >= MOST_GATHERED
            self._changed.notify()
            is_at_once = is_enough or not self._under_way
        if is_at_once:
            self._ask_for_acknowledgement()
        elif is_first:
            asyncio.get_running_loop().call_later(GATHER_S, self._ask_for_acknowledgement)

    def _ask_for_acknowledgement(self) -> None:
        with self._changed:
            if self._is_asked_for or not self._ended:
                return
            self._is_asked_for = True
        self._consumer.call_soon(self.acknowledge)

    def acknowledge(self, *, is_last_try: bool = False) -> None:
        """Acknowledge what has ended, each connection's in one go. Nothing is raised: the consumer must go on."""
        with self._changed:
            self._is_asked_for = False
            ended, self._ended = self._ended, []
        by_channel: dict[Any, list[Any]] = defaultdict(list)
        for message in ended:
            by_channel[message.channel].append(message)
        for channel, messages in by_channel.items():
            if channel.connection is None:
                continue  # it is closed: what it had not acknowledged was given back, or will be
            if not self._is_acknowledged(channel, messages) and not is_last_try:
                self._again_later(messages)

    def _is_acknowledged(self, channel: Any, messages: list[Any]) -> bool:
        acknowledge_all = getattr(channel, "acknowledge_all", None) or self._acknowledge_each
        try:
            acknowledge_all(messages)
        except Exception as failure:  # noqa: BLE001 - kombu, cut off in mid-reply, raises whatever it stumbles over
            _log.warning("broker took no acknowledgement", messages=len(messages), error=type(failure).__name__)
            return False
        return True

    def _acknowledge_each(self, messages: list[Any]) -> None:
        """With another broker than Redis."""
        for message in messages:
            if not message.acknowledged:
                message.ack_log_error(logging.getLogger(__name__), self._consumer.connection_errors)

    def _again_later(self, messages: list[Any]) -> None:
        """Else they would take up the prefetch for as long as the connection lasts."""
        with self._changed:
            self._ended += messages
        self._consumer.timer.call_after(_AGAIN_S, self.acknowledge)
