"""tools.systemd.trial, as far as it can be tried without a systemd: what it refuses, and how it is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nh import version
from nh.config.sources import load_settings
from nh.errors import ConfigError
from tools.systemd.trial.actions import with_another_version
from tools.systemd.trial.checks import BAD_SETTING
from tools.systemd.trial.console import mark, told
from tools.systemd.trial.errors import CannotTry
from tools.systemd.trial.root import STAMP, make_root, remove_root
from tools.systemd.trial.scenarios import NAMES, scenarios

TRIAL = (sys.executable, "-m", "tools.systemd.trial")


def test_what_it_says_is_told_from_what_systemd_says_on_the_console() -> None:
    console = "systemd: starting\r\n" + mark("ok  reload\n    seen: much") + "vm login: " + mark("done")
    lines = [told(line) for line in console.splitlines()]
    assert [line for line in lines if line is not None] == ["ok  reload", "    seen: much", "done"]


def test_a_directory_that_is_something_else_is_neither_used_nor_removed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch()
    with pytest.raises(CannotTry, match="has something else in it"):
        make_root(tmp_path, "bookworm", "http://mirror.invalid")
    remove_root(tmp_path)
    assert precious.exists()


def test_a_root_that_was_not_finished_is_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / STAMP).write_text("unfinished\n")
    remove_root(root)
    assert not root.exists()


def test_programs_that_are_missing_are_named(tmp_path: Path) -> None:
    done = subprocess.run(
        TRIAL, env={**os.environ, "PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    wanted = "debootstrap (package debootstrap)" if os.geteuid() == 0 else "it takes root"
    assert wanted in done.stderr


def test_each_scenario_can_be_asked_for_by_its_name() -> None:
    for name in NAMES:
        found = list(scenarios(frozenset([name])))
        assert found
        assert all(scenario.name.startswith(f"{name}, ") for scenario in found)


def test_each_other_version_that_a_trial_installs_is_another_one() -> None:
    first, module = with_another_version(Path(version.__file__).read_text())
    second, again = with_another_version(module)
    assert (first, second) == (f"{version.__version__}.post1", f"{version.__version__}.post2")
    installed: dict[str, str] = {}
    exec(again, installed)
    assert installed["__version__"] == second


def test_what_the_trial_looks_for_is_what_nh_says_of_a_setting_that_it_cannot_use() -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(environment={"NH_SHARDS": "999"})
    assert BAD_SETTING.fullmatch(f"nh: {refused.value}")
