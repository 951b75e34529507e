"""nh.service as the systemd of this container has it, and what systemd and nh say of it.

Its settings are in /etc/default/nh and /etc/nh.toml, as the documentation says. `Unit` is what
tools.survive.scenario plays calls through.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nh.stats import read_once
from nh.stats.reading import StatsReading
from tools.harness import HarnessError
from tools.harness.relay import shard_pid
from tools.harness.waiting import eventually

NAME: Final = "nh.service"
NH: Final = "/opt/nh/bin/nh"
RUNTIME: Final = Path("/run/nh")
STATE: Final = Path("/var/lib/nh")
DEFAULTS: Final = Path("/etc/default/nh")
TOML: Final = Path("/etc/nh.toml")
SHARDS: Final = 2
HANG_S: Final = 1.0

COMMAND_S: Final = 150.0
"""Longer than the unit's own limits: what systemd makes of them is to be seen."""

BACK_S: Final = 30.0
"""How long to wait for a supervisor; WatchdogSec is 15 s."""

POLL_S: Final = 0.1
"""Pause between two questions to systemd: each starts a process, and the CPUs are those of the calls."""


class Unit:
    """The unit.

    Args:
        kernel: whether media go through the kernel, on loopback.

    Attributes:
        kernel: the same.
        address: the Unix socket at which nh serves RPC.
    """

    def __init__(self, *, kernel: bool) -> None:
        self.kernel = kernel
        self.address = str(RUNTIME / "nh.sock")
        self._since = 0.0

    # --- its settings ---------------------------------------------------------------------------

    def write_settings(self, more: Mapping[str, str] | None = None) -> None:
        """Write both files; `more` goes to /etc/default/nh, as NAME=VALUE."""
        self.write_toml(shards=SHARDS)
        settings = {"NH_CONFIG": str(TOML), "NH_HANG_S": f"{HANG_S:g}", **(more or {})}
        DEFAULTS.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def write_toml(self, *, shards: int) -> None:
        """Write the file that /etc/default/nh names."""
        kernel = 'kernel = "on"\nkernel_interface = ["lo"]\n' if self.kernel else 'kernel = "off"\n'
        TOML.write_text(f"shards = {shards}\n{kernel}")

    # --- from scratch and back ------------------------------------------------------------------

    def begin(self) -> None:
        """Start it with these settings and no calls."""
        self.write_settings()
        self.note_the_time()
        self.systemctl("start", NAME)

    def note_the_time(self) -> None:
        """What the journal says from now on is `said`."""
        self._since = time.time()

    def wipe(self) -> None:
        """End it, however it is, and remove what it has kept."""
        self.try_systemctl("kill", "--kill-whom=all", "--signal=KILL", NAME)
        self.try_systemctl("stop", NAME)
        eventually(lambda: not self.processes(), "nothing of it runs")
        self.try_systemctl("reset-failed", NAME)
        for directory in (RUNTIME, STATE):
            shutil.rmtree(directory, ignore_errors=True)

    # --- asking systemd -------------------------------------------------------------------------

    def systemctl(self, *words: str) -> str:
        """What systemctl says. Raises HarnessError if it fails."""
        done = self.try_systemctl(*words)
        if done.returncode != 0:
            raise HarnessError(f"systemctl {' '.join(words)}: {done.stderr}. nh said:\n{self.last_output()}")
        return done.stdout.strip()

    def try_systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What comes of systemctl."""
        return run("systemctl", *words)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", "--value", f"--property={name}", NAME)

    @property
    def main_pid(self) -> int:
        """The supervisor; 0 if there is none."""
        return int(self.show("MainPID"))

    @property
    def started_ns(self) -> int:
        """When systemd started the present supervisor, on the monotonic clock."""
        return int(self.show("ExecMainStartTimestampMonotonic")) * 1000

    @property
    def active_ns(self) -> int:
        """When it became active the last time, on the monotonic clock."""
        return int(self.show("ActiveEnterTimestampMonotonic")) * 1000

    def wait_until_active(self, *, after: int = 0) -> int:
        """Return when another supervisor than the process `after` is ready: its pid."""
        found = 0

        def is_active() -> bool:
            nonlocal found
            lines = self.systemctl("show", "--property=MainPID,ActiveState", NAME).splitlines()
            shown = dict(line.split("=", 1) for line in lines)
            found = int(shown["MainPID"])
            return shown["ActiveState"] == "active" and found not in (0, after)

        eventually(
            is_active,
            "systemd has another supervisor active",
            BACK_S,
            poll_s=POLL_S,
            details=self.last_output,
        )
        return found

    def reload(self) -> tuple[float, float]:
        """systemctl reload, and wait until a shard has a successor; seconds that either took.

        systemctl itself returns when the supervisor has been told.
        """
        before = self.shard_pid(0)
        began = time.monotonic()
        self.systemctl("reload", NAME)
        returned = time.monotonic()
        eventually(
            lambda: self.shard_pid(0) not in (0, before), "shard 0 has a successor", details=self.last_output
        )
        return returned - began, time.monotonic() - began

    def processes(self) -> list[int]:
        """The processes in its control group."""
        group = Path("/sys/fs/cgroup", self.show("ControlGroup").lstrip("/") or "system.slice/nh.service")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
        return []

    def said(self) -> str:
        """What the journal has of it since note_the_time()."""
        return run("journalctl", "--quiet", "--unit=nh", f"--since=@{self._since:.3f}", "--output=cat").stdout

    def last_output(self) -> str:
        """The last lines of that."""
        return "\n".join(self.said().splitlines()[-25:])

    # --- asking nh ------------------------------------------------------------------------------

    def stats(self) -> StatsReading:
        """The counters as they were last published. Raises StatsUnavailable."""
        return read_once(RUNTIME)

    def shard_pid(self, shard: int) -> int:
        """The process of a shard that is up; 0 if it is not."""
        return shard_pid(RUNTIME, shard)

    def nh(self, *words: str) -> str:
        """What a subcommand of nh says to root. Raises HarnessError if it fails."""
        done = run(NH, *words)
        if done.returncode != 0:
            raise HarnessError(f"nh {' '.join(words)}: {done.stderr}. nh run said:\n{self.last_output()}")
        return done.stdout.strip()


def run(*words: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    """What comes of a command.

    Args:
        words: the command line.
        user: who runs it, with all of the user's groups.
    """
    account = pwd.getpwnam(user)
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=os.getgrouplist(user, account.pw_gid),
        env={**os.environ, "HOME": account.pw_dir, "USER": user},
    )
