"""Several versions of nh on one host: copies of the package, and a link to the one that is installed."""

import os
import shutil
from pathlib import Path

import nh

HOME = Path(nh.__file__).parent


class Versions:
    """Copies of nh below a directory, as it was at first; `path` is where the installed one is found.

    They have the bytecode that there is: a process would take seconds of a CPU to compile all of nh.

    Args:
        directory: of its own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "current"
        self._first = directory / "first"
        shutil.copytree(HOME, self._first / "nh")

    def make(self, version: str) -> "Version":
        """A copy of nh with another version."""
        home = self._directory / version
        shutil.copytree(self._first / "nh", home / "nh")
        made = Version(version, home)
        made.change("nh/version.py", f'__version__ = "{nh.__version__}"', f'__version__ = "{version}"')
        return made

    def install(self, version: "Version") -> None:
        """Have the link point to a version from now on."""
        link = self._directory / "new"
        link.symlink_to(version.home)
        link.rename(self.path)

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Python (with -P) finds the installed one."""
        return {"PYTHONPATH": os.fspath(self.path), "PYTHONDONTWRITEBYTECODE": "1"}


class Version:
    """One copy.

    Args:
        name: what it calls itself.
        home: where the package is.
    """

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home

    def change(self, file: str, text: str, by: str) -> None:
        """Replace the only place of a text in a file."""
        path = self.home / file
        code = path.read_text()
        assert code.count(text) == 1, f"{text!r} is {code.count(text)} times in {file}"
        path.write_text(code.replace(text, by))

    def append(self, file: str, text: str) -> None:
        """Write something at the end of a file."""
        with (self.home / file).open("a") as stream:
            stream.write(text)
