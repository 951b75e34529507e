"""docs/how-to/library.md: programs with its examples pass the checks of types that nh's own code passes."""

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "library.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.timeout(300)  # mypy reads all of nh where `make check` has not done so
def test_the_examples_pass_mypy_in_its_strict_mode(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with contextlib.suppress(OSError):  # there is none, or another mypy changes it meanwhile
        shutil.copytree(ROOT / ".mypy_cache", cache)
    for number, text in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(text)
    words: list[str | Path] = ["--strict", "--cache-dir", cache, *tmp_path.glob("*.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert len(EXAMPLES) > 5
    assert done.returncode == 0, done.stdout + done.stderr
