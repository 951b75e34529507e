"""Colours, and terminals that have none."""

import os
import subprocess
import sys

import pytest
import typer

from nh.cli.terminal import coloured, is_dumb, outlived


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals_and_users_that_want_them(
    environment: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert coloured("ok", typer.colors.GREEN) == ("\x1b[32mok\x1b[0m" if is_coloured else "ok")
    assert is_dumb() == (environment.get("TERM") == "dumb")


def test_ctrl_c_says_that_what_nh_has_begun_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), outlived("the move goes on"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "nh: only this command has ended: the move goes on\n"


def test_what_a_command_tells_a_reader_that_has_gone_does_not_end_it() -> None:
    script = (
        "from nh.cli.terminal import tell\n"
        "tell('moving', err=True); tell('moved'); tell(b'moved', err=True); exit(7)"
    )
    reader, gone = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=gone, stderr=gone, timeout=60, check=False)
    os.close(gone)
    assert done.returncode == 7
