"""systemd in the root file system, from its start to its end; container.sh says what it cannot reach."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from tools.systemd.trial.console import told
from tools.systemd.trial.errors import CannotTry

SCRIPT: Final = Path(__file__).with_name("container.sh")
GONE_S: Final = 10.0
LINES: Final = 30


class Container:
    """A container that runs once.

    Args:
        root: see root.make_root().
        timeout_s: how long it may run.

    Attributes:
        status: its exit status.
    """

    def __init__(self, root: Path, *, timeout_s: float) -> None:
        self._root = root
        self._timeout_s = timeout_s
        self._others: list[str] = []
        self.status = 0

    def run(self) -> Iterator[str]:
        """Start it; what the trial says in it, line by line, until it has ended.

        It ends when the iteration does. Raises CannotTry.
        """
        group = _cgroups() / f"nh-trial-{os.getpid()}"
        group.mkdir()
        words = ["setpriv", "--pdeathsig", "KILL", "sh", str(SCRIPT), str(group), str(self._root)]
        process = subprocess.Popen(
            [*words, "systemd.show_status=no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        late = threading.Timer(self._timeout_s, process.kill)
        late.start()
        try:
            assert process.stdout is not None
            yield from self._read(process.stdout)
            status = process.wait()
        finally:
            late.cancel()
            process.kill()  # the first process of the namespaces dies with it, and so do all others
            process.wait()
            _remove(group)
        self._judge(status)

    def _read(self, console: IO[str]) -> Iterator[str]:
        for line in console:
            text = told(line)
            if text is not None:
                yield text
            else:
                self._others.append(line.rstrip())

    def _judge(self, status: int) -> None:
        self.status = status
        if status not in (0, 1):
            why = f"status {status}" if status > 0 else f"it was killed, {self._timeout_s:g} s are its limit"
            lately = "\n".join(self._others[-LINES:])
            raise CannotTry(f"the container has ended: {why}. On its console:\n{lately}")


def _cgroups() -> Path:
    """Where the host has its hierarchy of cgroup v2. Raises CannotTry."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] == "cgroup2":
            return Path(before.split()[4])
    raise CannotTry("no cgroup2 is mounted: mount -t cgroup2 cgroup2 DIRECTORY")


def _remove(group: Path) -> None:
    """Remove a control group whose processes have been killed."""
    deadline = time.monotonic() + GONE_S
    while "populated 1" in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise CannotTry(f"processes are left in {group}")
        time.sleep(0.05)
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            Path(directory).rmdir()
