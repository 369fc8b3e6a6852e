"""docs/logs.md shows one job's life as the log tells it: events, fields and their order, from a real ledger."""

import io
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from tests.attempt.bench import DONE, Bench, FakeProvider
from tests.delivery.support import deliver_when_due, delivering, settled
from tests.intake.test_intake import RecordingPublisher, intake_on
from tests.ledger.support import lapse
from tests.provider.loopback import Responder, answer, serving
from tests.test_reporting import kept_logging
from worker.domain.bind_request import BindRequest
from worker.domain.job import Lane
from worker.domain.outcome import Outcome, Verdict
from worker.ledger.keys import job_keys
from worker.reporting import set_up_logging

GUIDE = (Path(__file__).parent.parent / "docs" / "logs.md").read_text(encoding="utf-8")
REQUEST_ID = "D5E4A1B2-1234-4A5B-8C6D-123456789012"
PHONE = "13900001234"


def shown_in_guide() -> list[dict[str, Any]]:
    block = re.search(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert block
    return [json.loads(line) for line in block[1].splitlines()]


async def life_of_a_job(redis: Redis) -> str:
    """Throttled once, bound, its callback refused once."""
    answers = iter([answer(status=500), answer()])

    async def respond(writer: Any, _: int) -> None:
        writer.write(next(answers))
        await writer.drain()

    responder: Responder = respond
    with ThreadPoolExecutor(1) as executor:
        async with serving(responder) as receiver, delivering(redis) as delivery:
            request = BindRequest(phone_no_a=PHONE, expires_in="2h", callback_url="https://shop.example/axn?of=1")
            job_id = await intake_on(redis, RecordingPublisher(), executor).submit(request)
            client: Any = redis
            await client.hset(job_keys(job_id).job, "callback_url", f"{receiver.url}?of={PHONE}")
            bench = Bench(redis)
            done = Outcome(Verdict.DONE, "OK", "OK", REQUEST_ID, 200, answer=DONE.answer)
            bench.provider = FakeProvider(Outcome(Verdict.THROTTLED, "Throttling.User"), done)
            bench.courier = delivery  # type: ignore[assignment] # a real one
            await bench.attempts().attempt(Lane.CHECKOUT, job_id)
            await lapse(redis, job_id)
            await bench.attempts().attempt(Lane.CHECKOUT, job_id)
            await settled(delivery)
            await deliver_when_due(redis, delivery, f"{job_id}-2")
    return job_id


async def test_the_guide_shows_one_job_s_life(redis: Redis) -> None:
    out = io.StringIO()
    with kept_logging():
        set_up_logging("debug", "json", stream=out)
        job_id = await life_of_a_job(redis)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    ours = [line for line in told if line["logger"].startswith("worker.")]
    shown = shown_in_guide()
    assert [list(line) for line in ours] == [list(line) for line in shown]
    same = ("level", "event", "logger", "state", "code", "lane", "kind", "attempt", "tries", "status", "request_id")
    assert [[line.get(name) for name in same] for line in ours] == [[line.get(name) for name in same] for line in shown]
    assert {line["job_id"] for line in ours} == {job_id}
    assert PHONE not in out.getvalue()
    assert "of=" not in out.getvalue()


def test_every_field_of_the_example_is_explained() -> None:
    fields = set(re.findall(r"`(\w+)`", GUIDE.partition("## Fields")[2].partition("## Levels")[0]))
    assert {name for line in shown_in_guide() for name in line} <= fields
    assert logging.getLevelName(logging.DEBUG).lower() in GUIDE
