"""Try nh.service, or the package of Debian, under a systemd in a container.

It takes root, Linux, debootstrap, and a mirror of Debian.

Exit status 0: every promise held; 1: some did not; 2: it could not be tried. Debian stays in --root for
the next time (400 MB), nothing else does.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools.arguments import number, whole_number
from tools.packaging.deb import CannotBuild, copy_packages
from tools.systemd.trial.container import Container
from tools.systemd.trial.errors import CannotTry
from tools.systemd.trial.root import SUITES, install_trial, make_root, remove_root
from tools.systemd.trial.scenarios import NAMES

CACHE: Final = Path("/var/cache/nh-trial")
MIRROR: Final = "http://deb.debian.org/debian"
PROGRAMS: Final = {
    "debootstrap": "debootstrap",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
    "pivot_root": "util-linux",
    "chroot": "coreutils",
}
"""What is needed on the host, and the package of Debian that has it."""


def main() -> int:
    """The program; its exit status."""
    arguments = _parser().parse_args()
    arguments.root = arguments.root or CACHE / arguments.suite
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        _check_host()
        return _try(arguments)
    except (CannotTry, CannotBuild) as exc:
        print(f"trial: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2


def _try(arguments: argparse.Namespace) -> int:
    root = arguments.root.resolve()
    with _alone(root):  # the removal, too: another trial may wait for this Debian
        try:
            return _try_in(root, arguments)
        finally:
            if arguments.remove:
                remove_root(root)


def _try_in(root: Path, arguments: argparse.Namespace) -> int:
    suite = arguments.suite
    _say(f"Debian {suite} in {root} ...")
    _say("  installed" if make_root(root, suite, arguments.mirror) else "  is there")
    _say("nh ...")
    calls = ["--calls", str(arguments.calls)]
    if arguments.deb:
        install_trial(root, suite, "/opt/trial/nh", "tools.systemd.trial.package", shlex.join(calls))
        copy_packages(arguments.deb, root / "opt/trial")
    else:
        inside = shlex.join([*calls, *(arguments.only or ())])
        install_trial(root, suite, "/opt/nh", "tools.systemd.trial.inside", inside)
    container = Container(root, timeout_s=60 * arguments.minutes)
    for line in container.run():
        print(line, flush=True)
    return container.status


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no other trial uses that Debian."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_host() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise CannotTry("it takes root on Linux: a systemd is started in a container")
    missing = [f"{it} (package {PROGRAMS[it]})" for it in PROGRAMS if shutil.which(it) is None]
    if missing:
        raise CannotTry(f"needed and not there: {', '.join(missing)}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.systemd.trial",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--suite", choices=SUITES, default="bookworm", help="of Debian (default: bookworm)")
    parser.add_argument("--root", type=Path, help=f"where Debian is put (default: {CACHE}/SUITE)")
    parser.add_argument("--mirror", default=MIRROR, help=f"of Debian (default: {MIRROR})")
    parser.add_argument("--calls", type=whole_number(1), default=20, help="calls at once (default: 20)")
    parser.add_argument(
        "--only", action="append", choices=NAMES, metavar="NAME", help=f"repeatable: {', '.join(NAMES)}"
    )
    parser.add_argument("--deb", type=Path, metavar="FILE", help="try this package of `make deb` instead")
    parser.add_argument(
        "--minutes", type=number(0.1, 10_000), default=20.0, help="the longest it may take (default: 20)"
    )
    parser.add_argument("--remove", action="store_true", help="remove Debian at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
