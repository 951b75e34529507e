"""Relays that something happens to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ng.ng_call import End
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.media_peer import MediaPeer


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """What encrypts the store."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    key.chmod(0o600)
    return key


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that names the function which raises, in the supervisors that start while $TEST_BUG is set."""
    monkeypatch.setenv("TEST_BUG", str(tmp_path / "bug"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "injected_bugs"))
    return tmp_path / "bug"


@pytest.fixture
def phones() -> Iterator[tuple[End, MediaPeer]]:
    """An end of ng's calls, and the sockets of another."""
    alice = End("alice")
    with MediaPeer("127.0.0.1") as peer:
        yield alice, peer
    alice.close()


@pytest.fixture
def deployment(tmp_path: Path, key_file: Path) -> Iterator[Deployment]:
    """A relay that serves ng, with an encrypted store."""
    with deployed_relay(
        ng="127.0.0.1:0", interface="pub/127.0.0.1,pub/::1", state=tmp_path / "calls", state_key_file=key_file
    ) as deployment:
        deployment.start()
        yield deployment
