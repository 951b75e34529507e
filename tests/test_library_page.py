"""docs/how-to/library.md: programs with its examples pass the checks of types that nh's own code passes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "library.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.timeout(300)  # mypy reads all of nh
def test_the_examples_pass_mypy_in_its_strict_mode(tmp_path: Path) -> None:
    for number, text in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(text)
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = True\n")
    words: list[str | Path] = ["--config-file", settings, "--cache-dir", tmp_path / "cache"]
    words += tmp_path.glob("*.py")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert len(EXAMPLES) > 5
    assert done.returncode == 0, done.stdout + done.stderr
