"""Fixtures of more than one part of the tests."""

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@functools.cache
def perl_has_net_sip() -> bool:
    try:
        return subprocess.run(["perl", "-MNet::SIP", "-e1"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `perl` are skipped, with the reason, where their peer is not installed."""
    for item in items:
        if item.get_closest_marker("perl") and not perl_has_net_sip():
            item.add_marker(pytest.mark.skip(reason="needs Perl's Net::SIP: apt-get install libnet-sip-perl"))


@pytest.fixture(params=["unix", "tcp"])
def rpc_where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a server of the test listens."""
    return str(tmp_path / "rpc") if request.param == "unix" else "127.0.0.1"


@pytest.fixture
def rpc_path(tmp_path: Path) -> str:
    """The path of a Unix socket to be."""
    return str(tmp_path / "rpc")


@pytest.fixture
def no_descriptor_leaks() -> Iterator[None]:
    """The test leaves as many descriptors open as it found."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
