"""A worker process reports to Sentry what it could not read, over HTTP, with nothing of its content."""

import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.local.processes import wait_until

from .conftest import A, WorkerUnderTest

KEY_SECRET = "testsecret"


class FakeSentry:
    """Takes envelopes at a loopback port."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                bodies.append((gzip.decompress(body) if is_packed else body).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://public@127.0.0.1:{self.server.server_port}/1"


@pytest.fixture
def sentry() -> Iterator[FakeSentry]:
    fake = FakeSentry()
    thread = threading.Thread(target=fake.server.serve_forever)
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        thread.join()
        fake.server.server_close()


@pytest.fixture
def reporting_worker(worker: WorkerUnderTest, sentry: FakeSentry) -> Iterator[WorkerUnderTest]:
    before = dict(worker.env)
    worker.stop()
    worker.env |= {"AXN_SENTRY_DSN": sentry.dsn, "AXN_LOG_FORMAT": "json", "AXN_ENVIRONMENT": "of-a-test"}
    try:
        worker.start()
        yield worker
    finally:
        worker.stop()
        worker.env = before


def test_a_worker_reports_over_http_and_checks_in(reporting_worker: WorkerUnderTest, sentry: FakeSentry) -> None:
    worker = reporting_worker
    worker.send(f'{A} {KEY_SECRET} {{"phone_no_a": "{A}"')
    worker.does_a_job()
    wait_until(lambda: any("message cannot be read" in body for body in sentry.bodies), 15)
    wait_until(lambda: any("axn-timetable" in body for body in sentry.bodies), 60)
    (report,) = [body for body in sentry.bodies if "message cannot be read" in body]
    event = json.loads(report.splitlines()[2])
    assert (event["tags"]["code"], event["environment"]) == ("JSONDecodeError", "of-a-test")
    told = "".join(sentry.bodies) + worker.log
    assert A not in told
    assert KEY_SECRET not in told
    assert "phone_no_a" not in told
