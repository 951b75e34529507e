"""What the tests of the HTTP process have in common: a relay that serves HTTP, and clients of it."""

from collections.abc import Iterator

import httpx
import pytest

from tools.harness.http import http_address, http_client
from tools.harness.relay import Relay, running_relay


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """A relay that serves HTTP, ng too."""
    with running_relay(http="127.0.0.1:0", http_ng=True, address="127.0.0.1", silent_s=3600) as relay:
        # on a busy host the process takes seconds to load, in which a call that is judged falls silent
        with http_client(relay) as client:
            client.get("/healthz").raise_for_status()
        yield relay


@pytest.fixture(scope="session")
def address(relay: Relay) -> tuple[str, int]:
    """Where it serves HTTP."""
    return http_address(relay)


@pytest.fixture
def client(relay: Relay) -> Iterator[httpx.Client]:
    with http_client(relay) as client:
        yield client
