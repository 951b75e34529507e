"""The host as the checks see it: files below a root, programs, and what no file says. Tests play it."""

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nh.fastpath.probe import effective_capabilities
from nh.paths import is_permitted
from nh.supervisor.host.cpus import usable_cpus

PROGRAM_S: Final = 2.0
"""A program that is asked may take so long."""

MAX_FILE_BYTES: Final = 8 << 20
_TIME_ERROR: Final = 5
"""adjtimex(2): the clock is not synchronized."""


class Host:
    """This host.

    Args:
        root: where /proc, /sys and /dev are looked for.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def text(self, path: str) -> str:
        """The content of a file without blanks around it; "" if it cannot be read."""
        try:
            with (self._root / path.lstrip("/")).open("rb") as stream:
                return stream.read(MAX_FILE_BYTES).decode(errors="replace").strip()
        except OSError:
            return ""

    def numbers(self, path: str) -> tuple[int, ...]:
        """The whole numbers in a file; none if it cannot be read or has anything else."""
        words = self.text(path).split()
        return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none if it cannot be read."""
        try:
            return sorted(each.name for each in (self._root / path.lstrip("/")).iterdir())
        except OSError:
            return []

    def exists(self, path: str) -> bool:
        """Whether there is such a file; False also where this user may not look."""
        return is_permitted(self._root / path.lstrip("/"), os.F_OK)

    def is_writable(self, path: str) -> bool:
        """Whether this user may make files in a directory."""
        return is_permitted(self._root / path.lstrip("/"), os.W_OK | os.X_OK)

    def output(self, words: Sequence[str]) -> str | None:
        """What a program prints; None if it is not there, fails or takes longer than PROGRAM_S."""
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PROGRAM_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def free_bytes(self, path: str) -> int | None:
        """What a user may still write to the file system of a path; None if it cannot be told."""
        try:
            status = os.statvfs(self._root / path.lstrip("/"))
        except OSError:
            return None
        return status.f_bavail * status.f_frsize

    def has_capability(self, capability: int, pid: int | None = None) -> bool:
        """Whether a process has a capability; False if that cannot be told.

        Args:
            capability: its number, see capabilities(7).
            pid: of the process; None, or 0: this one.
        """
        effective = effective_capabilities(self.text(f"/proc/{pid or 'self'}/status"))
        return bool((effective or 0) >> capability & 1)

    def clock_is_synchronized(self) -> bool:
        """Whether the kernel takes its clock for synchronized; True if it cannot be told."""
        buffer = ctypes.create_string_buffer(512)  # struct timex has 208 bytes
        try:
            return int(ctypes.CDLL(None).adjtimex(buffer)) != _TIME_ERROR
        except (OSError, AttributeError):
            return True

    @property
    def cpus(self) -> int:
        """How many CPUs this process may use."""
        return len(usable_cpus())
