"""What all the processes of a run have written, looked through for what must not stand in a log."""

import re
from pathlib import Path

from tests.chaos.checker import FAULT, WRONG, Violation
from tests.chaos.system import KEY_SECRET

_LEAKS = {
    "a phone number": re.compile(r"(?<![0-9a-z])1[3-9]\d{9}(?![0-9a-z])"),
    "the account's secret": re.compile(re.escape(KEY_SECRET)),
    "a callback key": re.compile(r"\bwh(?:sec|sk)_[A-Za-z0-9+/]{8}"),
    "a callback's body": re.compile(
        r"""["'](?:phone_no_[ax]|data|subs_id)\\?["']\s*:|\bbind\.(?:succeeded|failed|in_doubt)"""
    ),
    "a signed string": re.compile(r"Signature=|SignatureNonce=|webhook-signature|ACS3-HMAC|\bv1,[A-Za-z0-9+/]{8}"),
    "an address past its host": re.compile(r"https?://[^/\s\"']+/(?!_sandbox)[^\s\"',]*\?"),
}
_REQUEST_ID = re.compile(r'request_id(?:": "|=)[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12}\b')
"""The provider's random UUID in its own field, whose last part may happen to be eleven digits."""
_WORKERS_LINE = '"event": "job settled"'


def leaks_in_logs(folder: Path) -> list[Violation]:
    """A broken promise for each kind of leak in each process's output; and where no worker has told of any job."""
    found = []
    settled = 0
    for path in sorted(folder.iterdir()):
        text = path.read_text(encoding="utf-8", errors="replace")
        settled += text.count(_WORKERS_LINE) if path.name.startswith("worker") else 0
        text = _REQUEST_ID.sub("request_id", text)
        for what, pattern in _LEAKS.items():
            if leak := pattern.search(text):
                line = text[: leak.start()].count("\n") + 1
                found.append(Violation("L1", WRONG, "-", f"{what} stands in {path.name}, line {line}"))
    if not settled:
        found.append(
            Violation("F0", FAULT, "-", "no worker's log tells of a settled job: nothing shows what logs hold")
        )
    return found
