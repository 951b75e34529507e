"""Fixtures of more than one part of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest


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
