"""docs/callbacks.md says what is sent, and its snippets verify it."""

import base64
import json
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.callbacks.test_signature import ED25519_SECRET, HMAC_SECRET, VECTOR_BODY, VECTOR_ID, VECTOR_TIME, VECTORS
from worker.callbacks.events import PAYLOAD_VERSION, BindingEvent, binding_body, ended_body, orphan_found_body
from worker.callbacks.signature import HmacKey, new_key, parse_secret, signature_headers
from worker.domain.job import JobKind, JobState, Orphan
from worker.settings import Settings

GUIDE = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text(encoding="utf-8")
EXAMPLES: list[dict[str, Any]] = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", GUIDE)]
PARAMETERS = {
    "expiration": "Expiration",
    "out_id": "OutId",
    "out_order_id": "OutOrderId",
    "operate_type": "OperateType",
}
KEPT = {f"binding.{event.value}": event for event in BindingEvent}
OF_BINDS = ("succeeded", "failed", "in_doubt", "expired")
ENDS = {JobKind.BIND: OF_BINDS, JobKind.REBIND: (*OF_BINDS, "old_left_bound")}


def rows() -> dict[str, tuple[str, str]]:
    found = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \| (.*?) \|(?: (.*?) \|)?$", GUIDE, re.MULTILINE)
    return {name.strip("`"): (second, third) for names, second, third in found for name in names.split(", ")}


@pytest.mark.parametrize("example", EXAMPLES, ids=[example["type"] for example in EXAMPLES])
def test_an_example_is_what_is_sent(example: dict[str, Any]) -> None:
    data = example["data"]
    unix_ms = round(datetime.fromisoformat(example["timestamp"]).timestamp() * 1000)
    parameters = {wire: data[name] for name, wire in PARAMETERS.items() if data.get(name)}
    if data["phone_no_a"]:
        parameters["PhoneNoA"] = "15012345678"
    common: dict[str, Any] = {"job_id": data["job_id"], "unix_ms": unix_ms, "parameters": parameters}
    kept = KEPT.get(example["type"])
    if kept is not None:
        assert f"```json\n{binding_body(kept, **common, fields=data)}\n```" in GUIDE
        return
    common["state"] = JobState(data["state"])
    if example["type"] == "binding.orphaned":
        orphan = Orphan(data["phone_no_x"], data["subs_id"], data["unbind_job_id"])
        made = orphan_found_body(**common, orphan=orphan)
    else:
        kind = JobKind(example["type"].partition(".")[0])
        told = (
            "phone_no_x",
            "subs_id",
            "code",
            "message",
            "request_id",
            "mode",
            "step",
            "old_phone_no_x",
            "old_subs_id",
        )
        fields = {name: data[name] for name in told if name in data}
        made = ended_body(**common, kind=kind, attempts=data["attempts"], fields=fields)
    assert f"```json\n{made}\n```" in GUIDE


def test_every_type_and_every_field_is_told_and_no_other() -> None:
    told = rows()
    changes = ("succeeded", "failed", "expired")
    types = {f"{kind.value}.{end}" for kind in JobKind for end in ENDS.get(kind, changes)} | {
        "binding.orphaned",
        "ping",
        *KEPT,
    }
    assert {name for name in told if "." in name or name == "ping"} == types
    for example in EXAMPLES:
        group, _, _ = example["type"].partition(".")
        has = {
            name
            for name, (where, _) in told.items()
            if where in ("all", "all but `ping`") or f"`{group}.*`" in where or f"`{example['type']}`" in where
        }
        assert set(example["data"]) == has, example["type"]
    assert {example["type"].partition(".")[0] for example in EXAMPLES} == {
        "bind",
        "update",
        "unbind",
        "rebind",
        "binding",
    }
    assert f"of this description: {PAYLOAD_VERSION}" in GUIDE


def test_the_schedule_and_the_timeout_are_todays() -> None:
    delays = [delay.total_seconds() for delay in Settings.model_fields["callback_schedule"].default]
    assert delays == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    assert "5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h after" in " ".join(GUIDE.split())
    assert f"within {Settings.model_fields['callback_timeout'].default.total_seconds():g} seconds" in GUIDE


def test_the_vector_in_the_guide_is_the_specifications() -> None:
    told = [HMAC_SECRET, parse_secret(ED25519_SECRET).public_key, VECTOR_ID, str(VECTOR_TIME), VECTOR_BODY.decode()]
    assert [text for text in (*told, *VECTORS.values()) if f"`{text}`" not in GUIDE] == []


# --- The snippets ---

# A line of a driver: key, id, time, signatures, body in base64, now. It answers "true" or "false" in a line.
PYTHON_DRIVER = """
import sys
for line in sys.stdin.read().splitlines():
    secret, id_, time_, signature, body, now = line.split("\\t")
    headers = {"webhook-id": id_, "webhook-timestamp": time_, "webhook-signature": signature}
    print(str(verify(secret, headers, base64.b64decode(body), int(now))).lower())
"""
NODE_DRIVER = """
for (const line of require("node:fs").readFileSync(0, "utf8").split("\\n")) {
  const [secret, id, time, signature, body, now] = line.split("\\t");
  const headers = { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature };
  console.log(String(verify(secret, headers, Buffer.from(body, "base64"), Number(now))));
}
"""
JAVA_DRIVER = """
class Driver {
  public static void main(String[] none) throws Exception {
    for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\\n")) {
      String[] of = line.split("\\t", -1);
      Map<String, String> headers =
          Map.of("webhook-id", of[1], "webhook-timestamp", of[2], "webhook-signature", of[3]);
      byte[] body = Base64.getDecoder().decode(of[4]);
      System.out.println(Webhooks.verify(of[0], headers, body, Long.parseLong(of[5])));
    }
  }
}
"""
GO_DRIVER = """
package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		of := strings.Split(lines.Text(), "\\t")
		header := http.Header{}
		header.Set("webhook-id", of[1])
		header.Set("webhook-timestamp", of[2])
		header.Set("webhook-signature", of[3])
		body, _ := base64.StdEncoding.DecodeString(of[4])
		now, _ := strconv.ParseInt(of[5], 10, 64)
		fmt.Println(Verify(of[0], header, body, time.Unix(now, 0)))
	}
}
"""
PHP_DRIVER = """
foreach (explode("\\n", stream_get_contents(STDIN)) as $line) {
    [$secret, $id, $time, $signature, $body, $now] = explode("\\t", $line);
    $headers = ['webhook-id' => $id, 'webhook-timestamp' => $time, 'webhook-signature' => $signature];
    echo verify($secret, $headers, base64_decode($body), (int) $now) ? "true\\n" : "false\\n";
}
"""


