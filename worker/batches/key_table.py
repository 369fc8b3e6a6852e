"""Which keys there were, and on which line first: 20 bytes a place where a dict takes ten times as much.

Open addressing over arrays. Keys are hashes, so their own bits choose the place, and a quarter to two thirds of the
places are taken: 42 MB for a million keys.
"""

from array import array

_FEWEST_PLACES = 1 << 12
_MASK_64 = (1 << 64) - 1


class KeyTable:
    """Keys of 32 hexadecimal digits, each with a line from 1."""

    def __init__(self) -> None:
        self._count = 0
        self._make(_FEWEST_PLACES)

    def __len__(self) -> int:
        return self._count

    def first_line(self, key: str, line: int) -> int:
        """The line that a key was first seen on, or 0 where this is it."""
        bits = int(key, 16)
        high, low = bits >> 64, bits & _MASK_64
        held = self._put(high, low, line)
        if not held:
            self._count += 1
            if self._count * 3 > len(self._lines) * 2:
                self._grow()
        return held

    def _put(self, high: int, low: int, line: int) -> int:
        highs, lows, lines, last = self._highs, self._lows, self._lines, len(self._lines) - 1
        place = low & last
        while held := lines[place]:
            if highs[place] == high and lows[place] == low:
                return held
            place = (place + 1) & last
        highs[place], lows[place], lines[place] = high, low, line
        return 0

    def _make(self, places: int) -> None:
        self._highs = array("Q", bytes(8 * places))
        self._lows = array("Q", bytes(8 * places))
        self._lines = array("I", bytes(4 * places))

    def _grow(self) -> None:
        highs, lows, lines = self._highs, self._lows, self._lines
        self._make(2 * len(lines))
        for high, low, line in zip(highs, lows, lines, strict=True):
            if line:
                self._put(high, low, line)
