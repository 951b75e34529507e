"""Relays that something happens to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.harness.deployment import Deployment, deployed_relay


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """What encrypts the store."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    return key


@pytest.fixture
def deployment(tmp_path: Path, key_file: Path) -> Iterator[Deployment]:
    """A relay that serves ng, with an encrypted store."""
    with deployed_relay(
        ng="127.0.0.1:0", interface="pub/127.0.0.1,pub/::1", state=tmp_path / "calls", state_key_file=key_file
    ) as deployment:
        deployment.start()
        yield deployment
