"""The help in terminals of all widths, output where the encoding has no arrows, and a relay elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nh.cli.main import app
from nh.cli.options import settings_of
from nh.config.sources import read_settings
from nh.supervisor.host.locked_dir import runtime_dir
from nh.supervisor.settings_in_force import SettingsInForce
from tools.rtpload.cli import app as load_app

GROUP: Any = get_command(app)
OTHER_UID = 65534
COMMANDS = sorted(set(GROUP.commands) - {"load"})  # that executes another program


def help_of(name: str, columns: int) -> str:
    program, words = (load_app, []) if name == "load" else (app, [name])
    shown = CliRunner().invoke(program, [*words, "--help"], env={"COLUMNS": str(columns)})
    assert shown.exit_code == 0
    return shown.stdout


def options_of(name: str) -> list[str]:
    command: Any = get_command(load_app) if name == "load" else GROUP.commands[name]
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    return [text for each in shown for text in each.opts if text.startswith("--")]


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("name", [*COMMANDS, "load"])
def test_the_help_has_every_option_whole(name: str, columns: int) -> None:
    shown = help_of(name, columns)

    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns
    assert not {option for option in options_of(name) if f"{option} " not in shown}


@pytest.mark.parametrize("name", ["calls", "run", "load"])
def test_a_narrow_terminal_has_the_whole_names_on_several_lines(name: str) -> None:
    shown = help_of(name, 40)
    first = [row[1:14] for row in shown.splitlines() if row.startswith("│ ")]
    names = "".join(re.sub(r"[ │].*", "", cell.strip()) for cell in first)

    assert max(map(len, shown.splitlines())) <= 40
    assert not {option for option in options_of(name) if option not in names}


@pytest.mark.parametrize("columns", [30, 40, 60])
@pytest.mark.parametrize("name", [*COMMANDS, "load"])
def test_no_terminal_is_too_narrow_for_whole_words(name: str, columns: int) -> None:
    assert "…" not in help_of(name, columns)


def test_no_terminal_is_too_narrow_for_the_list_of_commands() -> None:
    assert "…" not in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "40"}).stdout


@pytest.mark.parametrize("name", [*COMMANDS, "load"])
def test_the_help_says_what_a_value_is_in_words(name: str) -> None:
    assert not re.search(r"<(list\[)?(str|int|float|bool|path)\b", help_of(name, 200))


def test_the_help_of_a_load_has_the_defaults_that_are_no_values() -> None:
    """Rich takes a text in brackets for a style, and shows nothing of it."""
    shown = help_of("load", 200)
    for default in ("loopback", "where ADDRESS is", "any"):
        assert f"(default: {default})" in shown


def test_an_encoding_without_arrows_is_no_reason_to_fail(tmp_path: Path) -> None:
    """Such as that of LC_ALL=de_DE, which is Latin-1."""
    file = tmp_path / "→.toml"
    file.write_text("shards = 3\n")
    done = subprocess.run(
        [sys.executable, "-m", "nh", "config", "--config", str(file)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "latin-1:strict"},
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?.toml" in done.stdout


def test_a_relay_whose_rpc_is_elsewhere_is_found_by_what_it_tells(tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "run", str(tmp_path / "rpc.sock")
    flags = {"runtime_dir": str(directory), "rpc": [elsewhere, "127.0.0.1:5062"]}
    with runtime_dir(directory):
        SettingsInForce(read_settings(flags=flags, environment={}), shards=1)
        assert settings_of(None, str(directory)).rpc_addresses == (elsewhere, "127.0.0.1:5062")
        assert settings_of(None, str(directory), "/other.sock").rpc_addresses == ("/other.sock",)


def test_a_relay_whose_rpc_is_elsewhere_is_not_said_to_be_down(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    with runtime_dir(tmp_path / "run"):
        result = CliRunner().invoke(app, ["calls", "--runtime-dir", str(tmp_path / "run")])

    assert result.exit_code == 1
    assert "and serves no RPC there: if it was given --rpc, name the same" in result.stderr


def test_a_user_whose_own_directory_has_no_nh_is_told_of_that_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = tmp_path / "service"
    monkeypatch.setattr("nh.config.settings.SYSTEM_RUNTIME_PATH", service)
    monkeypatch.setattr("nh.supervisor.running_nh.SYSTEM_RUNTIME_PATH", service)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER_UID)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    alone = CliRunner().invoke(app, ["calls"])
    service.mkdir()
    beside = CliRunner().invoke(app, ["calls"])
    named = CliRunner().invoke(app, ["calls", "--runtime-dir", str(tmp_path / "other")])

    assert alone.stderr.startswith(f"nh does not run with runtime directory {tmp_path / 'own' / 'nh'};")
    assert beside.stderr == alone.stderr.rstrip() + f", such as {service}\n"
    assert str(service) not in named.stderr


def test_a_user_who_may_not_look_into_the_runtime_directory_is_told_so(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.seteuid(OTHER_UID)
    else:
        directory.chmod(0)
    try:
        result = CliRunner().invoke(app, ["calls", "--runtime-dir", str(directory)])
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        else:
            directory.chmod(0o700)

    assert result.exit_code == 1
    assert "permission denied; run as the relay's user" in result.stderr, result.exception
