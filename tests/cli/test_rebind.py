"""`axn rebind` files a rebind, or says what is wrong with it."""

import json

import pytest
import redis

from worker.ledger.keys import job_keys

from .conftest import Axn
from .test_changes import NAMED, A, X, bound, record_of, sent_by

OPTIONS = {
    f"--phone-no-a={A}": {"PhoneNoA": A},
    "--phone-no-b=057112345678": {"PhoneNoB": "057112345678"},
    "--expiration=2099-01-01 00:00:00": {"Expiration": "2099-01-01 00:00:00"},
    "--expect-city=上海": {"ExpectCity": "上海"},
    "--call-restrict=CONTROL_AX_DISABLE": {"CallRestrict": "CONTROL_AX_DISABLE"},
    "--out-id=o": {"OutId": "o"},
    "--no-record": {"IsRecordingEnabled": "false"},
    "--new-phone-no-x=17000000009": {"PhoneNoX": "17000000009"},
    "--new-pool-key=FC9": {"PoolKey": "FC9"},
    "--new-out-order-id=order": {"OutOrderId": "order"},
}


def test_every_option_reaches_the_job(axn: Axn, ledger: "redis.Redis") -> None:
    job_id = axn("rebind", *NAMED, *OPTIONS, "--on-doubt=rebind", "--lane=batch").out.strip()
    assert sent_by(ledger, job_id) == {name: value for sent in OPTIONS.values() for name, value in sent.items()}
    record = record_of(ledger, job_id)
    assert (record["kind"], record["mode"], record["step"]) == ("rebind", "new-x", "look_up")
    assert (record["old_subs_id"], record["old_phone_no_x"], record["old_pool_key"]) == ("100", X, "FC1")
    assert (record["on_doubt"], record["lane"]) == ("rebind", "batch")
    assert not {"subs_id", "phone_no_x"} & record.keys()


def test_a_bind_job_names_the_old_binding(axn: Axn, ledger: "redis.Redis") -> None:
    bind_job_id = bound(axn, ledger)
    record = record_of(ledger, axn("rebind", bind_job_id, "--mode=same-x").out.strip())
    assert (record["binding_id"], record["old_subs_id"], record["old_pool_key"]) == (bind_job_id, "200", "FC2")
    assert record["mode"] == "same-x"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--mode=other"], "mode"),
        ([f"--new-phone-no-x={X}"], "new_phone_no_x"),
        (["--expires-in=10s"], "expiration"),
        (["--mode=same-x", "--new-pool-key=FC2"], "new_pool_key"),
    ],
)
def test_what_is_wrong_is_named_without_a_number(axn: Axn, ledger: "redis.Redis", words: list[str], field: str) -> None:
    ended = axn("rebind", *NAMED, *words)
    assert (ended.status, ended.out) == (2, "")
    assert f"axn: {field}: " in ended.err
    assert X not in ended.digits


@pytest.mark.parametrize(("state", "status"), [("bound", 0), ("old_left_bound", 1), ("in_doubt", 1)])
def test_the_exit_status_tells_whether_all_was_done(axn: Axn, ledger: "redis.Redis", state: str, status: int) -> None:
    job_id = axn("rebind", *NAMED, "--idempotency-key=k").out.strip()
    ledger.hset(job_keys(job_id).job, "state", state)
    ended = axn("rebind", *NAMED, "--idempotency-key=k", "--wait=5s", "--json")
    said = json.loads(ended.out)
    assert (ended.status, said["state"], said["old_subs_id"], said["step"]) == (status, state, "100", "look_up")
