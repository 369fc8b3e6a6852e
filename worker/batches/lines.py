"""Lines of text out of bytes whose encoding nobody told: UTF-8 or GB18030, decided by the bytes and never by chance.

A line of ASCII is the same in both. The first lines that are not decide: one that only one of the two can be decides
for it. One that both can be is UTF-8, unless as GB18030 it would be everyday Chinese (GB2312): then the following
lines are looked at, and where they do not decide either, the operator is asked for `--encoding`. A line of UTF-8 in a
file that was GB18030 so far ends the reading. So no text is taken for another without being told.
"""

import io
from collections import deque
from collections.abc import Iterator

from worker.batches.sources import Limits
from worker.errors import BatchInputError

UTF_8, GB18030 = "utf-8", "gb18030"
ENCODINGS = (UTF_8, GB18030)
_EVERYDAY_CHINESE = "gb2312"
_LOOK_AHEAD_BYTES = 1 << 18
_LINES_PER_ROW = 2
"""Most lines of a file, for each of its most rows: blank ones take time too."""
_BOMS = ((b"\xef\xbb\xbf", UTF_8), (b"\x84\x31\x95\x33", GB18030))


class BadLineError(Exception):
    """One line cannot be read; the next ones can."""


class Lines(Iterator[str]):
    """Lines with their ends.

    Attributes:
        number: of the line given last, from 1.
        encoding: as far as known.

    Raises:
        BadLineError: the line is too long, or not of this encoding; iteration may go on.
        BatchInputError: the encoding cannot be told, or the file is neither.
    """

    def __init__(self, stream: io.BufferedReader, encoding: str | None, limits: Limits) -> None:
        self.number = 0
        self.encoding = encoding
        self._is_detected = encoding is None
        self._stream = stream
        self._longest = limits.line_bytes
        self._most = _LINES_PER_ROW * limits.rows
        self._ahead: deque[bytes | None] = deque()
        self._skip_bom()

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else self._read()
        if line == b"":
            raise StopIteration
        self.number += 1
        if self.number > self._most:
            raise BatchInputError(f"the file has more than {self._most} lines, most of them blank; remove them")
        if line is None:
            raise BadLineError(f"is longer than {self._longest >> 10} KiB")
        if line.isascii():
            return line.decode("ascii")
        if self.encoding is None:
            if not (_is(line, UTF_8) or _is(line, GB18030)):
                raise BadLineError("is neither UTF-8 nor GB18030")
            self.encoding = self._decided(line)
        return self._decode(line, self.encoding)

    def _skip_bom(self) -> None:
        head = self._stream.peek(4)[:64]
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in head:
            raise BatchInputError("the file is UTF-16 or no text; save it as CSV in UTF-8")
        for bom, encoding in _BOMS:
            if head.startswith(bom):
                if self.encoding not in (None, encoding):
                    raise BatchInputError(f"--encoding {self.encoding}: the file begins with the mark of {encoding}")
                self._stream.read(len(bom))
                self.encoding = encoding

    def _read(self) -> bytes | None:
        """One line, empty at the end, None for one that is too long and was passed over."""
        line = self._stream.readline(self._longest + 1)
        if len(line) <= self._longest:
            return line
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(self._longest + 1)
        return None

    def _decided(self, line: bytes) -> str:
        encoding = evidence_of(line)
        looked_at = 0
        while encoding is None and looked_at < _LOOK_AHEAD_BYTES:
            following = self._read()
            self._ahead.append(following)
            if following == b"":
                break
            looked_at += len(following or b"") + 1
            encoding = evidence_of(following or b"")
        if encoding is None:
            raise BatchInputError(
                f"line {self.number}: it cannot be told whether the file is UTF-8 or GB18030; "
                f"give --encoding {UTF_8} or --encoding {GB18030}"
            )
        return encoding

    def _decode(self, line: bytes, encoding: str) -> str:
        if encoding == GB18030 and self._is_detected and evidence_of(line) == UTF_8:
            raise BatchInputError(
                f"line {self.number} is UTF-8, but the lines before are GB18030; save the file anew in one encoding, "
                f"or give --encoding {GB18030} if it is that"
            )
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            raise BadLineError(f"is not {encoding}") from None


def evidence_of(line: bytes) -> str | None:
    """The encoding that a line shows, None where it may be either or is neither."""
    is_utf_8, is_gb18030 = _is(line, UTF_8), _is(line, GB18030)
    if line.isascii() or not (is_utf_8 or is_gb18030):
        return None
    if not is_utf_8:
        return GB18030
    return None if is_gb18030 and _is(line, _EVERYDAY_CHINESE) else UTF_8


def _is(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
