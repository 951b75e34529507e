"""The nh that runs with a runtime directory: whether there is one, which process it is, and what it tells."""

import fcntl
import functools
import os
from pathlib import Path

from nh.config import SYSTEM_RUNTIME_PATH, default_runtime_path
from nh.supervisor.host.locked_dir import LOCK_NAME
from nh.supervisor.settings_in_force import InForce, read_in_force


class RunningNh:
    """The nh that runs with a runtime directory, as the checks of a start need to know it."""

    def __init__(self, runtime_path: Path) -> None:
        self._runtime_path = runtime_path

    @functools.cached_property
    def in_force(self) -> InForce | None:
        """Its settings, read once, so that all checks judge by the same; None: it tells none."""
        return read_in_force(self._runtime_path)


def find_running(runtime_path: Path) -> RunningNh | None:
    """The nh that runs with a runtime directory; None: none does."""
    return RunningNh(runtime_path) if running_pid(runtime_path) is not None else None


def running_pid(runtime_path: Path) -> int | None:
    """The pid of the nh that runs with a runtime directory; 0: it cannot be read; None: there is none."""
    try:
        lock = os.open(runtime_path / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(lock, 20, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(lock)
    return None


def lock_is_hidden(runtime_path: Path) -> bool:
    """Whether this user may not read the lock of a runtime directory, so that running_pid() finds no nh."""
    try:
        with (runtime_path / LOCK_NAME).open("rb"):
            return False
    except OSError as exc:
        return isinstance(exc, PermissionError)


def system_runtime_dir(runtime_path: Path) -> Path | None:
    """The runtime directory of nh as a service, where it is on this host and a user's default is another.

    Args:
        runtime_path: where no nh runs; None is returned for a directory that was named.
    """
    is_default = runtime_path == default_runtime_path() != SYSTEM_RUNTIME_PATH
    return SYSTEM_RUNTIME_PATH if is_default and os.access(SYSTEM_RUNTIME_PATH, os.F_OK) else None
