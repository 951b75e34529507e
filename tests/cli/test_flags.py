"""Settings and flags are held together: every field has a flag, and the help says what the settings do."""

import json
import math
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nh.cli.flags import FLAGS
from nh.cli.main import app
from nh.cli.setting_options import help_text
from nh.config import Settings
from nh.config.sources import load_settings
from nh.errors import ConfigError

NUMBERS = [name for name, flag in FLAGS.items() if flag.low is not None]


def test_every_setting_has_a_flag_and_every_flag_a_setting() -> None:
    assert set(FLAGS) == set(Settings.__struct_fields__)


def test_the_help_shows_every_flag() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).stdout
    for name in FLAGS:
        assert f"--{name.replace('_', '-')} " in shown
    assert "--config " in shown


@pytest.mark.parametrize("name", NUMBERS)
def test_the_range_in_the_help_is_what_is_accepted(name: str) -> None:
    flag = FLAGS[name]
    assert flag.low is not None
    assert flag.high is not None
    for value in (flag.low, flag.high):
        assert getattr(load_settings(flags={name: value}, environment={}), name) == value
    whole = isinstance(getattr(Settings(), name), int)
    above = flag.high + 1 if whole else math.nextafter(flag.high, math.inf)
    below = flag.low - 1 if whole else math.nextafter(flag.low, -math.inf)
    for value in (below, above):
        with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: "):
            load_settings(flags={name: value}, environment={})


@pytest.mark.parametrize("name", sorted(FLAGS))
def test_the_help_says_the_unit_and_the_default(name: str) -> None:
    assert "(default: " in help_text(name)
    assert (FLAGS[name].unit == "s") == name.endswith("_s")


def test_numbers_without_a_range_are_forgotten_ones() -> None:
    for name in set(FLAGS) - set(NUMBERS):
        assert isinstance(getattr(Settings(), name), str | bool | tuple), name


def test_flags_win_over_the_environment_and_that_over_the_file(
    supervised: list[Settings], tmp_path: Path
) -> None:
    file = tmp_path / "nh.toml"
    file.write_text("shards = 3\nsilent_s = 60\nhold_s = 600\n")
    result = CliRunner().invoke(
        app,
        ["run", "--config", str(file), "--shards", "5", "--rpc", "/a/", "--rpc", "[::1]:7", "--rpc-public"],
        env={"NH_SILENT_S": "70", "NH_SHARDS": "4"},
    )
    assert result.exit_code == 7, result.output
    (settings,) = supervised
    assert (settings.shards, settings.silent_s, settings.hold_s) == (5, 70, 600)
    assert settings.rpc == ("/a/", "[::1]:7")
    assert settings.rpc_public


def test_every_flag_reaches_its_setting(supervised: list[Settings]) -> None:
    given = {
        name: str(default.value if hasattr(default, "value") else default)
        for name in FLAGS
        if (default := getattr(Settings(), name)) != () and not isinstance(default, bool)
    } | {
        "runtime_dir": "/somewhere",
        "policy": "strict",
        "log_level": "error",
        "dscp": "46",
        "max_calls": "10",
    }
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert CliRunner().invoke(app, ["run", *words]).exit_code == 7
    (settings,) = supervised
    expected = {
        "runtime_dir": "/somewhere",
        "policy": "strict",
        "log_level": "error",
        "dscp": 46,
        "max_calls": 10,
    }
    assert settings == load_settings(flags=expected, environment={})


def test_no_state_wins_over_a_directory_from_elsewhere(supervised: list[Settings]) -> None:
    assert CliRunner().invoke(app, ["run", "--no-state"], env={"NH_STATE": "/state"}).exit_code == 7
    assert CliRunner().invoke(app, ["run", "--state", "/state"], env={"NH_STATE": "off"}).exit_code == 7
    assert [settings.state for settings in supervised] == ["off", "/state"]


@pytest.mark.parametrize("command", ["run", "doctor", "config"])
def test_every_command_that_takes_settings_takes_the_flags_of_run(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"})
    shown = set(re.findall(r"(?<=[ │])--[a-z][a-z-]+", result.stdout))
    assert {f"--{name.replace('_', '-')}" for name in FLAGS} | {"--no-state", "--config"} <= shown


def test_config_and_doctor_know_no_state(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["config", "--no-state", "--json"], env={"NH_STATE": "/state"})
    assert json.loads(shown.stdout)["state"] == {
        "value": "off",
        "origin": "command line",
        "effective": "",
        "without_effect": ["environment"],
    }
    words = ["doctor", "--no-state", "--runtime-dir", str(tmp_path), "--json"]
    checks = {each["check"]: each for each in json.loads(CliRunner().invoke(app, words).stdout)["findings"]}
    assert checks["state_disk"]["found"] == "calls are not stored here"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--state", "/x", "--no-state"], "--state and --no-state contradict each other"),
        (["--shards", "many"], "--shards: 'many' is not a whole number"),
        (["--silent-s", "long"], "--silent-s: 'long' is not a span of time, such as 30, 30s, 5m or 1h30m"),
        (["--kernel", "maybe"], "--kernel: 'maybe' is not one of auto, on, off"),
        (["--shards", "300"], "--shards: 300 is not in 0 to 256"),
        (["--ports", "5-"], "--ports: '5-' is not MIN-MAX"),
        (["--rpc-mode", "999"], "--rpc-mode: '999' is not an octal mode"),
        (["--config", "/nowhere/nh.toml"], "/nowhere/nh.toml: cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_and_status_2(
    supervised: list[Settings], words: list[str], message: str
) -> None:
    result = CliRunner().invoke(app, ["run", *words])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert supervised == []
