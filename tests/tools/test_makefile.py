"""Makefile: what it gives the shell is what a shell can read, from the first target in a fresh clone on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^# make ([a-z-]+)", (ROOT / "Makefile").read_text(), re.MULTILINE)


def recipe(target: str, *words: str) -> str:
    """The commands of a target and of all that it needs, in a clone that has no environment yet."""
    command = ["make", "--dry-run", "--always-make", target, "VENV=/nonexistent", "NODE=/nonexistent-node"]
    return subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", TARGETS)
def test_the_shell_can_read_the_recipe(target: str) -> None:
    # the choice of a Python starts several, for each of its places in the recipe
    commands = recipe(target, "PYTHON=python3")
    done = subprocess.run(["sh", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fresh_clone_gets_what_running_nh_needs() -> None:
    """With every extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ",".join(sorted(project["optional-dependencies"]))
    assert f"--editable '.[{extras}]'" in recipe("run")
