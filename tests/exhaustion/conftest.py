"""Fixtures of what runs out."""

from pathlib import Path

import pytest

from tests.exhaustion.faults import Faults


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """The system's faults, for relays that are started from now on."""
    directory = tmp_path / "faults"
    directory.mkdir()
    monkeypatch.setenv("TEST_FAULTS", str(directory))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).with_name("injected")))
    return Faults(directory)
