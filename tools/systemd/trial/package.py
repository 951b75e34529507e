"""The life of the Debian package in a container, where `python -m tools.systemd.trial --deb FILE` runs this.

Exit status 0: every promise held; 1: some did not.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import os
import pwd
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nh.version import __version__
from tools.harness.waiting import eventually
from tools.packaging.deb import OTHER_VERSION
from tools.survive.faults import FaultKind, Injected
from tools.survive.scenario import play_while
from tools.systemd.trial.actions import require
from tools.systemd.trial.console import Seen, report, tell
from tools.systemd.trial.scenarios import FAILURES
from tools.systemd.trial.unit import NAME, NH, STATE, Unit, run

PACKAGES: Final = {__version__: "/opt/trial/nh-1.deb", OTHER_VERSION: "/opt/trial/nh-2.deb"}
SETTINGS: Final = Path("/etc/nh/nh.toml")
PARTS: Final = (
    "/usr/bin/nh",
    "/usr/share/man/man1/nh-run.1.gz",
    "/usr/share/bash-completion/completions/nh",
    "/usr/share/zsh/vendor-completions/_nh",
    "/usr/share/fish/vendor_completions.d/nh.fish",
    "/usr/share/doc/nh/docs/reference/configuration.md",
    "/usr/share/doc/nh/copyright",
)
OTHERS: Final = (
    *("/proc", "/sys", "/tmp", "/run/systemd", "/run/log"),
    *("/var/lib/dpkg", "/var/log", "/var/cache", "/opt/trial"),
)
"""Where the kernel, systemd, dpkg, the journal and this program write."""

PATIENCE_S: Final = 2.0
"""dpkg and the packets share the CPUs: packets may be late, and must not be lost."""


class Step(NamedTuple):
    """A step in the life of the package. Args: run: what is done; returns what was seen, or raises Broken."""

    name: str
    promised: str
    run: Callable[["Host", int], Seen]


class Host:
    """The host on which the package is installed, and what was there before.

    Attributes:
        unit: that of the package.
        files: what was there before.
    """

    def __init__(self) -> None:
        self.unit = Unit(kernel=False)
        self.files = set(files())

    def install(self, version: str) -> str:
        """Install the package of that version; what dpkg says."""
        done = run("dpkg", "--install", PACKAGES[version])
        require(done.returncode == 0, f"dpkg --install: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def wait_for(self, version: str) -> None:
        """Wait until that version runs."""

        def runs() -> bool:
            said = run(NH, "health", "--json").stdout
            return '"ready":true' in said and f'"version":"{version}"' in said

        eventually(runs, f"nh {version} runs", details=self.unit.last_output)


def install(host: Host, _calls: int) -> Seen:
    """Install the package on a host without nh."""
    host.unit.note_the_time()
    host.install(__version__)
    host.wait_for(__version__)
    state = host.unit.show("ActiveState"), host.unit.show("UnitFileState")
    require(state == ("active", "enabled"), f"the unit is {state}")
    require(not (lost := [part for part in PARTS if not Path(part).exists()]), f"it has no {lost}")
    account = pwd.getpwnam("nh")
    require(account.pw_uid < 1000, f"nh is user {account.pw_uid}, and no system user")
    require(Path(f"/proc/{host.unit.main_pid}").stat().st_uid == account.pw_uid, "nh runs as another user")
    SETTINGS.write_text(f'{SETTINGS.read_text()}\nshards = 2\nkernel = "off"\n')
    host.unit.reload()
    shards = len(host.unit.stats().shards)
    require(shards == 2, f"{SETTINGS} says 2 shards, there are {shards}")
    return Seen(f"active and enabled, user nh is {account.pw_uid}, {SETTINGS} is in force", [])


def upgrade(host: Host, calls: int) -> Seen:
    """Install another version while calls play."""
    return _replace(host, OTHER_VERSION, calls)


def downgrade(host: Host, calls: int) -> Seen:
    """Install the first version again while calls play."""
    return _replace(host, __version__, calls)


def upgrade_refused(host: Host, calls: int) -> Seen:
    """Install another version where the settings cannot be used, while calls play."""
    good = SETTINGS.read_text()
    said: list[str] = []

    def happen() -> None:
        SETTINGS.write_text(good.replace("shards = 2", "shards = 999"))
        said.append(host.install(OTHER_VERSION))
        SETTINGS.write_text(good)

    seen = _under_calls(host, FaultKind.NONE, happen, calls)
    require("shards: 999" in said[0], f"dpkg does not show the reason: {said[0]}")
    require("Correct the reason" in said[0], f"dpkg does not say what to do: {said[0]}")
    host.unit.systemctl("reload", NAME)
    host.wait_for(OTHER_VERSION)
    return seen


def upgrade_stopped(host: Host, _calls: int) -> Seen:
    """Install another version while nh is stopped."""
    host.unit.systemctl("stop", NAME)
    host.install(__version__)
    state = host.unit.show("ActiveState")
    require(state == "inactive", f"it is {state}")
    host.unit.systemctl("start", NAME)
    return Seen("inactive afterwards, and started by systemctl start", [])


def remove(_host: Host, _calls: int) -> Seen:
    """Remove the package."""
    done = run("dpkg", "--remove", "nh")
    require(done.returncode == 0, f"dpkg --remove: {done.stdout}{done.stderr}")
    left = [pid for pid in _processes() if pid != os.getpid()]
    require(not left, f"processes of nh are left: {left}")
    require(not Path("/opt/nh").exists(), "/opt/nh is left")
    require(SETTINGS.exists(), f"{SETTINGS} is gone")
    require(STATE.exists(), f"{STATE} is gone")
    return Seen(f"no process, no /opt/nh; {SETTINGS} and {STATE} stay", [])


def purge(host: Host, _calls: int) -> Seen:
    """Purge the package."""
    done = run("dpkg", "--purge", "nh")
    require(done.returncode == 0, f"dpkg --purge: {done.stdout}{done.stderr}")
    left = sorted(set(files()) - host.files)
    require(not left, f"files are left: {left[:20]}")
    for database in ("passwd", "group"):
        require(run("getent", database, "nh").returncode != 0, f"nh is left in {database}")
    require(
        "nh" not in run("systemctl", "list-unit-files", "nh.service", "--no-legend").stdout,
        "the unit is left",
    )
    return Seen("no file that was not there before, no user, no group, no unit", [])


STEPS: Final = (
    Step("install", "nh runs as its user with the settings of /etc/nh", install),
    Step("upgrade", "the new version, same process, no packet is lost", upgrade),
    Step("downgrade", "the old version, same process, no packet is lost", downgrade),
    Step("upgrade-refused", "settings that cannot be used: the old version runs on", upgrade_refused),
    Step("upgrade-stopped", "a stopped nh stays stopped", upgrade_stopped),
    Step("remove", "nh is stopped, settings and calls stay", remove),
    Step("purge", "nothing is left", purge),
)


def main() -> int:
    """The program; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, required=True)
    calls = parser.parse_args().calls
    host = Host()
    failed = 0
    for step in STEPS:
        began = time.monotonic()
        try:
            seen = step.run(host, calls)
        except FAILURES as exc:
            seen = Seen("", [str(exc), *host.unit.last_output().splitlines()])
        failed += bool(seen.failures)
        report(step.name, step.promised, seen, time.monotonic() - began)
    tell(f"{len(STEPS)} steps, {failed} in which a promise did not hold")
    return 1 if failed else 0


