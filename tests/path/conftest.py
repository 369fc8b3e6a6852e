"""The whole system, once for all path tests of a process."""

from collections.abc import Iterator

import pytest

from tests.live import Running, live_system


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """Redis, sandbox, receiver and two workers; the AXN_ variables point at them."""
    with live_system({"AXN_PACE__BIND_AXN_PER_SECOND": "200"}) as both:
        yield both
