"""`--help` of each tool and benchmark says what it does, and does nothing."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.tools.test_ending import programs


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", programs())
def test_help_says_what_a_program_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.ending.end_in_order", lambda: None)  # this process ends as pytest wants it
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert not ended.value.code
    assert "usage: " in capsys.readouterr().out.lower()
    assert list(tmp_path.iterdir()) == []
