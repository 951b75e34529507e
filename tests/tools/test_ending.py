"""Ctrl-C and SIGTERM end every tool and benchmark with all that it has started, and without a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.profiles import quick_first
from tools.ending import TERMINATED
from tools.harness.program import Program
from tools.harness.waiting import eventually

ROOT = Path(__file__).parents[2]
END_S = 20.0

INTERRUPTING = """
import os, signal, sys, types, typing  # those of tools.ending: the next import is one of the program

class CtrlC:
    def find_spec(self, name, *_):
        if "tools.ending" in sys.modules:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
"""
"""A sitecustomize that interrupts the first import of a program behind its guard."""

STARTING = """
import os, signal, sys
from tools.harness.program import Program

def ctrl_c_in_popen(frame, event, function):
    if event == "c_call" and function is os.read and frame.f_code.co_name == "_execute_child":
        sys.setprofile(None)
        signal.raise_signal(signal.SIGINT)

if sys.argv[1] == "in Popen":
    sys.setprofile(ctrl_c_in_popen)
Program([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]])
signal.raise_signal(signal.SIGINT)  # before a context has begun that would end it
"""
"""A tool that Ctrl-C interrupts while it starts a program, or just after that."""


def programs() -> list[str]:
    """What can be run as `python -m NAME`."""
    found = []
    for path in [*(ROOT / "tools").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        if '\nif __name__ == "__main__":' in path.read_text():
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return sorted(found)


@pytest.mark.parametrize("name", quick_first(programs()))
def test_ctrl_c_during_the_imports_prints_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTING)
    done = subprocess.run(
        [sys.executable, "-m", name, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert done.returncode != 0


@pytest.mark.parametrize("module", ["tools.demo", "tools.rtpload", "benchmarks.set_up"])
def test_a_program_that_imports_a_tool_keeps_its_own_ways_to_end(module: str) -> None:
    check = (
        f"import signal, sys, {module}\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and sys.excepthook is sys.__excepthook__"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, {1, -signal.SIGINT}), (signal.SIGTERM, {TERMINATED})]
)
def test_a_signal_ends_the_relay_of_a_tool(signum: signal.Signals, status: set[int]) -> None:
    with Program([sys.executable, "-m", "tools.demo", "--seconds", "600"]) as program:
        tool = psutil.Process(program.pid)
        eventually(tool.children, "the tool has started a relay")
        relay = tool.children()
        tool.send_signal(signum)
        assert program.wait(END_S) in status
        assert "Traceback" not in program.output
        assert not any(each.is_running() for each in relay)


@pytest.mark.parametrize("when", ["in Popen", "behind it"])
def test_ctrl_c_while_a_tool_starts_a_program_ends_that_too(when: str, tmp_path: Path) -> None:
    mark = str(tmp_path)
    with Program([sys.executable, "-c", STARTING, when, mark]) as tool:
        assert tool.wait(END_S) == -signal.SIGINT
    left = [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or [])]
    for process in left:
        process.kill()
    assert not left
