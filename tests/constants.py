"""Constants of nh in processes that a test starts; see injected_constants/sitecustomize.py."""

from collections.abc import Mapping
from pathlib import Path

import pytest


def set_constants(patch: pytest.MonkeyPatch, constants: Mapping[str, float]) -> None:
    """Have nh and its shards, started from now on, use other constants.

    Args:
        patch: undoes it.
        constants: numbers by "module:NAME", such as "nh.shard.recovery.orphan:PATIENCE_S".
    """
    patch.setenv("TEST_CONSTANTS", " ".join(f"{place}={value}" for place, value in constants.items()))
    patch.setenv("PYTHONPATH", str(Path(__file__).with_name("injected_constants")))
