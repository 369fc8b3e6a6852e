"""Faults that can be switched on while the sandbox runs: what is drawn for a request, and how one is asked for."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from random import Random
from typing import Any, Literal, get_args

Kind = Literal[
    "latency",
    "throttle",
    "http_503",
    "close_before",
    "close_after",
    "timeout_after",
    "slow_headers",
    "half_answer",
    "garbage",
    "html_502",
    "redirect",
    "business",
]
_AFTER_EFFECT = ("close_after", "timeout_after", "slow_headers", "half_answer")
_EITHER = ("throttle", "http_503", "garbage", "html_502", "redirect", "business")
MAX_WAIT_MS = 120_000


@dataclass(slots=True, kw_only=True)
class Fault:
    """A rule that spoils requests which have passed the signature check.

    Attributes:
        kind: `latency` only waits. `close_before` does nothing and hangs up; `close_after` and `timeout_after` do what
            was asked and never say so; `half_answer` and `slow_headers` do it and break off in the middle of the
            answer, or send its head so slowly that it takes `hold_ms`. The others give another answer than the true
            one: `throttle`, `http_503`, `html_502` (a page of a proxy), `garbage` (HTTP 200 and no JSON), `redirect`
            (HTTP 302 to the health page) and `business` (HTTP 200 and `code`).
        after_effect: Whether such another answer is given after what was asked has been done.
        code: The Code of a `business` fault.
        probability: Share of matching requests it meets, 0 to 1.
        count: How many requests it may still meet; None is no end.
        action: The one action it meets; None is all.
        latency_ms: Wait before the answer or the hang-up.
        retry_after_ms: `x-acs-retry-after` of a `throttle`; None leaves it to the configuration.
        hold_ms: How long a `timeout_after` or `slow_headers` takes if the client does not give up first.
        applied: How many requests it has met.
        id: Given when it is switched on.
    """

    kind: Kind
    probability: float = 1.0
    count: int | None = None
    action: str | None = None
    latency_ms: int = 0
    retry_after_ms: int | None = None
    hold_ms: int = MAX_WAIT_MS
    after_effect: bool = False
    code: str | None = None
    applied: int = 0
    id: int = 0

    @property
    def has_effect(self) -> bool:
        """Whether what was asked is done all the same."""
        return self.after_effect or self.kind in _AFTER_EFFECT


class Faults:
    """The faults switched on, oldest first."""

    def __init__(self, *, seed: int) -> None:
        self._faults: list[Fault] = []
        self._ids = count(1)
        # Repeatable draws are the point of a seed.
        self._random = Random(seed)  # noqa: S311

    def add(self, fault: Fault) -> int:
        fault.id = next(self._ids)
        self._faults.append(fault)
        return fault.id

    def clear(self) -> int:
        """Switch all off; how many there were."""
        removed = len(self._faults)
        self._faults.clear()
        return removed

    def as_list(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def draw(self, action: str) -> tuple[int, Fault | None]:
        """Waiting time in milliseconds, and the fault that decides this request's fate, if one does."""
        wait_ms, fate = 0, None
        for fault in self._meeting(action):
            if fault.kind == "latency" or fate is None:
                _use(fault)
                wait_ms += fault.latency_ms
                fate = fate if fault.kind == "latency" else fault
        return wait_ms, fate

    def _meeting(self, action: str) -> Iterator[Fault]:
        for fault in self._faults:
            matches = fault.action in {None, action} and fault.count != 0
            if matches and self._random.random() < fault.probability:
                yield fault


def _use(fault: Fault) -> None:
    fault.applied += 1
    if fault.count is not None:
        fault.count -= 1


def parse_fault(payload: object, actions: Container[str]) -> Fault:
    """Read a fault from decoded JSON: an object with `kind` and any of the settings of `Fault`.

    Raises:
        ValueError: A field is unknown or out of range; the message names it and says what would do.
    """
    if not isinstance(payload, dict):
        # A bad body is one kind of error to whoever sent it.
        raise ValueError(  # noqa: TRY004
            f"body: send a JSON object with a kind, one of {', '.join(get_args(Kind))}"
        )
    unknown = sorted(set(payload) - _CHECKS.keys())
    if unknown:
        raise ValueError(f"{unknown[0]}: not a field of a fault; use {', '.join(_CHECKS)}")
    for name, (is_good, wanted) in _CHECKS.items():
        if (name in payload or name == "kind") and not is_good(payload.get(name)):
            raise ValueError(f"{name}: must be {wanted}, not {payload.get(name)!r}")
    fault = Fault(**payload)
    _check_sense(fault, actions)
    return fault


def _check_sense(fault: Fault, actions: Container[str]) -> None:
    if fault.action is not None and fault.action not in actions:
        raise ValueError(f"action: {fault.action!r} is not an action of this sandbox; name one, or null for all")
    if fault.kind == "latency" and not fault.latency_ms:
        raise ValueError("latency_ms: a latency fault needs one, e.g. 500")
    if (fault.kind == "business") != bool(fault.code):
        raise ValueError("code: a business fault needs one, e.g. isp.SYSTEM_ERROR, and no other fault has any")
    if fault.after_effect and fault.kind not in _EITHER:
        raise ValueError(f"after_effect: only for {', '.join(_EITHER)}")


def _is_whole(value: object, low: int, high: int) -> bool:
    # JSON's true is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


_CHECKS: Mapping[str, tuple[Any, str]] = {
    "kind": (lambda value: value in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
    "probability": (_is_share, "a number from 0 to 1"),
    "count": (lambda value: value is None or _is_whole(value, 1, 10**9), "a whole number above 0, or null for no end"),
    "action": (lambda value: value is None or isinstance(value, str), "the name of an action, or null for all"),
    "latency_ms": (lambda value: _is_whole(value, 0, MAX_WAIT_MS), f"milliseconds from 0 to {MAX_WAIT_MS}"),
    "retry_after_ms": (
        lambda value: value is None or _is_whole(value, 1, MAX_WAIT_MS),
        f"milliseconds from 1 to {MAX_WAIT_MS}, or null",
    ),
    "after_effect": (lambda value: isinstance(value, bool), "true or false"),
    "code": (lambda value: isinstance(value, str), "a Code, e.g. isp.SYSTEM_ERROR"),
    "hold_ms": (lambda value: _is_whole(value, 1, MAX_WAIT_MS), f"milliseconds from 1 to {MAX_WAIT_MS}"),
}
