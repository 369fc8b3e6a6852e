"""The dashboard and the alerts ask for metrics that exist, by labels that they have; each alert has its runbook."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from worker.observation.meters import Meters

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "ops/dashboard.json").read_text())
RULES = yaml.safe_load((ROOT / "ops/alerts.yml").read_text())["groups"][0]["rules"]
METERS = [meter for meter in vars(Meters()).values() if isinstance(meter, MetricWrapperBase)]
NAME = re.compile(r"\baxn_[a-z_]+")
SELECTOR = re.compile(r"(axn_[a-z_]+)\{([^}]*)\}")


def names_of(meter: MetricWrapperBase) -> set[str]:
    (family,) = meter.describe()
    name, kind = family.name, family.type
    if isinstance(meter, Histogram):
        return {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return {f"{name}_total"} if kind == "counter" else {name}


LABELS = {name: {*meter._labelnames, "instance", "le"} for meter in METERS for name in names_of(meter)}


def expressions() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for rule in RULES]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_exists(expression: str) -> None:
    asked = set(NAME.findall(expression))
    assert asked
    assert asked <= set(LABELS)
    (grouped,) = re.findall(r"by \(([^)]*)\)", expression) or [""]
    for name in asked:
        assert set(filter(None, grouped.split(", "))) <= LABELS[name]
    for name, selector in SELECTOR.findall(expression):
        assert set(re.findall(r"(\w+)=", selector)) <= LABELS[name]


def test_every_metric_is_shown_or_watched() -> None:
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    missing = [meter for meter in METERS if not names_of(meter) & asked]
    assert [family.name for meter in missing for family in meter.describe()] == []


def test_every_alert_has_its_heading_in_the_runbook_and_every_heading_its_alert() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert {rule["annotations"]["runbook"] for rule in RULES} == anchors


def test_metrics_are_named_by_convention() -> None:
    """What `promtool check metrics` looks at: base units at the end, `_total` for counters alone, no unit twice."""
    for meter in METERS:
        (family,) = meter.describe()
        name = family.name
        assert re.fullmatch(r"axn(_[a-z]+)+", name)
        assert family.documentation.endswith(".")
        assert not {"ms", "millis", "milliseconds", "minutes", "hours", "count", "sum", "bucket", "total", "info"} & {
            *name.split("_")
        }
        assert isinstance(meter, Counter | Gauge | Histogram)
        assert isinstance(meter, Histogram) <= name.endswith("_seconds")
        units = [part for part in name.split("_") if part in ("seconds", "bytes", "ratio")]
        assert len(units) <= 1
        assert not units or name.endswith(units[0])
        assert all(re.fullmatch(r"[a-z]+", label) for label in meter._labelnames)


def test_what_is_read_from_redis_is_said_to_be_the_same_from_every_process_and_taken_once() -> None:
    """A sum over processes would count it several times."""
    told = [family for meter in METERS for family in meter.describe()]
    alike = {family.name for family in told if "same from every" in family.documentation}
    assert {"axn_renewals_late", "axn_batches", "axn_bindings_ending_unrenewed", "axn_queue_messages"} <= alike
    for expression in expressions():
        for name in alike & set(NAME.findall(expression)):
            assert re.search(rf"(max|absent)( by \([^)]*\) ?)?\((increase\()?{name}", expression), expression
