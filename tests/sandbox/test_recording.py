"""The record of exchanges: a line each, for its owner only."""

import json
import stat
from pathlib import Path

import pytest

from .conftest import PHONE_A, Start


async def test_every_exchange_is_a_line_of_json(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "exchanges.jsonl"
    sandbox = await start(record=file)
    bound = await sandbox.bind()
    await sandbox.fault(kind="half_answer")
    with pytest.raises(Exception, match="payload"):
        await sandbox.bind()
    first, second = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert (first["method"], first["status"], first["ending"]) == ("POST", 200, "answer")
    assert f"PhoneNoA={PHONE_A}" in first["target"]
    assert first["headers"]["x-acs-action"] == "BindAxn"
    assert json.loads(first["reply_body"])["SecretBindDTO"] == bound
    assert first["unix_s"] == sandbox.clock()
    assert second["ending"] == "half"


async def test_only_the_owner_may_read_the_record_even_if_it_was_there_before(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "exchanges.jsonl"
    file.write_text("earlier\n", encoding="utf-8")
    file.chmod(0o644)
    sandbox = await start(record=file)
    await sandbox.bind()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="utf-8").startswith("earlier\n{")
