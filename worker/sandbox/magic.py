"""Magic numbers: an A that chooses what happens to its requests.

An A of the form 1990000NNNN meets the outcome NNNN every time, 1990001NNNN only the first time.
"""

from collections.abc import Mapping

from worker.sandbox.faults import Fault

_ALWAYS, _ONCE = "1990000", "1990001"
_HOLD_MS = 60_000

OUTCOMES: Mapping[str, Fault] = {
    "2001": Fault(kind="business", code="isv.NO_AVAILABLE_NUMBER"),
    "2002": Fault(kind="business", code="isv.BIND_CONFLICT"),
    "2003": Fault(kind="business", code="isv.OUT_OF_SERVICE"),
    "2004": Fault(kind="business", code="isv.FLOW_LIMIT"),
    "2005": Fault(kind="business", code="isp.VENDOR_UNAVAILABLE"),
    "2010": Fault(kind="business", code="isp.SYSTEM_ERROR"),
    "2011": Fault(kind="business", code="isp.SYSTEM_ERROR", after_effect=True),
    "4000": Fault(kind="throttle"),
    "5030": Fault(kind="http_503"),
    "5031": Fault(kind="http_503", after_effect=True),
    "5020": Fault(kind="html_502"),
    "5021": Fault(kind="html_502", after_effect=True),
    "6001": Fault(kind="close_before"),
    "6002": Fault(kind="close_after"),
    "6003": Fault(kind="timeout_after", hold_ms=_HOLD_MS),
    "7001": Fault(kind="half_answer"),
    "7002": Fault(kind="garbage", after_effect=True),
    "7003": Fault(kind="redirect"),
    "7004": Fault(kind="slow_headers", hold_ms=_HOLD_MS),
}


class MagicNumbers:
    """Reads the outcome out of A; remembers which one-time numbers have had theirs."""

    def __init__(self) -> None:
        self._spent: set[str] = set()

    def outcome(self, phone_no_a: str) -> Fault | None:
        """What this request is to meet, if its A is magic."""
        prefix, digits = phone_no_a[:-4], phone_no_a[-4:]
        if prefix == _ONCE and phone_no_a not in self._spent and digits in OUTCOMES:
            self._spent.add(phone_no_a)
            return OUTCOMES[digits]
        return OUTCOMES.get(digits) if prefix == _ALWAYS else None
