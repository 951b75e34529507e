"""Peers for the tests with Perl's Net::SIP; skipped, with the reason, where it is not installed."""

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.relay import Relay, running_relay


@functools.cache
def perl_has_net_sip() -> bool:
    try:
        return subprocess.run(["perl", "-MNet::SIP", "-e1"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("perl") and not perl_has_net_sip():
            item.add_marker(pytest.mark.skip(reason="needs Perl's Net::SIP: apt-get install libnet-sip-perl"))


@pytest.fixture(scope="session")
def relay() -> Iterator[Relay]:
    """A relay with the default settings, for tests that keep to calls of their own."""
    with running_relay() as running:
        yield running
