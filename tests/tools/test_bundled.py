"""What of tools a wheel of nh has: the load generator and the man pages, whole and with nothing else."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_has_the_load_generator_where_nh_load_looks() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {
        "tools/__init__.py": "nh/bundled/tools/__init__.py",
        "tools/arguments.py": "nh/bundled/tools/arguments.py",
        "tools/ending.py": "nh/bundled/tools/ending.py",
        "tools/man_pages.py": "nh/bundled/tools/man_pages.py",
        "tools/rtpload": "nh/bundled/tools/rtpload",
    }
    assert '"bundled"' in (ROOT / "nh/cli/load.py").read_text()


def test_what_is_bundled_needs_no_other_tool() -> None:
    alone = [ROOT / "tools" / f"{name}.py" for name in ("arguments", "ending", "man_pages")]
    for file in (*(ROOT / "tools/rtpload").rglob("*.py"), *alone):
        # within a package of rtpload, a dot is that package
        imported = r"(?:from|import) (?:tools)?\.(\w+)" if file in alone else r"(?:from|import) tools\.(\w+)"
        others = set(re.findall(imported, file.read_text())) - {"arguments", "ending", "rtpload"}
        assert not others, file
