"""The host as the checks see it: files below a root, programs, and what no file says. Tests play it."""

import ctypes
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from nh.config import Settings
from nh.config.sources import with_origin
from nh.doctor.comparison import Comparison
from nh.errors import NhError
from nh.paths import is_permitted
from nh.supervisor.host.cpus import usable_cpus
from nh.supervisor.start_checks import RunningNh, lock_is_hidden

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


class Patient(NamedTuple):
    """What a check looks at.

    Attributes:
        host: the host.
        settings: those that nh runs with, or would.
        pid: of the nh that runs with the runtime directory; 0: it is not known; None: none runs.
        compared: the settings of the nh that runs and those given; None: it does not tell its own.
        origins: where the settings came from, see LoadedSettings.
    """

    host: Host
    settings: Settings
    pid: int | None
    compared: Comparison | None = None
    origins: Mapping[str, str] = MappingProxyType({})

    def with_origin(self, exc: NhError) -> str:
        """What an error says about `settings`, with where the value of the setting came from."""
        return with_origin(str(exc), self.origins)

    @property
    def running(self) -> RunningNh | None:
        """The nh that runs with the runtime directory, for the checks of a start."""
        return RunningNh(self.settings.runtime_path) if self.pid is not None else None

    @property
    def is_hidden(self) -> bool:
        """Whether an nh may run that this user cannot see."""
        return self.pid is None and lock_is_hidden(self.settings.runtime_path)

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The ranges of media ports, each once, in order."""
        own = {self.settings.port_range} | {each.ports for each in self.settings.interfaces if each.ports}
        return sorted(own)

    @property
    def shards(self) -> int:
        """How many shards nh has with these settings."""
        return self.settings.shards or self.host.cpus
