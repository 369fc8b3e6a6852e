"""How many calls a provider bears at once, judged by how long they take.

After Gradient2 of Netflix's concurrency-limits: a long average of the latency against the recent one. Averages are of
logarithms, so that a call ten times slower than usual does not weigh as ten. They run over time, not over calls: what
is normal must not depend on how fast we send.
"""

import math

_CALLS_OF_A_ROUND = 32
_FIRST_ROUNDS = 8
_FALLS_ABOVE = 2.0
_GROWS_BELOW = 1.5
_MOST_FALL, _SMOOTHING = 0.5, 0.2
_GROWTH = 0.1
_OVERLOAD_FALL = 0.7
_OVERLOAD_WEIGHT, _OVERLOAD_SHARE = 1 / 16, 0.2
_LONG_MS = 60_000
_RISE_PER_MS = math.log(2) / 600_000
_RISE_WHILE_HELD_BACK_PER_MS = math.log(2) / 3_600_000
_SINK_PER_MS = math.log(2) / 60_000
_LATENCIES_MS = (0.01, 1e7)


class LatencyCap:
    """A cap that falls when calls take longer than usual or fail for overload, and grows again.

    Judged once a round: 32 calls and one round trip at least, and only if at least half of the cap is in flight. Above
    twice the usual latency the cap falls, by a tenth at most; below one and a half it grows by a tenth, at least by 1.
    An overloaded call cuts it to 0.7 of itself if it began after the last such cut and a fifth of the latest calls were
    overloaded too: four in a row.

    Args:
        most: where it starts, and what it never exceeds.
        floor: what it never falls below, `most` if that is less.
    """

    def __init__(self, most: int, *, floor: int = 4) -> None:
        self._most = most
        self._floor = min(floor, most)
        self._cap = float(most)
        self._recent = self._long = 0.0
        self._rounds = 0
        self._count = 0
        self._log_sum = 0.0
        self._round_from_ms = -math.inf
        self._overload_share = 0.0
        self._cut_at_ms = -math.inf

    @property
    def calls(self) -> int:
        """The cap now."""
        return int(self._cap)

    @property
    def usual_ms(self) -> float:
        """The latency that counts as usual; 0 while none is known."""
        return math.exp(self._long) if self._rounds else 0.0

    def ended(self, latency_ms: float, *, is_overload: bool, in_flight: int, now_ms: float) -> None:
        """A call ended; `in_flight` counts it still. An overloaded call's latency tells nothing: a 503 may be fast."""
        self._overload_share += _OVERLOAD_WEIGHT * (is_overload - self._overload_share)
        if is_overload:
            if self._overload_share >= _OVERLOAD_SHARE and now_ms - latency_ms >= self._cut_at_ms:
                self._cut_at_ms = now_ms
                self._set(self._cap * _OVERLOAD_FALL)
                self._begin_round(now_ms)
            return
        if self._round_from_ms == -math.inf:
            self._begin_round(now_ms - latency_ms)
        least_ms, most_ms = _LATENCIES_MS
        self._log_sum += math.log(min(max(least_ms, latency_ms), most_ms))
        self._count += 1
        elapsed_ms = now_ms - self._round_from_ms
        if self._count >= _CALLS_OF_A_ROUND and elapsed_ms >= math.exp(self._log_sum / self._count):
            self._end_round(elapsed_ms, is_busy=in_flight * 2 >= self._cap)
            self._begin_round(now_ms)

    def _begin_round(self, now_ms: float) -> None:
        self._round_from_ms, self._count, self._log_sum = now_ms, 0, 0.0

    def _end_round(self, elapsed_ms: float, *, is_busy: bool) -> None:
        latency = self._log_sum / self._count
        self._recent = (self._recent + latency) / 2 if self._rounds else latency
        self._rounds += 1
        self._learn(elapsed_ms, is_busy=is_busy)
        if not is_busy or self._rounds <= _FIRST_ROUNDS:
            return
        climb = math.exp(self._recent - self._long)
        if climb > _FALLS_ABOVE:
            gradient = max(_MOST_FALL, _FALLS_ABOVE / climb)
            self._set(self._cap * (1 - _SMOOTHING * (1 - gradient)))
        elif climb < _GROWS_BELOW:
            self._set(self._cap + max(1.0, self._cap * _GROWTH))

    def _learn(self, elapsed_ms: float, *, is_busy: bool) -> None:
        """Let the long average follow: up slowly, and slower still while it is our own calls that queue there.

        Of the calls that begin together the fast ones end first, so the first rounds show less than what is usual.
        """
        if self._rounds <= _FIRST_ROUNDS:
            self._long = max(self._long, self._recent) if self._rounds > 1 else self._recent
            return
        ms = min(elapsed_ms, _LONG_MS)
        is_held_back = is_busy and self._floor < self.calls < self._most
        rise_per_ms = _RISE_WHILE_HELD_BACK_PER_MS if is_held_back else _RISE_PER_MS
        step = (self._recent - self._long) * -math.expm1(-ms / _LONG_MS)
        self._long += min(max(step, -ms * _SINK_PER_MS), ms * rise_per_ms)

    def _set(self, cap: float) -> None:
        self._cap = min(max(cap, self._floor), self._most)
