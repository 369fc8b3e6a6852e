"""What the verdict of a soak finds, each time in a soak made for it."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.histories import Record, Submission
from tests.chaos.orders import Order, OrderBook
from tests.chaos.soak.load import KEPT_FOR_S, Load, beijing
from tests.chaos.soak.samples import Sample, Samples, kind_of
from tests.chaos.soak.verdict import (
    Book,
    judge_book,
    redis_findings,
    residue_findings,
    trend_findings,
    trends,
)
from tests.chaos.soak.watch import Followed, Retention

_ENDED_S = 1_790_000_000
_EXPIRES = beijing(_ENDED_S + 120)
Change = Callable[[dict[str, Any]], None]


def followed(order: Order, state: str, may_end: str, **record: Any) -> Followed:
    submission = Submission(order.order, f"k-{order.order}", _ENDED_S * 1000, may_end=frozenset(may_end.split()))
    return Followed(order, submission, Record(state, finished_at=_ENDED_S * 1000, **record))


def bound(name: str, number: int) -> Followed:
    order = Order(name, {"phone_no_a": f"1380000000{number}"})
    return followed(order, "bound", "bound in_doubt", phone_no_x=f"X{number}", subs_id=f"{number}")


def shown(name: str, number: int, **other: Any) -> dict[str, Any]:
    return {
        "OutOrderId": name, "PhoneNoX": f"X{number}", "SubsId": f"{number}", "PhoneNoA": f"1380000000{number}",
        "ExpireDate": _EXPIRES, "ended": "expired",
    } | other  # fmt: skip


def a_sound_soak() -> dict[str, Any]:
    """A bind left alone, one that was moved, one that was ended, and one that was kept."""
    load = Load(OrderBook("s", random.Random(1), iter(())), random.Random(1), [])
    names = ("plain", "moved", "ended", "kept")
    load.first_expirations = dict.fromkeys(names, _EXPIRES)
    load.kept = {"kept"}
    binds = [bound(name, number) for number, name in enumerate(names)]
    move = Order("moved-update", {"out_order_id": "moved", "phone_no_a": "13700000001"}, kind="update")
    end = Order("ended-unbind", {"out_order_id": "ended"}, kind="unbind")
    return {
        "load": load,
        "followed": [*binds, followed(move, "updated", "updated"), followed(end, "unbound", "unbound")],
        "shown": [
            shown("plain", 0),
            shown("moved", 1, PhoneNoA="13700000001"),
            shown("ended", 2, ended="unbound"),
            shown("kept", 3, ExpireDate=beijing(_ENDED_S + KEPT_FOR_S)),
        ],
    }


def put(place: int, **fields: Any) -> Change:
    return lambda soak: soak["shown"][place].update(fields)


def without_record(place: int) -> Change:
    def change(soak: dict[str, Any]) -> None:
        soak["followed"][place] = replace(soak["followed"][place], record=None)

    return change


def test_a_sound_soak_has_no_broken_promise() -> None:
    violations, states = judge_book(Book(**a_sound_soak()))
    assert not violations
    assert states == {"bound": 4, "updated": 1, "unbound": 1}


@pytest.mark.parametrize(
    ("kind", "text", "change"),
    [
        ("lost", "there is no record", without_record(0)),
        ("lost", "there is no record", without_record(4)),
        ("doubled", "bound 2 times", lambda soak: soak["shown"].append(shown("plain", 9))),
        ("wrong", "no such live binding", put(0, PhoneNoX="X7")),
        ("wrong", "no such live binding", put(0, ended="unbound")),
        ("wrong", "which no producer was told", lambda soak: soak["shown"].append(shown("stranger", 9))),
        ("wrong", "not as the row wants it", put(1, PhoneNoA="13800000001")),
        ("wrong", "the binding is live", put(2, ended="expired")),
        ("lost", "130 s before", put(3, ExpireDate=_EXPIRES)),
        ("wrong", "120 s more", put(3, ExpireDate=beijing(_ENDED_S + KEPT_FOR_S + 120))),
    ],
)
def test_each_broken_promise_is_found(kind: str, text: str, change: Change) -> None:
    soak = a_sound_soak()
    change(soak)
    violations, _ = judge_book(Book(**soak))
    assert any(one.kind == kind and text in one.text for one in violations), violations


def run_of(figures: Callable[[float], dict[str, float]]) -> Samples:
    return Samples([Sample(float(at), figures(at)) for at in range(0, 1_200, 5)])


@pytest.mark.parametrize(
    ("figures", "broken"),
    [
        (lambda at: {"worker-batch#1 rss MiB": 90.0, "worker-batch#1 fds": 40.0, "redis clients": 20.0}, set()),
        (lambda at: {"worker-batch#1 rss MiB": 90 + at / 30, "worker-batch#1 fds": 40.0}, {"rss MiB"}),
        (lambda at: {"worker-batch#1 fds": 40 + at // 20}, {"fds"}),
        (lambda at: {"worker-batch#1 threads": 20 + at // 200}, {"threads"}),
        (lambda at: {"redis clients": 20 + at // 10}, {"redis clients"}),
        (lambda at: {"redis bytes per record": 1_500 + at}, {"redis bytes per record"}),
        # A process that is started again begins anew.
        (lambda at: {f"worker-batch#{at // 240} rss MiB": 90 + at % 240 / 100}, set()),
        (lambda at: {f"worker-batch#{at // 240} rss MiB": 90 + at % 240 / 8}, {"rss MiB"}),
    ],
)
def test_what_grows_is_named(figures: Callable[[float], dict[str, float]], broken: set[str]) -> None:
    found = trend_findings(trends(run_of(figures), warm_up_s=60, records_from_s=300, until_s=1_200))
    assert {finding.name for finding in found if not finding.is_good} == broken
    assert found


@pytest.mark.parametrize(
    ("keys", "allowed", "aof", "base", "broken"),
    [
        (10_000, 10_000, 30, 20, set()),
        (10_000, 9_000, 30, 20, {"records of jobs"}),
        (10_000, 10_000, 200, 20, {"append-only file"}),
        (10_000, 10_000, 200, 80, set()),
    ],
)
def test_redis_is_held_against_what_has_to_be_there(
    keys: float, allowed: float, aof: float, base: float, broken: set[str]
) -> None:
    figures = {"keys job": keys, "records allowed": allowed, "aof MiB": aof, "aof base MiB": base}
    findings = redis_findings(run_of(lambda _: figures))
    assert {finding.name for finding in findings if not finding.is_good} == broken


@pytest.mark.parametrize(("binding_ends_s", "until_s"), [(0, 1_110), (900, 1_110), (1_100, 1_225)])
def test_a_record_stays_for_its_job_s_time_or_until_its_binding_is_swept(binding_ends_s: int, until_s: int) -> None:
    stays = Retention(result_s=90, binding_s=15, swept_s=90, slack_s=20)
    assert stays.until_s(1_000, binding_ends_s) == until_s


@pytest.mark.parametrize(
    ("left", "in_doubt", "broken"),
    [
        ({"keys receiver": 5, "keys timetable": 16}, 0, set()),
        ({"keys job": 40, "entries in_doubt": 40}, 40, set()),
        ({"keys job": 41}, 40, {"records left"}),
        ({"keys job": 300}, 0, {"left: keys job", "records left"}),
        ({"keys job": 1}, 2, {"records left"}),
        ({"keys callback": 17}, 0, {"left: keys callback"}),
        ({"entries binding_index": 400}, 0, {"left: entries binding_index"}),
        ({"queue checkout": 30}, 0, {"left: queue checkout"}),
        ({"entries failed": 36}, 0, set()),
        ({"entries failed": 37}, 0, {"left: entries failed"}),
        ({"unacked": 140}, 0, set()),
        ({"unacked": 160}, 0, {"left: unacked"}),
        ({"redis used MiB": 30}, 0, {"redis memory left"}),
    ],
)
def test_nothing_is_left_but_what_waits_for_a_person(left: dict[str, float], in_doubt: int, broken: set[str]) -> None:
    findings = residue_findings(
        {"redis used MiB": 2.0}, {"redis used MiB": 4.0, **left}, in_doubt=in_doubt, failed=20, deaths=2
    )
    assert {finding.name for finding in findings if not finding.is_good} == broken


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("axn1:{p07}:job:k01234567890123456789abcdef", "job"),
        ("axn1:{p07}:callback:k0123-1", "callback"),
        ("axn1:{p00}:timetable", "timetable"),
        ("axn1:{p11}:line:127.1.0.3", "line"),
        ("axn1:{receiver:127.1.0.3}", "receiver"),
        ("axn1:{receiver:127.1.0.3}:places", "receiver:places"),
        ("axn1:{pace:testid}:BindAxn:schedule", "pace"),
        ("axn1:{presences}", "presences"),
        ("axn1:progress", "axn1:progress"),
        ("_kombu.binding.axn.checkout", "_kombu.binding.axn.checkout"),
    ],
)
def test_keys_are_counted_by_kind(key: str, kind: str) -> None:
    assert kind_of(key) == kind
