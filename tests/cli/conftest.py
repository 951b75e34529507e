import sys
import types
from collections.abc import Callable

import pytest

from nh.config import Settings
from nh.config.sources import LoadedSettings


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NH_CONFIG", "NH_RPC", "NH_RUNTIME_DIR", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `nh run` would have started; the supervisor's place is taken by one that exits with status 7."""
    started: list[Settings] = []

    def run(
        read: Callable[[], LoadedSettings], *, takeover: bool, reread: Callable[[], LoadedSettings]
    ) -> int:
        started.append(read().settings)
        return 7

    module = types.ModuleType("nh.supervisor.main")
    vars(module)["run"] = run
    monkeypatch.setitem(sys.modules, "nh.supervisor.main", module)
    return started