def snippet(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(code)


def python(folder: Path) -> list[str]:
    return [sys.executable, "-c", snippet("python") + PYTHON_DRIVER]


def node(folder: Path) -> list[str]:
    return ["node", "-e", snippet("js") + NODE_DRIVER]


def java(folder: Path) -> list[str]:
    # Of one file the first class is run.
    (folder / "Driver.java").write_text(snippet("java").replace("\nfinal class", f"{JAVA_DRIVER}\nfinal class", 1))
    return ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", str(folder / "Driver.java")]


def go(folder: Path) -> list[str]:
    (folder / "go.mod").write_text("module webhooks\n\ngo 1.20\n")
    (folder / "webhooks.go").write_text(snippet("go").replace("package webhooks", "package main", 1))
    (folder / "main.go").write_text(GO_DRIVER)
    return ["go", "run", "-C", str(folder), "."]


def php(folder: Path) -> list[str]:
    (folder / "driver.php").write_text(snippet("php") + PHP_DRIVER)
    return ["php", str(folder / "driver.php")]


V1, V1A = VECTORS.values()
PUBLIC = parse_secret(ED25519_SECRET).public_key
OTHER = HmacKey(bytes(range(24)))
CHINESE = '{"city":"上海"}'.encode()


def signatures_of(body: bytes, *secrets: str) -> str:
    keys = [parse_secret(secret) for secret in secrets]
    return signature_headers(webhook_id="k1-1", unix_s=1_000, body=body, keys=keys)["webhook-signature"]


def vector(secret: str, signatures: str, **changed: Any) -> tuple[Any, ...]:
    case: dict[str, Any] = {"id": VECTOR_ID, "time": VECTOR_TIME, "body": VECTOR_BODY, "now": VECTOR_TIME} | changed
    body = base64.b64encode(case["body"]).decode()
    return (secret, case["id"], case["time"], signatures, body, case["now"])


CASES: list[tuple[tuple[Any, ...], bool]] = [
    (vector(HMAC_SECRET, V1), True),
    (vector(PUBLIC, V1A), True),
    (vector(HMAC_SECRET, f"{V1A} v1,AAAA v1,!! v2,x {V1}"), True),
    (vector(PUBLIC, f"{V1} v1a,AAAA v1a,!! {V1A}"), True),
    (vector(HMAC_SECRET, V1, now=VECTOR_TIME + 300), True),
    (vector(HMAC_SECRET, V1, now=VECTOR_TIME - 300), True),
    (vector(HMAC_SECRET, V1, now=VECTOR_TIME + 301), False),
    (vector(PUBLIC, V1A, now=VECTOR_TIME - 301), False),
    (vector(OTHER.secret, V1), False),
    (vector(new_key(is_ed25519=True).public_key, V1A), False),
    (vector(HMAC_SECRET, V1[:-2] + "A="), False),
    (vector(HMAC_SECRET, V1, body=VECTOR_BODY + b" "), False),
    (vector(PUBLIC, V1A, body=VECTOR_BODY + b" "), False),
    (vector(HMAC_SECRET, V1, id=VECTOR_ID + "x"), False),
    (vector(HMAC_SECRET, V1.replace("v1,", "v1a,")), False),
    (vector(PUBLIC, V1A.replace("v1a,", "v1,")), False),
    (vector(HMAC_SECRET, ""), False),
    (vector(HMAC_SECRET, "v1"), False),
    (vector(HMAC_SECRET, "v1,"), False),
    (vector(PUBLIC, "v1a,"), False),
    (vector(HMAC_SECRET, V1, time=f"{VECTOR_TIME}.0"), False),
    (vector(HMAC_SECRET, V1, time=f"-{VECTOR_TIME}"), False),
    (vector(HMAC_SECRET, V1, time="9" * 5_000), False),
    (vector(HMAC_SECRET, V1, time=""), False),
    (
        vector(HMAC_SECRET, signatures_of(CHINESE, OTHER.secret, HMAC_SECRET), id="k1-1", time=1_000, now=1_000,
               body=CHINESE),
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize("prepare", [python, node, java, go, php], ids=lambda prepare: prepare.__name__)
def test_a_snippet_verifies_what_was_signed_and_nothing_else(prepare: Any, tmp_path: Path) -> None:
    program = sys.executable if prepare is python else prepare.__name__
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on this machine's PATH")
    lines = "\n".join("\t".join(map(str, case)) for case, _ in CASES)
    ran = subprocess.run(
        prepare(tmp_path), input=lines, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
    )
    assert ran.stderr == ""
    assert ran.stdout.split() == [str(is_valid).lower() for _, is_valid in CASES]