def files() -> Iterator[str]:
    """The files and directories of the host, but for OTHERS."""
    for top, directories, names in os.walk("/"):
        directories[:] = [name for name in directories if not str(Path(top, name)).startswith(OTHERS)]
        yield from (str(Path(top, name)) for name in (*directories, *names))


def _replace(host: Host, version: str, calls: int) -> Seen:
    before = host.unit.main_pid

    def happen() -> None:
        host.install(version)
        host.wait_for(version)

    seen = _under_calls(host, FaultKind.UPGRADE, happen, calls)
    require(host.unit.main_pid == before, "there is another supervisor")
    return seen


def _under_calls(host: Host, kind: FaultKind, happen: Callable[[], object], calls: int) -> Seen:
    def strike() -> Injected:
        began_ns = time.monotonic_ns()
        happen()
        return Injected(kind, began_ns, time.monotonic_ns(), 0, "the package")

    outcome = play_while(host.unit, strike, random.Random(), calls=calls, patience_s=PATIENCE_S)
    return Seen(outcome.cost, outcome.failures)


def _processes() -> Iterator[int]:
    """Processes of /opt/nh."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if b"/opt/nh/" in (directory / "cmdline").read_bytes():
                yield int(directory.name)
        except OSError:
            continue


if __name__ == "__main__":
    sys.exit(main())
