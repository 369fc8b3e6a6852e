"""What renewals come to is counted, by result and code."""

from worker.observation.metered import MeteredRenewals
from worker.observation.meters import Meters

from .bench import MINUTE, Bench


async def test_renewals_are_counted_by_result_and_code(bench: Bench) -> None:
    meters = Meters()
    bench.renewals = MeteredRenewals(bench.redis, meters=meters)
    bench.renewer = bench.remade()
    await bench.checked()
    good, bad = await bench.bound("1"), await bench.bound("2", lasts_ms=30 * MINUTE)
    await bench.renew(good)
    bench.fault(kind="business", code="isv.EXPIRE_DATE_ILLEGAL", action="UpdateSubscription", count=1)
    await bench.renew(bad)
    counted = {
        tuple(sample.labels.values()): sample.value
        for family in meters.registry.collect()
        for sample in family.samples
        if sample.name == "axn_renewals_total"
    }
    assert counted == {("renewed", ""): 1, ("failed", "isv.EXPIRE_DATE_ILLEGAL"): 1}
