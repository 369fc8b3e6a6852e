"""What only time and settings can tell of a request."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.callbacks.guard import ReceiverRules
from worker.domain.bind_request import BindRequest
from worker.domain.job import Lane, OnDoubt
from worker.domain.job_ids import job_id_for_key
from worker.errors import InvalidRequestError
from worker.intake.acceptance import Acceptance, AcceptanceRules
from worker.ledger.callback_records import CallbackWishes

A = "15000000000"
DAY = 86_400_000
NOW_MS = 1_796_097_600_000  # 2026-12-01 12:00:00 in Shanghai
MINIMUM: dict[str, Any] = {"phone_no_a": A, "expires_in": "2h"}


class StoppedClock:
    """Always the same moment."""

    def unix_ms(self) -> int:
        return NOW_MS

    def monotonic_ms(self) -> float:
        return 0.0

    async def sleep_ms(self, delay_ms: float) -> None:
        raise AssertionError("nothing waits here")


def acceptance(pool_key: str = "FC1", receivers: ReceiverRules | None = None) -> Acceptance:
    rules = AcceptanceRules(pool_key, timedelta(seconds=60), receivers or ReceiverRules())
    return Acceptance(rules, StoppedClock())


def faults_of(given: object, by: Acceptance | None = None) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        (by or acceptance()).parse(given)
    return {fault.field: fault.rule for fault in caught.value.faults}


@pytest.mark.parametrize(
    "near",
    [
        {"expires_in": "120s"},
        {"expires_in": 0},
        {"Expiration": "2026-12-01 12:02:00"},
        {"expiration": "1999-01-01 00:00:00"},
    ],
)
def test_an_expiration_within_the_providers_minimum_and_the_margin_is_refused(near: dict[str, Any]) -> None:
    assert faults_of({"phone_no_a": A, **near}) == {"expiration": "must be more than 120 s ahead"}


@pytest.mark.parametrize(
    "far", [{"expires_in": "121s"}, {"expiration": "2026-12-01 12:02:01"}, {"expires_in": "36525d"}]
)
def test_an_expiration_beyond_both_is_accepted(far: dict[str, Any]) -> None:
    request = acceptance().parse({"phone_no_a": A, **far})
    assert isinstance(request, BindRequest)
    assert request.phone_no_a == A


def test_expires_in_counts_from_now_and_goes_out_in_shanghai_time() -> None:
    assert acceptance().job_of(BindRequest(**MINIMUM)).parameters == {
        "PoolKey": "FC1", "Expiration": "2026-12-01 14:00:00", "PhoneNoA": A,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("renew", "faults"),
    [
        (
            {"until": "2026-12-01 14:00:00"},
            {"renew.until": "must be later than the expiration, or there is nothing to"},
        ),
        ({"for": "2h"}, {"renew.for": "must be longer than the binding's first length"}),
        ({"until": "2026-12-01 14:00:01"}, {}),
        ({"for": "7201s"}, {}),
        ({"while": "open"}, {}),
    ],
)
def test_a_binding_is_kept_for_longer_than_its_first_length(renew: dict[str, str], faults: dict[str, str]) -> None:
    given = {**MINIMUM, "renew": renew}
    if faults:
        found = faults_of(given)
        assert {name: rule[: len(faults.get(name, ""))] for name, rule in found.items()} == faults
    else:
        assert acceptance().parse(given)


def test_a_job_knows_how_its_binding_is_kept_only_if_it_is() -> None:
    kept = acceptance().job_of(BindRequest(**MINIMUM, renew={"for": "30d", "if_gone": "report"}))
    assert kept.renew == f'{{"until":{NOW_MS + 30 * DAY},"extend_by":7200000,"if_gone":"report"}}'
    until = acceptance().job_of(BindRequest(phone_no_a=A, expiration="2026-12-02 12:00:00", renew={"for": "30d"}))
    assert until.renew == f'{{"until":{NOW_MS + 30 * DAY},"if_gone":"rebind_same_x"}}'
    opened = acceptance().job_of(BindRequest(**MINIMUM, renew={"while": "open", "extend_by": "3h"}))
    assert opened.renew == '{"extend_by":10800000,"while":"open","if_gone":"rebind_same_x"}'
    assert "renew" not in acceptance().job_of(BindRequest(**MINIMUM)).pairs()


def test_a_requests_own_pool_key_stands_before_the_settings() -> None:
    assert acceptance().job_of(BindRequest(**MINIMUM, pool_key="FC2")).parameters["PoolKey"] == "FC2"


def test_without_any_pool_key_the_request_is_refused() -> None:
    rule = "is required (or set AXN_POOL_KEY for all requests)"
    assert faults_of(MINIMUM, acceptance(pool_key="")) == {"pool_key": rule}


def test_a_no_type_stands_for_the_pool_key_of_old_accounts() -> None:
    parameters = acceptance(pool_key="").job_of(BindRequest(**MINIMUM, no_type="NO_170")).parameters
    assert parameters == {"Expiration": "2026-12-01 14:00:00", "PhoneNoA": A, "NoType": "NO_170"}


def test_a_binding_without_a_pool_cannot_be_kept() -> None:
    given = {**MINIMUM, "no_type": "NO_170", "renew": {"for": "30d"}}
    assert faults_of(given, acceptance(pool_key=""))["renew"].startswith("needs a pool_key")
    assert acceptance().parse(given)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://shop.example/", "must be https:// (AXN_CALLBACK_ALLOW_HTTP=1 allows http)"),
        ("https://shop.example:22/", "port 22 is not among AXN_CALLBACK_PORTS"),
        *(
            (f"https://{host}/axn", "leads into a private or special network (see AXN_CALLBACK_ALLOW_NETS)")
            for host in (
                "127.0.0.1", "10.1.2.3", "100.100.100.200", "169.254.169.254", "192.168.0.1", "172.31.0.1", "0.0.0.0",
                "[::1]", "[::]", "[::ffff:10.0.0.1]", "[fe80::1]", "[fd00::1]", "[64:ff9b::a00:1]",
            )
        ),
    ],
)  # fmt: skip
def test_a_receiver_that_must_not_be_called_is_refused(url: str, rule: str) -> None:
    assert faults_of({**MINIMUM, "callback_url": url}) == {"callback_url": rule}


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/",
        "https://shop.example:8443/",
        "https://8.8.8.8",
        "https://[::ffff:8.8.8.8]",
        "https://[2606:4700::1]/",
    ],
)
def test_any_public_receiver_is_accepted_and_filed(url: str) -> None:
    assert acceptance().job_of(BindRequest(**MINIMUM, callback_url=url)).callback_url == url


def test_what_the_settings_allow_is_accepted() -> None:
    lax = ReceiverRules(allow_http=True, allow_nets=[ipaddress.ip_network("10.1.0.0/16")], ports=())
    by = acceptance(receivers=lax)
    assert by.parse({**MINIMUM, "callback_url": "http://10.1.2.3:22/"}).callback_url == "http://10.1.2.3:22/"
    assert list(faults_of({**MINIMUM, "callback_url": "http://10.2.2.3:22/"}, by)) == ["callback_url"]


def test_faults_of_form_time_and_settings_are_named_together() -> None:
    given = {"PhoneNoA": "150 0000 0000", "Expiration": "2026-12-01 12:00:30", "lane": "x", "callback_url": "http://h"}
    assert faults_of(given, acceptance(pool_key="")) == {
        "phone_no_a": faults_of({**MINIMUM, "phone_no_a": "x"})["phone_no_a"],
        "lane": "must be 'checkout' or 'batch'",
        "expiration": "must be more than 120 s ahead",
        "pool_key": "is required (or set AXN_POOL_KEY for all requests)",
        "callback_url": "must be https:// (AXN_CALLBACK_ALLOW_HTTP=1 allows http)",
    }


def test_no_field_is_named_twice() -> None:
    given = {"phone_no_a": "x", "expires_in": "soon", "callback_url": "ftp://h", "pool_key": ""}
    with pytest.raises(InvalidRequestError) as caught:
        acceptance(pool_key="").parse(given)
    fields = [fault.field for fault in caught.value.faults]
    assert sorted(fields) == ["callback_url", "expires_in", "phone_no_a", "pool_key"]


@pytest.mark.parametrize("given", [None, [], "x", {1: 2}, {"expires_in": None, "callback_url": 5, "pool_key": []}])
def test_whatever_comes_as_data_is_refused_in_words(given: object) -> None:
    assert faults_of(given)


def test_all_that_an_attempt_needs_is_in_the_job() -> None:
    request = BindRequest(**MINIMUM, lane="batch", on_doubt="rebind", idempotency_key="own", deadline="30s")
    job = acceptance().job_of(request, key="task")
    assert (job.job_id, job.lane, job.on_doubt) == (job_id_for_key("own"), Lane.BATCH, OnDoubt.REBIND)
    assert (job.deadline_in_ms, job.deadline_at_ms, job.digest) == (30_000, None, request.digest())
    moment = BindRequest(**MINIMUM, deadline=datetime(2026, 12, 1, 5, tzinfo=UTC))
    late = acceptance().job_of(moment, key="task")
    assert (late.job_id, late.deadline_in_ms, late.deadline_at_ms) == (job_id_for_key("task"), None, NOW_MS + 3_600_000)


def test_without_a_key_each_job_is_another_with_another_seed() -> None:
    jobs = [acceptance().job_of(BindRequest(**MINIMUM)) for _ in range(2)]
    assert jobs[0].job_id != jobs[1].job_id
    assert jobs[0].seed != jobs[1].seed


def test_a_job_is_made_only_of_a_request_that_may_be_accepted() -> None:
    with pytest.raises(InvalidRequestError, match="expiration: must be more than 120 s ahead"):
        acceptance().job_of(BindRequest(phone_no_a=A, expires_in="1s"))


@pytest.mark.parametrize(
    ("deadline", "told"),
    [
        ("2d", CallbackWishes(deadline_in_ms=172_800_000, order_key="o")),
        (datetime(2026, 12, 1, 5, tzinfo=UTC), CallbackWishes(deadline_at_ms=NOW_MS + 3_600_000, order_key="o")),
    ],
)
def test_the_wishes_for_the_callback_are_the_jobs(deadline: object, told: CallbackWishes) -> None:
    given = {**MINIMUM, "callback_url": "https://h", "callback_order_key": "o", "callback_deadline": deadline}
    assert acceptance().job_of(BindRequest(**given)).callback == told


@pytest.mark.parametrize("past", [0, "2026-12-01T04:00:00Z"])
def test_a_callback_deadline_that_has_passed_is_refused(past: object) -> None:
    given = {**MINIMUM, "callback_url": "https://h", "callback_deadline": past}
    assert faults_of(given) == {"callback_deadline": "must be ahead"}


def test_wishes_for_a_callback_that_nobody_gets_are_refused() -> None:
    rule = "is of no use without callback_url"
    given = {**MINIMUM, "callback_deadline": "2d", "callback_order_key": "o"}
    assert faults_of(given) == {"callback_deadline": rule, "callback_order_key": rule}
