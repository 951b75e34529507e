"""The rooms' import rules (pyproject.toml, docs/explanation/architecture.md): who may know whom."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_room_imports_what_it_must_not_know() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_domain_loads_without_any_means_of_io() -> None:
    # the rules above are about what nh's modules name; this one is about what really gets loaded
    program = (
        "import sys, nh.calls.table\n"
        "print(*(name for name in ('socket', 'select', 'selectors', 'logging') if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
