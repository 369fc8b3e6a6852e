"""The short form of `make year`: five weeks with a leap day, an outage, a bad day and a step of the clocks."""

from tests.year.report import report_on
from tests.year.scenario import month
from tests.year.year import Year

BINDINGS = 100


def test_no_binding_is_lost_that_could_be_kept_and_every_period_has_one_renewal() -> None:
    run = Year(month(seed=7, bindings=BINDINGS), seed=7)
    report = report_on(run.play(), run.troubles())
    assert report.faults == [], report.text()
    assert report.counts["orders"] == BINDINGS
    assert report.counts["renewals"] > 2.5 * BINDINGS
    assert report.counts["troubles"] == 1
    assert report.counts["rebound"] <= report.counts["lost"] < BINDINGS / 4
