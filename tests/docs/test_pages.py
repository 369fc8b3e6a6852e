"""The pages name nothing that is not there, and no command of theirs goes unseen."""

import re
from typing import Any

import pytest

from worker.errors import SettingsError

from .checks import NotThereError, axn_words, check_axn, check_make, variables
from .exceptions import NOT_RUN, RUN_ELSEWHERE, SHOWN, elsewhere, reason_not_to_run
from .pages import PAGES, ROOT, Command, anchors, blocks, commands, inline_codes, links, text_of
from .play import PLAYED, of_command
from .stage import AFTER, GIVEN, PREPARE, QUICKER, STATUSES

PLACES = re.compile(r"(?:worker|tasks|tests|benchmarks|docs|ops)/[\w./*-]*\w")


def commands_of(page: str) -> list[Command]:
    return [command for block in blocks(page) if block.has_commands for command in commands(block)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_here_or_has_its_reason(page: str) -> None:
    unseen = [
        f"{block}: {block.first_line}"
        for block in blocks(page)
        if not (block.has_commands or (block.is_python and page in PLAYED) or elsewhere(block))
    ]
    assert unseen == [], "neither commands nor Python; if it is only shown, tests/docs/exceptions.py says by which test"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one(page: str) -> None:
    assert [fault for command in commands_of(page) if (fault := _fault_of(command))] == []


def _fault_of(command: Command) -> str:
    try:
        if excepted := reason_not_to_run(command):
            excepted.check(command.text)
        for part in command.text.split("|"):
            if part.strip().startswith("axn "):
                check_axn(axn_words(part.strip()))
    except (NotThereError, SettingsError) as wrong:
        return f"{command}: {wrong}"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_every_command_within_prose_is_one(page: str) -> None:
    for code in inline_codes(page):
        if code.startswith("axn "):
            check_axn(axn_words(code.replace("…", "")), is_whole=False)
        if code.startswith("make "):
            check_make(code)


@pytest.mark.parametrize("page", PAGES)
def test_every_variable_is_a_setting(page: str) -> None:
    named = re.findall(r"\bAXN_[A-Z_]+[…*]?", text_of(page))
    beginnings = {name[:-1] for name in named if name[-1] in "…*"}
    assert {name for name in named if name[-1] not in "…*"} - variables() == set()
    assert {text for text in beginnings if not any(name.startswith(text) for name in variables())} == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        if not link.startswith("https://") and not (
            target.exists() and (not anchor or anchor in anchors(str(target.relative_to(ROOT))))
        ):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = {place for code in inline_codes(page) if (place := code.rstrip("/")) and PLACES.fullmatch(place)}
    assert [name for name in named if not any(ROOT.glob(name))] == []


def test_every_page_is_found_from_the_readme() -> None:
    found, todo = set[str](), ["README.md"]
    while todo:
        page = todo.pop()
        found.add(page)
        near = {((ROOT / page).parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link}
        named = {ROOT / code for code in inline_codes(page)}
        todo += [name for path in near | named if path.is_file() and (name := str(path.relative_to(ROOT))) in PAGES
                 and name not in found and name not in todo]  # fmt: skip
    assert set(PAGES) - found == set()


@pytest.mark.parametrize("test", sorted({*RUN_ELSEWHERE.values(), *SHOWN.values()}))
def test_a_test_that_has_a_block_speaks_of_its_page(test: str) -> None:
    source = (ROOT / test).read_text(encoding="utf-8")
    pages = [page for (page, _), named in [*RUN_ELSEWHERE.items(), *SHOWN.items()] if named == test]
    assert [page for page in pages if page.rpartition("/")[2] not in source] == []


def test_no_exception_is_left_over() -> None:
    everywhere = [command for page in PAGES for command in commands_of(page)]
    assert [
        one.pattern for one in NOT_RUN if not any(re.match(one.pattern, command.text) for command in everywhere)
    ] == []
    everything = [block for page in PAGES for block in blocks(page)]
    assert set(RUN_ELSEWHERE) <= {(block.page, block.language) for block in everything}
    for page, beginning in SHOWN:
        assert any(block.page == page and block.text.startswith(beginning) for block in everything), beginning
    by_command: list[dict[tuple[str, str], Any]] = [PREPARE, STATUSES, GIVEN]
    for table in by_command:
        for key in table:
            assert any(of_command({key: True}, command) for command in everywhere), key
    assert set(AFTER) <= set(PLAYED)
    assert [words for words in QUICKER if not any(command.text.startswith(words) for command in everywhere)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        "axn unbnd JOB_ID",
        "axn bind --phone-no 13900001234",
        "axn job show --jsn ID",
        "axn pace set BindAxn",
        "axn nothing",
    ],
)
def test_a_command_that_is_none_is_seen(wrong: str) -> None:
    with pytest.raises(NotThereError):
        check_axn(axn_words(wrong))


@pytest.mark.parametrize("name", ["path", "states"])
def test_a_diagram_shows_what_its_source_says(name: str) -> None:
    source = (ROOT / f"docs/diagrams/{name}.dot").read_text(encoding="utf-8")
    drawn = re.sub(r"&#160;|\s+", " ", (ROOT / f"docs/diagrams/{name}.svg").read_text(encoding="utf-8"))
    drawn = drawn.replace("&#39;", "'")
    labels = [line for label in re.findall(r'label="([^"]+)"', source) for line in label.split("\\n")]
    assert [line for line in labels if f">{' '.join(line.split())}<" not in re.sub(r" +", " ", drawn)] == [], (
        "run `make diagrams`"
    )
    edges = re.findall(r"(\w+) -> (\w+)", source)
    assert [edge for edge in edges if f"<title>{edge[0]}&#45;&gt;{edge[1]}</title>" not in drawn] == []
