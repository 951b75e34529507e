"""tools.harness.program: what a program says is known in time."""

import sys
from pathlib import Path

import pytest

from tools.harness.program import Program
from tools.harness.waiting import eventually


def test_what_it_wrote_before_it_did_something_is_there_however_late_the_reading_thread_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Program, "_read", lambda _: None)
    done = tmp_path / "done"
    code = f"import pathlib; print('this'); pathlib.Path({str(done)!r}).touch(); print('that', end='')"
    with Program([sys.executable, "-c", code]) as program:
        eventually(done.exists, "it has done it")
        assert program.lines[:1] == ["this"]
        assert program.wait() == 0
        assert program.output == "this\nthat"


def test_lines_end_as_programs_end_them() -> None:
    code = "import os; [os.write(1, each) for each in (b'one\\r', b'\\ntwo\\rth', b'\\xffree\\n\\nfour')]"
    with Program([sys.executable, "-c", code]) as program:
        assert program.wait_for_line("four") == "four"
        assert program.lines == ["one", "two", "th\ufffdree", "", "four"]
