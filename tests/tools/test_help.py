"""`--help` of each tool and benchmark says what it does, and does nothing."""

import runpy
import signal
import sys
from pathlib import Path

import pytest

from tests.tools.test_ending import programs

README = Path(__file__).parents[2] / "benchmarks" / "README.md"
PARTS = {"benchmarks.floor_relay"}
"""Programs that only others run."""


def test_the_page_of_the_benchmarks_has_each_of_them() -> None:
    text = README.read_text()
    names = {name for name in programs() if name.startswith("benchmarks")} - PARTS
    assert [name for name in sorted(names) if f"\npython -m {name} " not in text] == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", programs())
def test_help_says_what_a_program_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tools.ending.end_in_order", lambda: None)  # this process ends as pytest wants it
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    finally:
        signal.signal(
            signal.SIGINT, before
        )  # one that ignores it would have children of later tests ignore it
    assert not ended.value.code
    assert "usage: " in capsys.readouterr().out.lower()
    assert list(tmp_path.iterdir()) == []
