"""A way to Redis on which bytes get lost without anybody being told, as behind a firewall that forgot a connection."""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536


class _Link:
    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.ends = (near, far)
        self.is_dead = False


class BlackHole:
    """Listens on a loopback port and forwards to a unix socket, while its `with` block lasts.

    Attributes:
        is_silent: connections, present and new ones, are accepted and swallow what is sent. They stay so for good.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_silent = False
        self._links: list[_Link] = []
        self._is_open = True

    def swallow_present_connections(self) -> None:
        """Those that stand now carry nothing any more; new ones do."""
        for link in self._links:
            link.is_dead = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._listener.close()
        for link in self._links:
            for end in link.ends:
                end.close()

    def _accept(self) -> None:
        while self._is_open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            try:
                far.connect(str(self._target))
            except OSError:
                near.close()
                far.close()
                continue
            link = _Link(near, far)
            self._links.append(link)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(link, source, sink), daemon=True).start()

    def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either end has gone
            while data := source.recv(_CHUNK_BYTES):
                link.is_dead = link.is_dead or self.is_silent
                if not link.is_dead:
                    sink.sendall(data)
        if not link.is_dead:
            for end in link.ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
