"""`axn bindings adopt`, `audit` and `forget`, against a sandbox on the network."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp import web

from tests.local.processes import wait_until
from tests.registry.bench import A
from tests.year.provider import POOL_KEY
from worker.clock import SystemClock
from worker.http import HttpClient
from worker.provider.actions import BindAxn
from worker.provider.api import ProviderApi
from worker.provider.client import ProviderClient
from worker.provider.replies import BoundNumber
from worker.provider.requests import Credentials
from worker.sandbox.admin import GATEWAY
from worker.sandbox.config import SandboxConfig, parse_access_key, parse_pool
from worker.sandbox.faults import Fault
from worker.sandbox.gateway import Gateway
from worker.sandbox.server import build_app

from .conftest import Axn

KEY_ID, SECRET = "id", "secret"


class Elsewhere:
    """The provider, and somebody else who binds there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        config = SandboxConfig(
            pools=(parse_pool(f"{POOL_KEY}=50"),), access_keys=(parse_access_key(f"{KEY_ID}:{SECRET}"),)
        )
        app = build_app(config)
        self.gateway: Gateway = app[GATEWAY]
        self._runner = web.AppRunner(app, access_log=None)
        self._http = HttpClient(max_connections=1, max_answer_bytes=1 << 20, connect_timeout_ms=2_000)
        self.url = self._run(self._start())

    def bound(self, count: int = 1, hours: float = 48.0) -> list[BoundNumber]:
        """Bindings that we know nothing of."""
        return [self._run(self._bind(hours)) for _ in range(count)]

    def asked(self) -> int:
        """How many bindings the provider was asked for."""
        actions: Any = self.gateway.stats.as_dict(time.time())
        return int(actions.get("QuerySubscriptionDetail", {}).get("total", 0))

    def close(self) -> None:
        self._run(self._http.aclose())
        self._run(self._runner.cleanup())

    async def _start(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        client = ProviderClient(
            self._http, endpoint=url, credentials=Credentials(KEY_ID, SECRET), signature_version="v3",
            answer_format="json", total_timeout_ms=5_000, clock=SystemClock(),
        )  # fmt: skip
        self._api = ProviderApi(client)
        return url

    async def _bind(self, hours: float) -> BoundNumber:
        expiration = datetime.now(UTC) + timedelta(hours=hours)
        request = BindAxn(pool_key=POOL_KEY, phone_no_a=A, expiration=expiration)
        reply = await self._api.bind_axn(request)
        assert isinstance(reply.content, BoundNumber), reply.outcome
        return reply.content

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@pytest.fixture
def elsewhere(ledger: "redis.Redis", monkeypatch: pytest.MonkeyPatch) -> Iterator[Elsewhere]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    provider = Elsewhere(loop)
    monkeypatch.setenv("AXN_ENDPOINT", provider.url)
    monkeypatch.setenv("AXN_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AXN_ACCESS_KEY_SECRET", SECRET)
    monkeypatch.setenv("AXN_POOL_KEY", POOL_KEY)
    try:
        yield provider
    finally:
        provider.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def write(path: Path, bindings: list[BoundNumber], *more: str) -> str:
    rows = [f"{binding.subs_id},{binding.secret_no}" for binding in bindings]
    path.write_text("\n".join(["SubsId,X号码", *rows, *more]) + "\n", encoding="utf-8")
    return str(path)


def test_a_file_is_adopted_and_its_bindings_are_renewed_from_now_on(
    axn: Axn, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    file = write(tmp_path / "rentals.csv", elsewhere.bound(3))
    ended = axn("bindings", "adopt", file, "--renew-while-open", "--extend-by", "30d", "--per-second", "1000")
    assert (ended.status, ended.err) == (0, "")
    assert [line for line in ended.out.splitlines() if line.startswith(("adopted", "to be", "bad"))] == [
        "adopted: 3",
        "to be renewed from now on: 3",
        "bad: 0",
    ]
    again = json.loads(axn("bindings", "adopt", file, "--json").out)
    assert (again["adopted"], again["known"], again["kept"], again["bad"]) == (0, 3, 0, 0)
    state = json.loads(axn("renewals", "show", "--json").out)
    assert state["counts"]["kept"] == 3


def test_bad_rows_go_to_a_file_that_can_be_mended_and_given_again(
    axn: Axn, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    good, stranger = elsewhere.bound(2)
    file = write(tmp_path / "rentals.csv", [good], f"{stranger.subs_id},17000000000", "1.0E+15,17000000000")
    ended = axn("bindings", "adopt", file, "--per-second", "1000")
    bad = Path(f"{file}.bad.csv").read_text(encoding="utf-8-sig").splitlines()
    assert ended.status == 2
    assert "adopted: 1" in ended.out
    assert [line.partition(",")[0] for line in bad] == ["bad_line", "4", "3"]
    assert "17000000000" not in ended.out + ended.err
    mended = tmp_path / "mended.csv"
    mended.write_text("\n".join([bad[0], f"3,,{stranger.subs_id},{stranger.secret_no}"]), encoding="utf-8")
    assert axn("bindings", "adopt", str(mended), "--per-second", "1000").status == 0


def test_a_dry_run_asks_nobody(axn: Axn, elsewhere: Elsewhere, tmp_path: Path) -> None:
    file = write(tmp_path / "rentals.csv", elsewhere.bound(1), "x,y")
    ended = axn("bindings", "adopt", file, "--dry-run")
    assert (ended.status, ended.out.splitlines()) == (2, [f"{file}: 2 rows; good: 1; bad: 1"])
    assert not Path(f"{file}.bad.csv").exists()
    assert elsewhere.asked() == 0


def test_a_refused_account_ends_it_with_what_was_done(axn: Axn, elsewhere: Elsewhere, tmp_path: Path) -> None:
    file = write(tmp_path / "rentals.csv", elsewhere.bound(2))
    elsewhere.gateway.faults.add(Fault(kind="business", code="isv.OUT_OF_SERVICE"))
    ended = axn("bindings", "adopt", file, "--per-second", "1000")
    assert ended.status == 1
    assert "axn: the provider refuses this account: isv.OUT_OF_SERVICE" in ended.err
    assert "give the same file again" in ended.err


def test_ctrl_c_leaves_what_is_adopted_and_the_same_file_goes_on(
    axn: Axn, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    file = write(tmp_path / "rentals.csv", elsewhere.bound(30))
    words = [sys.executable, "-m", "worker.cli", "bindings", "adopt", file, "--per-second", "10"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: elsewhere.asked() >= 3, within_s=60)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    adopted = int(re.findall(r"^adopted: (\d+)$", out, re.MULTILINE)[0])
    assert (process.returncode, err) == (130, "axn: stopped; give the same file again to go on\n")
    assert 2 <= adopted < 30
    again = json.loads(axn("bindings", "adopt", file, "--per-second", "1000", "--json").out)
    assert again["adopted"] + again["known"] == 30
    assert again["known"] in (adopted, adopted + 1), "one may have been written when it was cut short"


def test_without_credentials_it_says_what_is_missing(
    axn: Axn, elsewhere: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "rentals.csv", elsewhere.bound(1))
    monkeypatch.delenv("AXN_ACCESS_KEY_SECRET")
    ended = axn("bindings", "adopt", file)
    assert (ended.status, "AXN_ACCESS_KEY_SECRET" in ended.err) == (2, True)


def test_an_audit_tells_what_differs_and_mends_it(axn: Axn, elsewhere: Elsewhere, tmp_path: Path) -> None:
    gone, _, orphan = elsewhere.bound(3)
    bindings = elsewhere.gateway.account.bindings
    axn("bindings", "adopt", write(tmp_path / "r.csv", [gone, _]), "--per-second", "1000")
    found = bindings.get(gone.subs_id)
    assert found is not None
    bindings.end(found, "unbound", time.time())
    numbers = tmp_path / "numbers.txt"
    numbers.write_text(f"{orphan.secret_no}\n")
    orphans = tmp_path / "orphans.csv"
    asked = ("bindings", "audit", "--numbers", str(numbers), "--orphans-to", str(orphans), "--per-second", "1000")
    ended = axn(*asked)
    assert ended.status == 1
    assert "lapsed 0, gone 1, changed 0, orphan 1, unanswered 0; mended: 0" in ended.out
    assert orphan.secret_no not in ended.out
    assert orphans.stat().st_mode & 0o077 == 0
    assert axn("bindings", "adopt", str(orphans), "--per-second", "1000").status == 0
    mended = json.loads(axn(*asked, "--fix", "--json").out)
    assert (mended["counts"]["gone"], mended["counts"]["orphan"], mended["fixed"]) == (1, 0, 1)
    assert axn(*asked).status == 0


def test_a_binding_is_forgotten_by_its_id(
    axn: Axn, ledger: "redis.Redis", elsewhere: Elsewhere, tmp_path: Path
) -> None:
    axn("bindings", "adopt", write(tmp_path / "r.csv", elsewhere.bound(1)), "--renew-while-open")
    state = json.loads(axn("renewals", "show", "--json").out)
    assert state["counts"]["kept"] == 1
    (binding_id,) = [str(key).rpartition(":")[2] for key in ledger.scan_iter("axn1:*:job:*")]
    ended = axn("bindings", "forget", binding_id, "k" + "0" * 25)
    assert (ended.status, ended.out, ended.err) == (1, "forgotten: 1\n", f"axn: k{'0' * 25} is not in the registry\n")
    assert json.loads(axn("renewals", "show", "--json").out)["counts"]["kept"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bindings", "audit", "--sample", "0"), "--sample: must be a share"),
        (("bindings", "audit", "--sample", "lots"), "--sample: must be a share"),
        (("bindings", "audit", "--numbers", "/nowhere"), "--numbers: /nowhere cannot be read"),
        (("bindings", "forget", "x"), "BINDING_ID: must be the 26 letters"),
        (("bindings", "adopt", "/nowhere"), "/nowhere"),
        (("bindings", "adopt", "-", "--encoding", "latin"), "--encoding: must be"),
    ],
)
def test_bad_input_is_named(axn: Axn, elsewhere: Elsewhere, words: tuple[str, ...], message: str) -> None:
    ended = axn(*words)
    assert ended.status == 2
    assert message in ended.err
