"""A relay that hostile input may be thrown at."""

from collections.abc import Iterator

import pytest

from tools.harness.relay import Relay, running_relay


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay for the tests of one module; calls that are not closed end after a second."""
    with running_relay(unused_s=1, silent_s=1, hold_s=1) as running:
        yield running
