"""A relay that hostile input may be thrown at."""

import resource
from collections.abc import Iterator

import pytest

from tools.harness.relay import Relay, running_relay


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    """A relay for the tests of one module; calls that are not closed end after five seconds."""
    with running_relay(unused_s=5, silent_s=5, hold_s=5) as running:
        yield running


@pytest.fixture(scope="module")
def many_descriptors() -> Iterator[None]:
    """As many sockets as the host allows: a shell of a user that is not root has 1024 as a rule."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
