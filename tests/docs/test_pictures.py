"""What some pages only show is what is printed, sent, set and begun."""

import re
from itertools import chain
from pathlib import Path

import yaml

from worker.callbacks.signature import new_key, signature_headers

from .pages import ROOT, blocks
from .shells import ThisProcess


def shown(page: str, beginning: str) -> list[str]:
    (text,) = [block.text for block in blocks(page) if block.text.startswith(beginning)]
    return text.splitlines()


def test_the_check_of_a_file_prints_what_the_page_shows(tmp_path: Path) -> None:
    picture = shown("docs/batch-input.md", "renumber.csv: CSV")
    rows = [
        "SubsId;SecretNo;指定城市",
        *(f"1000000768798{n};17000000001;上海" for n in range(100, 110)),
        "1000000768798100;17000000001;上海",
        *(f"100000076879{n};1.7E+10;北京" for n in range(20, 23)),
        ";;",
    ]
    (tmp_path / "renumber.csv").write_bytes("\n".join(rows).encode("gb18030"))
    ended = ThisProcess(tmp_path).run("axn batch check renumber.csv --op rebind --pool-key FC1")
    assert ended.status == 2

    def form(lines: list[str]) -> list[str]:
        return [re.sub(r"\d+", "N", line.partition(";")[0] if "scientific" in line else line).strip() for line in lines]

    assert form(ended.out.splitlines()) == form(picture)


def test_the_head_of_a_callback_has_the_headers_that_are_sent() -> None:
    told = [line.partition(":")[0] for line in shown("docs/callbacks.md", "POST /axn")[1:]]
    sent = signature_headers(webhook_id="k1-1", unix_s=1, body=b"{}", keys=[new_key(is_ed25519=False)])
    assert set(sent) < set(told)
    assert set(told) - set(sent) == {"content-type"}


def test_the_settings_of_a_server_are_those_of_our_own() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    command = " ".join(compose["services"]["redis"]["command"])
    assert [line for line in shown("docs/redis.md", "appendonly yes") if f"--{line.strip()}" not in command] == []


def test_the_spans_of_a_trace_are_those_that_the_engine_begins() -> None:
    picture = "\n".join(shown("docs/traces.md", "checkout  "))
    sources = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("worker", "tasks"))
    began = r'(?:begin|step|root|span)\(\s*"(axn\.\w+)"'
    in_code = set(chain.from_iterable(re.findall(began, path.read_text(encoding="utf-8")) for path in sources))
    assert set(re.findall(r"axn\.\w+", picture)) == in_code
