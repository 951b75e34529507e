"""`nh config`: what it prints is what `nh run` would have, and where it came from."""

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nh.cli.config import shown_settings
from nh.cli.main import app
from nh.config import Settings
from nh.config.sources import SECRET, LoadedSettings, load_settings, read_settings
from nh.supervisor.host.locked_dir import runtime_dir
from nh.supervisor.settings_in_force import SettingsInForce


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "nh.toml"
    path.write_text('shards = 3\nrpc = ["/a", "127.0.0.1:1"]\nsilent_s = "1m"\n')
    return path


def test_each_setting_is_printed_with_its_origin(file: Path) -> None:
    result = CliRunner().invoke(
        app, ["config", "--config", str(file), "--dscp", "46"], env={"NH_SILENT_S": "5m"}
    )
    assert result.exit_code == 0
    lines = {line.partition(" ")[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == set(Settings.__struct_fields__)
    assert lines["shards"].split() == ["shards", "=", "3", "#", f"{file}:1"]
    assert lines["dscp"].endswith("# command line")
    assert lines["silent_s"].split()[2:] == ["300.0", "#", "environment;", "not", "that", "of", f"{file}:3"]
    assert lines["hold_s"].split()[2:] == ["3600.0", "#", "default"]


def test_what_an_empty_value_amounts_to_is_said() -> None:
    result = CliRunner().invoke(app, ["config"])
    assert f"here {Settings().runtime_path}" in result.stdout
    assert f"here {Settings().rpc_addresses[0]}" in result.stdout


def test_the_file_of_the_nh_that_runs_is_named_where_no_other_is(file: Path, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    words = ["config", "--runtime-dir", str(directory)]
    with runtime_dir(directory):
        loaded = read_settings(flags={"runtime_dir": str(directory)}, environment={}, file=file)
        in_force = SettingsInForce(loaded, shards=3)
        unnamed = CliRunner().invoke(app, words)
        named = CliRunner().invoke(app, [*words, "--config", str(file)])
    after = CliRunner().invoke(app, words)
    in_force.close()
    told = f"nh: the nh that runs has read {file}: add --config {file} to print it, too\n"
    assert (unnamed.exit_code, unnamed.stderr) == (0, told)
    assert (named.exit_code, named.stderr) == (0, "")
    assert (after.exit_code, after.stderr) == (0, ""), "it does not run any more"


def test_the_output_is_a_file_with_the_same_settings(file: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.toml"
    printed = CliRunner().invoke(app, ["config", "--config", str(file), "--address", "192.0.2.1"]).stdout
    again.write_text(printed)
    expected = load_settings(flags={"address": "192.0.2.1"}, file=file)
    assert load_settings(file=again) == expected
    assert set(tomllib.loads(printed)) == set(Settings.__struct_fields__)


def test_json_has_value_and_origin(file: Path) -> None:
    result = CliRunner().invoke(app, ["config", "--config", str(file), "--json"])
    values = json.loads(result.stdout)
    assert set(values) == set(Settings.__struct_fields__)
    assert values["rpc"] == {
        "value": ["/a", "127.0.0.1:1"],
        "origin": f"{file}:2",
        "effective": "",
        "without_effect": [],
    }


def test_secrets_are_not_shown() -> None:
    shown = shown_settings(LoadedSettings(Settings(state="valkey://nh:pass@db:1/2"), {}))
    assert shown["state"].value == f"valkey://nh:{SECRET}@db:1/2"


def test_a_setting_that_cannot_be_used_is_said_as_nh_run_says_it() -> None:
    result = CliRunner().invoke(app, ["config", "--shards", "many"])
    expected = "nh: command line: --shards: 'many' is not a whole number\n"
    assert (result.exit_code, result.stderr) == (2, expected)
