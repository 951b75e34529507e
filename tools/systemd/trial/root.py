"""The root file system of the container: a small Debian, with nh and this program in it.

Debian stays in its directory for the next trial, nh is installed anew each time. Programs that do something
there run in mount and process namespaces of their own, so that nothing of them stays.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.systemd.trial.errors import CannotTry

SUITES: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""Releases of Debian with their Python, which may need other wheels than the one that runs this."""

PACKAGES: Final = (
    "systemd,systemd-sysv,systemd-container,dbus,python3,python3-venv,iproute2,procps"  # debootstrap's way
)
REPOSITORY: Final = Path(__file__).parents[3]
STAMP: Final = "trial-root"
APART: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private")
NICE: Final = ("nice", "-n", "15")
PATH: Final = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
LINES: Final = 20


def make_root(root: Path, suite: str, mirror: str) -> bool:
    """Install Debian, if it is not there as it shall be; whether it had to be. Raises CannotTry."""
    stamp = root / STAMP
    wanted = f"{suite} {PACKAGES}\n"
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    if root.exists() and any(root.iterdir()) and not stamp.exists():
        raise CannotTry(f"{root} has something else in it: name another directory, or empty it")
    remove_root(root)
    root.mkdir(parents=True, mode=0o755)
    stamp.write_text("unfinished\n")
    _run(*APART, *NICE, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), mirror)
    (root / "etc/systemd/system/console-getty.service").symlink_to("/dev/null")
    stamp.write_text(wanted)
    return True


def install_trial(root: Path, suite: str, environment: str, module: str, arguments: str) -> None:
    """Install nh as docs/how-to/systemd.md says, and the program that the container runs.

    Args:
        root, suite: as in make_root.
        environment: the virtual environment, a path in the container: nh is in it, and runs the program.
        module: the program.
        arguments: its arguments.

    Raises:
        CannotTry: it cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix="nh-trial-") as name:
        wheels = Path(name)
        _collect_wheels(wheels, SUITES[suite])
        inside = root / "opt/wheels"
        shutil.rmtree(inside, ignore_errors=True)
        shutil.copytree(wheels, inside)
    trial = root / "opt/trial"
    for left in (root / "opt/nh", trial):
        shutil.rmtree(left, ignore_errors=True)
    nh = f"{environment}/bin/python -m pip install --isolated --quiet --no-index --find-links /opt/wheels nh"
    script = f"python3 -m venv {environment} && {nh}"
    _run(*APART, *NICE, "chroot", str(root), "/usr/bin/env", "-i", PATH, "/bin/sh", "-c", script)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "tools", trial / "tools", ignore=ignored)
    (trial / "environment").write_text(
        f"TRIAL_PYTHON={environment}/bin/python\nTRIAL_MODULE={module}\nTRIAL_ARGUMENTS={arguments}\n"
    )
    unit = root / "etc/systemd/system/nh-trial.service"
    shutil.copy(Path(__file__).with_name(unit.name), unit)
    wants = unit.parent / "multi-user.target.wants" / unit.name
    wants.unlink(missing_ok=True)
    wants.symlink_to(unit.name)


def remove_root(root: Path) -> None:
    """Remove what make_root made; a directory that is something else stays."""
    if (root / STAMP).exists():
        shutil.rmtree(root)


def _collect_wheels(directory: Path, python: str) -> None:
    """nh, and what it needs under that Python."""
    pip = (*NICE, sys.executable, "-m", "pip", "--quiet")
    _run(*pip, "wheel", "--no-deps", "--wheel-dir", str(directory), str(REPOSITORY))
    (wheel,) = directory.glob("nh-*.whl")
    only = ("--only-binary=:all:", f"--python-version={python}")
    _run(*pip, "download", *only, "--dest", str(directory), str(wheel))


def _run(*words: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        lately = "\n".join(done.stdout.splitlines()[-LINES:])
        raise CannotTry(f"{' '.join(words)} ended with status {done.returncode}:\n{lately}")
