"""What the look through all processes' output finds, and what it lets pass."""

from pathlib import Path

import pytest

from tests.chaos.leaks import leaks_in_logs

SOUND = (
    '{"timestamp": "2026-11-24T15:02:07.189Z", "event": "job settled", "job_id": "k13900001234567890123456789", '
    '"code": "SignatureNonceUsed", "request_id": "D5E4A1B2-1234-4A5B-8C6D-139000012345"} 150****0000 axn.bind\n'
    '"request_id": "71FE1BCC-8465-409A-83A6-D13572501107" request_id=D204745F-FCEA-4A5D-981F-17575960429F\n'
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", ""),
        ("of 13900001234\n", "a phone number"),
        ('"15000000000"', "a phone number"),
        ('"order": "71FE1BCC-8465-409A-83A6-D13572501107"', "a phone number"),
        ("request_id=71FE1BCC-13572501107", "a phone number"),
        ('"request_id": "13572501107"', "a phone number"),
        ("key testsecret", "the account's secret"),
        ("whsec_Y2hhb3M6IGRlZmF1bHQga2V5", "a callback key"),
        ('body {"type":"bind.succeeded"', "a callback's body"),
        ("{'phone_no_a': 'x'", "a callback's body"),
        ("Action=BindAxn&Signature=abc", "a signed string"),
        ("POST https://shop.example/axn?order=1", "an address past its host"),
    ],
)
def test_each_kind_of_leak_is_found_where_it_stands(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "worker-checkout.log").write_text(SOUND, encoding="utf-8")
    (tmp_path / "producer-1.log").write_text(f"a line\n{text}", encoding="utf-8")
    found = [str(violation) for violation in leaks_in_logs(tmp_path)]
    assert len(found) == bool(what)
    assert not what or f"{what} stands in producer-1.log, line 2" in found[0]


def test_where_no_worker_tells_anything_nothing_is_shown(tmp_path: Path) -> None:
    (tmp_path / "worker-checkout.log").write_text("started\n", encoding="utf-8")
    (violation,) = leaks_in_logs(tmp_path)
    assert violation.kind == "fault"
