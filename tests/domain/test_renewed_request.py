"""The field `renew`: its forms, and faults that name its parts and what would have been right."""

from typing import Any

import pytest

from worker.domain.bind_request import BindRequest
from worker.domain.renewal import IfGone, RenewalPolicy
from worker.errors import InvalidRequestError

DAY = 86_400_000
MINIMUM: dict[str, Any] = {"phone_no_a": "15000000000", "expires_in": "2h"}
ONE_OF = "must give exactly one of until, for and while"


@pytest.mark.parametrize(
    ("renew", "policy"),
    [
        ({"while": "open"}, RenewalPolicy()),
        ('{"while": "open"}', RenewalPolicy()),
        ({"until": "2027-01-01 08:00:00"}, RenewalPolicy(until_ms=1_798_761_600_000)),
        ({"until": "2027-01-01T00:00:00Z"}, RenewalPolicy(until_ms=1_798_761_600_000)),
        (
            {"for": "30d", "extend_by": "1d", "lead": "12h", "if_gone": "report"},
            RenewalPolicy(for_ms=30 * DAY, extend_by_ms=DAY, lead_ms=DAY // 2, if_gone=IfGone.REPORT),
        ),
        ({"for": "0.5ms"}, RenewalPolicy(for_ms=1)),
    ],
)
def test_a_wish_becomes_a_policy(renew: Any, policy: RenewalPolicy) -> None:
    request = BindRequest(**MINIMUM, renew=renew)
    assert request.renew is not None
    assert request.renew.policy == policy


@pytest.mark.parametrize(
    ("renew", "faults"),
    [
        ("x", {"renew": 'must be a mapping: {"until": …}, {"for": "30d"} or {"while": "open"}'}),
        ([], {"renew": "must be a mapping"}),
        ({1: "x"}, {"renew": "must be a mapping"}),
        ({}, {"renew": ONE_OF}),
        ({"extend_by": "1d"}, {"renew": ONE_OF}),
        ({"while": "open", "for": "1d"}, {"renew": ONE_OF}),
        ({"while": "shut"}, {"renew.while": "must be 'open'"}),
        (
            {"for": "x", "if_gone": "pray"},
            {"renew.for": "must be a span", "renew.if_gone": "must be 'rebind_same_x', "},
        ),
        ({"until": "tomorrow"}, {"renew.until": 'must be "YYYY-MM-DD HH:MM:SS" (Asia/Shanghai)'}),
        ({"while": "open", "extend_by": "119s"}, {"renew.extend_by": "must be at least 120 s"}),
        ({"while": "open", "lead": 0}, {"renew.lead": "must be more than 0 s"}),
        ({"while": "open", "extend_by": "2h", "lead": "61m"}, {"renew.lead": "must be at most half of extend_by"}),
        ({"whiel": "open"}, {"renew.whiel": "is no part of renew; did you mean while?"}),
        ({"15012345678": 1}, {"renew.150****5678": "is no part of renew: it is {"}),
    ],
)
def test_faults_name_the_part_and_the_rule(renew: Any, faults: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        BindRequest(**MINIMUM, renew=renew)
    found = {fault.field: fault.rule for fault in caught.value.faults}
    assert {name: rule[: len(faults.get(name, ""))] for name, rule in found.items()} == faults


def test_equal_wishes_have_equal_digests_and_a_default_that_is_named_changes_none() -> None:
    plain, named = ({"for": "30d"}, {"for": "720h", "if_gone": "rebind_same_x"})
    assert BindRequest(**MINIMUM, renew=plain).digest() == BindRequest(**MINIMUM, renew=named).digest()
    assert BindRequest(**MINIMUM, renew=plain).digest() != BindRequest(**MINIMUM, renew={"for": "31d"}).digest()
