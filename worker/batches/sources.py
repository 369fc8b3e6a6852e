"""Where a batch's bytes come from: a file or standard input, gzip undone, everything bounded."""

import gzip
import io
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, cast

from worker.errors import BatchInputError

STANDARD_INPUT = "-"
_GZIP = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 16
_HEAD_BYTES = 64
"""What a file is shows in these."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What no file of people exceeds, so that none made to harm takes memory or hours.

    Attributes:
        line_bytes: of one line; a longer one is refused.
        unpacked_bytes: of a whole file, after gzip or zip are undone.
        packing_ratio: how many bytes may come out of one, once `free_bytes` have.
        free_bytes: unpacked bytes that are not judged by the ratio.
        rows: of one file.
    """

    line_bytes: int = 1 << 20
    unpacked_bytes: int = 4 << 30
    packing_ratio: int = 200
    free_bytes: int = 16 << 20
    rows: int = 5_000_000

    def check_unpacked(self, unpacked: int, packed: int) -> None:
        """Raises BatchInputError for what unpacks to more than a file of rows would."""
        if unpacked > self.unpacked_bytes:
            raise BatchInputError(f"the file unpacks to more than {self.unpacked_bytes >> 20} MiB; split it")
        if unpacked > self.free_bytes and unpacked > packed * self.packing_ratio:
            raise BatchInputError(
                f"the file unpacks to more than {self.packing_ratio} times its size, as no file of rows does; "
                "unpack it yourself if it is good"
            )


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Counting(io.RawIOBase):
    """Counts the bytes of the file itself."""

    def __init__(self, inner: _Readable) -> None:
        self._inner = inner
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._read(len(buffer))
        except OSError as failed:
            raise BatchInputError(f"the file cannot be read to its end: {failed.strerror}") from None
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)

    def _read(self, most: int) -> bytes:
        data = self._inner.read(most)
        while not self.count and data and len(data) < _HEAD_BYTES:  # a pipe may give them one by one
            more = self._inner.read(_HEAD_BYTES - len(data))
            if not more:
                break
            data += more
        return data


class _Unpacking(io.RawIOBase):
    """What comes out of a gzip file."""

    def __init__(self, packed: io.BufferedReader, packed_bytes: Callable[[], int], limits: Limits) -> None:
        self._inner = gzip.GzipFile(fileobj=packed, mode="rb")
        self._packed_bytes = packed_bytes
        self._limits = limits
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._inner.read(len(buffer))
        except EOFError:
            raise BatchInputError("the gzip file is cut short; copy it again") from None
        except (gzip.BadGzipFile, zlib.error) as broken:
            raise BatchInputError(f"the gzip file is damaged ({broken}); copy it again") from None
        self._count += len(data)
        self._limits.check_unpacked(self._count, self._packed_bytes())
        buffer[: len(data)] = data
        return len(data)


@dataclass(slots=True)
class Source:
    """A batch's bytes.

    Attributes:
        stream: to read them from, gzip undone.
        size: bytes of the file, 0 where nobody knows.
        path: of a file that is not packed, and that can be read from anywhere; else None.
    """

    stream: io.BufferedReader
    size: int
    path: Path | None
    limits: Limits
    _counting: _Counting
    _held: ExitStack

    @property
    def position(self) -> int:
        """Bytes of the file that were read so far."""
        return self._counting.count

    def seekable(self) -> BinaryIO:
        """The same bytes where one can seek, from their start: a temporary file unless it is a file already.

        Call it before anything is read.

        Raises:
            BatchInputError: there are too many.
        """
        if self.path is not None:
            self.size = 0  # it is not read in one go from here to there
            return cast(BinaryIO, self._held.enter_context(self.path.open("rb")))
        copy: IO[bytes] = self._held.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - held as long as the rest
        while chunk := self.stream.read(_CHUNK_BYTES):
            copy.write(chunk)
            self.limits.check_unpacked(copy.tell(), copy.tell())
        copy.seek(0)
        return cast(BinaryIO, copy)


@contextmanager
def open_source(name: str, limits: Limits) -> Iterator[Source]:
    """Open a file, or standard input for `-`.

    Raises:
        BatchInputError: there is none, or it may not be read.
    """
    with ExitStack() as held:
        path = None if name == STANDARD_INPUT else Path(name)
        try:
            file = held.enter_context(path.open("rb", buffering=0)) if path else sys.stdin.buffer
            size = path.stat().st_size if path else 0
            path = path if path and path.is_file() else None  # a pipe can be read once
        except OSError as failed:
            raise BatchInputError(f"{name}: cannot be read: {failed.strerror}") from None
        counting = _Counting(cast(_Readable, file))
        stream: io.BufferedReader = io.BufferedReader(cast(Any, counting), _CHUNK_BYTES)
        is_packed = stream.peek(2)[:2] == _GZIP
        if is_packed:
            unpacking = _Unpacking(stream, lambda: counting.count, limits)
            stream = io.BufferedReader(cast(Any, unpacking), _CHUNK_BYTES)
        yield Source(stream, size, None if is_packed else path, limits, counting, held)
