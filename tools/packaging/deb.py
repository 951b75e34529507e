"""`python -m tools.packaging.deb DIRECTORY`: build the Debian package of nh there.

dpkg-buildpackage wants debian/ at the top of the source, so it gets a copy of the files that git has, with
tools/packaging/debian at the top and a changelog with nh's version.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import shutil
import subprocess
import sys
import tempfile
from email.utils import formatdate
from pathlib import Path
from typing import Final

from nh.version import __version__
from tools.arguments import new_directory

ROOT: Final = Path(__file__).parents[2]
NEEDED: Final = {"dpkg-buildpackage": "dpkg-dev", "dh": "debhelper", "dh_installsysusers": "debhelper"}
"""Programs, and the packages of Debian that have them. dpkg-buildpackage names what else is missing."""

OTHER_VERSION: Final = f"{__version__}.post1"


class CannotBuild(Exception):
    """The package could not be built; the message says why."""


def main() -> int:
    """Build, and print the path of the package; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.packaging.deb",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument(
        "directory", type=new_directory, metavar="DIRECTORY", help="it is made if it is not there"
    )
    directory = parser.parse_args().directory
    try:
        print(build(directory))
    except CannotBuild as exc:
        print(f"deb: {exc}", file=sys.stderr)
        return 1
    return 0


def obstacle() -> str:
    """What keeps this host from building; "" if nothing does."""
    missing = sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})
    return f"needs {', '.join(missing)}: apt-get install debhelper python3-venv" if missing else ""


def build(directory: Path) -> Path:
    """Build the package.

    Args:
        directory: where the package is put; it is made if it does not exist.

    Returns:
        The path of the package.

    Raises:
        CannotBuild: the package cannot be built.
    """
    if found := obstacle():
        raise CannotBuild(found)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nh-deb-") as name:
        source = Path(name) / f"nh-{__version__}"
        _copy_source(source)
        _run("dpkg-buildpackage", "--build=binary", "--no-sign", "--no-pre-clean", cwd=source)
        (package,) = Path(name).glob("nh_*.deb")
        return Path(shutil.copy(package, directory))


def copy_packages(package: Path, directory: Path) -> None:
    """Copy the package as nh-1.deb, and as nh-2.deb with another number: what its trial installs.

    Raises:
        CannotBuild: the package cannot be built.
    """
    shutil.copy(package, directory / "nh-1.deb")
    with tempfile.TemporaryDirectory(prefix="nh-deb-") as name:
        tree = Path(name) / "nh"
        _run("dpkg-deb", "--raw-extract", str(package), str(tree), cwd=ROOT)
        (version,) = tree.glob("opt/nh/lib/python3*/site-packages/nh/version.py")
        for file in (version, tree / "DEBIAN/control"):
            file.write_text(file.read_text().replace(__version__, OTHER_VERSION))
        _run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(directory / "nh-2.deb"), cwd=ROOT)


def _copy_source(source: Path) -> None:
    for file in _run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if (ROOT / file).is_file():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, source / file)
    shutil.copytree(ROOT / "tools/packaging/debian", source / "debian")
    committed = float(_run("git", "log", "-1", "--format=%ct", cwd=ROOT))
    (source / "debian/changelog").write_text(
        f"nh ({__version__}) unstable; urgency=medium\n\n  * See /usr/share/doc/nh/CHANGELOG.md.\n\n"
        f" -- The nh authors <nh@localhost>  {formatdate(committed)}\n"
    )


def _run(*words: str, cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lately = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise CannotBuild(f"{' '.join(words)} ended with status {done.returncode}:\n{lately}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
