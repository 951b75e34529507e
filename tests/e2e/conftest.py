"""A relay for the tests with Perl's Net::SIP."""

from collections.abc import Iterator

import pytest

from tests.relay import Relay, running_relay


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """A relay with the default settings, for tests that keep to calls of their own."""
    with running_relay() as running:
        yield running
