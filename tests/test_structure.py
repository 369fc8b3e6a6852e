"""What prose promises and no type checker sees."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.readme_table import PAGES, tables_in
from worker import __version__
from worker.app import app
from worker.cli.setting_advice import ADVICE, FIRST, GROUPS
from worker.cli.settings import all_settings, settings_table
from worker.domain.job import Lane
from worker.messages import TASK_BIND, TASK_CALLBACKS, TASK_JOBS, TASK_REBIND, TASK_UNBIND, TASK_UPDATE

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "worker").rglob("*.py"), *(ROOT / "tasks").rglob("*.py")])
MOST_LINES = 350


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


def variables() -> set[str]:
    return set(re.findall(r"`(AXN_\w+)`", settings_table()))


def test_every_lane_is_consumed_by_a_compose_service(compose: dict[str, Any]) -> None:
    commands = [service.get("command", []) for service in compose["services"].values()]
    lanes = {lane for command in commands if "--lanes" in command for lane in command[-1].split(",")}
    assert lanes == {lane.value for lane in Lane}


def test_checkout_has_a_worker_of_its_own(compose: dict[str, Any]) -> None:
    assert compose["services"]["worker-checkout"]["command"] == ["worker", "--lanes", "checkout"]


def test_every_variable_of_the_compose_file_is_a_setting() -> None:
    named = set(re.findall(r"\bAXN_[A-Z_]+", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert named
    assert named <= variables()


def test_compose_redis_keeps_what_it_is_told(compose: dict[str, Any]) -> None:
    command = " ".join(compose["services"]["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert "--hash-max-listpack-value 512" in command, "or a job takes twice the memory"


def test_no_compose_service_runs_as_root_or_without_a_health_check(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["user"] not in ("", "root", "0"), name
        assert service["healthcheck"]["test"], name
    assert re.search(r"^USER axn$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_image_has_all_that_only_a_setting_switches_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    in_the_image = re.search(r"^ARG EXTRAS=(\S+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert in_the_image
    assert set(in_the_image[1].split(",")) == set(project["optional-dependencies"]) - {"dev", "embedded"}


def test_the_sandbox_is_only_in_its_profile(compose: dict[str, Any]) -> None:
    assert compose["services"]["sandbox"]["profiles"] == ["sandbox"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_today_s_settings(page: str) -> None:
    assert tables_in(page) == PAGES[page](), "run `make readme`"


def test_every_setting_is_told_when_to_change_it_and_stands_in_a_group() -> None:
    names = [setting.name for setting in all_settings()]
    assert set(ADVICE) == set(names), "worker/cli/setting_advice.py has a line for each setting"
    assert {first for first, _ in GROUPS} | set(FIRST) <= set(names)
    assert GROUPS[0][0] == names[0]
    titled = {first.partition("__")[0] for first, _ in GROUPS if "__" in first}
    assert {name.partition("__")[0] for name in names if "__" in name} == titled, "GROUPS has a title for each prefix"


def test_every_task_is_registered_by_its_name() -> None:
    app.loader.import_default_modules()
    assert {TASK_BIND, TASK_UPDATE, TASK_UNBIND, TASK_REBIND, TASK_JOBS, TASK_CALLBACKS} <= set(app.tasks)


def test_every_lane_has_its_queue_in_the_app() -> None:
    assert {queue.name for queue in app.conf.task_queues} == {lane.queue for lane in Lane}


def test_every_script_says_its_keys_arguments_and_return() -> None:
    scripts = [*resources.files("worker.ledger").joinpath("scripts").iterdir()]
    scripts += resources.files("worker.pace").joinpath("scripts").iterdir()
    assert scripts
    for script in scripts:
        header = script.read_text(encoding="utf-8").partition("\nlocal")[0]
        assert all(word in header for word in ("KEYS[1]", "ARGV[1]", "Returns")), script.name


def test_every_script_has_been_judged_for_being_sent_twice() -> None:
    judged = (ROOT / "docs/decisions/0004-every-redis-call-may-be-resent.md").read_text(encoding="utf-8")
    for script in (ROOT / "worker").rglob("*.lua"):
        assert f"| `{script.stem}` |" in judged


def test_scripts_reach_redis_keys_only_through_keys() -> None:
    for script in (ROOT / "worker").rglob("*.lua"):
        for call in re.findall(r"redis\.call\('(\w+)', ([^,)]+)", script.read_text(encoding="utf-8")):
            assert call[0] == "PUBLISH" or call[1].startswith("KEYS["), (script.name, call)


def test_imports_run_one_way() -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("package", [path for path in SOURCES if path.name == "__init__.py"], ids=str)
def test_package_files_hold_a_docstring_only(package: Path) -> None:
    body = ast.parse(package.read_text(encoding="utf-8")).body
    rest = body[1:]
    if package.parent.name == "tasks":
        rest = [node for node in rest if not isinstance(node, ast.ImportFrom | ast.Assign)]
    if package.parent == ROOT / "worker":
        rest = [node for node in rest if not isinstance(node, ast.Assign)]
    assert not rest


def test_only_one_module_imports_httpx() -> None:
    importers = {path.name for path in SOURCES if re.search(r"^(import|from) httpx", path.read_text(), re.MULTILINE)}
    assert importers == {"http.py"}


def test_modules_stay_short() -> None:
    long = {path.name: lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_the_changelog_names_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
