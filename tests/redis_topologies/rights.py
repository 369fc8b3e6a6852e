"""Users with no more rights than docs/redis.md names."""

from pathlib import Path

from tests.redis_topologies.guide import line_of
from worker.redis_faults import LEAST_ACL

PASSWORD = "only-for-tests"
LEDGER_USER, BROKER_USER = "ledger", "broker"


def acl_file(folder: Path) -> Path:
    """Both users, beside a default user that may do everything."""
    file = folder / "users.acl"
    lines = [
        "user default on nopass ~* &* +@all",
        f"user {LEDGER_USER} on >{PASSWORD} {LEAST_ACL}",
        f"user {BROKER_USER} on >{PASSWORD} {line_of('ACL SETUSER axn-broker')}",
    ]
    file.write_text("".join(f"{line}\n" for line in lines))
    return file
