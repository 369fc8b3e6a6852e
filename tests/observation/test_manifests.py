"""What Compose and Kubernetes are told fits what the worker has: lanes, settings, probes, metrics, user."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observation.test_ops import LABELS, NAME
from worker.cli.settings import settings_table
from worker.domain.durations import duration_ms
from worker.domain.job import Lane
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ops/kubernetes"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
MANIFESTS = [one for path in FOLDER.glob("*.yaml") for one in yaml.safe_load_all(path.read_text())]
DEPLOYMENTS = [one for one in MANIFESTS if one["kind"] == "Deployment"]
SETTINGS = set(re.findall(r"`(AXN_\w+)`", settings_table()))
USER = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (one,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(one)


def test_every_lane_is_consumed_and_checkout_by_workers_of_its_own() -> None:
    lanes = [container(deployment)["args"][-1] for deployment in DEPLOYMENTS]
    assert "checkout" in lanes
    assert {lane for listed in lanes for lane in listed.split(",")} == {lane.value for lane in Lane}


def test_every_variable_is_a_setting() -> None:
    told = [one for one in MANIFESTS if one["kind"] in ("ConfigMap", "Secret")]
    names = {name for one in told for name in (one.get("data") or one["stringData"])}
    assert names
    assert names <= SETTINGS


def test_no_secret_is_in_a_manifest() -> None:
    (secret,) = (one for one in MANIFESTS if one["kind"] == "Secret")
    assert set(secret["stringData"].values()) == {""}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["metadata"]["name"])
def test_a_worker_is_probed_where_it_listens_and_may_do_nothing_else(deployment: dict[str, Any]) -> None:
    pod, worker = deployment["spec"]["template"]["spec"], container(deployment)
    (settings,) = (one for one in MANIFESTS if one["kind"] == "ConfigMap")
    ports = {port["name"]: port["containerPort"] for port in worker["ports"]}
    assert settings["data"]["AXN_LISTEN"] == f"0.0.0.0:{ports['metrics']}"
    probes = [worker[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert probes == ["/ready", "/live", "/ready"]
    assert USER is not None
    assert pod["securityContext"]["runAsUser"] == int(USER[1])
    assert worker["securityContext"]["readOnlyRootFilesystem"]
    assert worker["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["terminationGracePeriodSeconds"] * 1000 > 2 * duration_ms(Settings().grace)


def test_what_guards_and_scales_names_workers_that_exist() -> None:
    labels = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in DEPLOYMENTS]
    budgets = [one["spec"]["selector"]["matchLabels"] for one in MANIFESTS if one["kind"] == "PodDisruptionBudget"]
    scaled = [one for one in MANIFESTS if one["kind"] == "ScaledObject"]
    names = [deployment["metadata"]["name"] for deployment in DEPLOYMENTS]
    assert sorted(map(str, budgets)) == sorted(map(str, labels))
    assert sorted(one["spec"]["scaleTargetRef"]["name"] for one in scaled) == sorted(names)
    for one in scaled:
        assert set(NAME.findall(one["spec"]["triggers"][0]["metadata"]["query"])) <= set(LABELS)


def test_the_kustomization_lists_all_but_the_secret() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml", "secret.example.yaml"]) == sorted(p.name for p in FOLDER.iterdir())


def test_what_compose_mounts_is_there_and_prometheus_asks_the_port_that_workers_listen_at() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file()
    (scrape,) = yaml.safe_load((ROOT / "ops/prometheus.yml").read_text())["scrape_configs"][0]["dns_sd_configs"]
    worker = COMPOSE["services"]["worker-checkout"]
    assert worker["environment"]["AXN_LISTEN"] == f"0.0.0.0:{scrape['port']}"
    assert set(scrape["names"]) <= set(COMPOSE["services"])
