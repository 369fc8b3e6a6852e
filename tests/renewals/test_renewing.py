"""One renewal: sent once per period with an absolute end, settled once, whatever happens in between."""

from typing import Any

from worker.domain.expiration import parse_expiration, unix_ms
from worker.domain.job_ids import partition_of
from worker.ledger.keys import bindings_key

from .bench import DAY, MINUTE, Bench


def end_of(text: str) -> int:
    return unix_ms(parse_expiration(text))


async def test_a_kept_binding_is_renewed_for_its_extension_and_due_again_before_that_ends(bench: Bench) -> None:
    await bench.checked()
    binding_id = await bench.bound()
    before = await bench.read(binding_id)
    first_due = await bench.due_at(binding_id)
    assert first_due is not None
    assert before.expires_at - 30 * MINUTE - 6 * MINUTE <= first_due <= before.expires_at - 30 * MINUTE
    await bench.renew(binding_id)
    after = await bench.read(binding_id)
    assert after.expires_at == before.expires_at + DAY
    assert bench.at_provider(after.subs_id).expires_at * 1000 == after.expires_at
    assert (after.number, after.failures, [line.what for line in after.history]) == (1, 0, ["renewed"])
    due = await bench.due_at(binding_id)
    assert due == after.due_at
    assert after.expires_at - DAY // 10 - DAY // 10 < due <= after.expires_at - DAY // 10
    client: Any = bench.redis
    assert await client.zscore(bindings_key(partition_of(binding_id)), binding_id) == after.expires_at
    (event,) = [event for event in await bench.events(binding_id) if event["type"] == "binding.renewed"]
    assert (event["data"]["renewals"], event["data"]["expiration"]) == (1, after.expiration)
