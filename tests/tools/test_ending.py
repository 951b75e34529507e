"""Ctrl-C and SIGTERM end every tool and benchmark with all that it has started, and without a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tools import TERMINATED
from tools.harness.program import Program
from tools.harness.waiting import eventually

ROOT = Path(__file__).parents[2]
END_S = 20.0

INTERRUPTING = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, *_):
        if sys.argv[0] != "-m" and "tools" in sys.modules:  # the module of the program is being executed
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
"""
"""A sitecustomize that interrupts the first import of a program."""


def programs() -> list[str]:
    """What can be run as `python -m NAME`."""
    found = []
    for path in [*(ROOT / "tools").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        if '\nif __name__ == "__main__":' in path.read_text():
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    return sorted(found)


@pytest.mark.parametrize("name", programs())
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
