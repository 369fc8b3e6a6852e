"""The clock of a Redis can be moved on Linux only."""

import sys

import pytest


@pytest.fixture(autouse=True)
def linux(request: pytest.FixtureRequest) -> None:
    """Leave out what needs libfaketime where there is none."""
    if sys.platform != "linux" and request.module.__name__.rpartition(".")[2] != "test_model":
        pytest.skip("libfaketime is loaded before the server on Linux only")
