"""Directories of programs under test, which a later run removes if their owner was killed.

The owner holds a lock on its directory, which the kernel drops when the owner ends, however it ends. A
directory without a lock, and older than it takes to lock one, is left over: with it go the shared memory and
the relay that it belonged to. What a process still uses stays: an orphaned shard relays calls.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.stats import segment_name
from nh.supervisor.running_nh import running_pid

PREFIX: Final = "nh-own-"

SETTLED_S: Final = 60.0
"""A directory is locked so long after it was made, at the latest."""


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """A new directory, removed behind the context with the statistics of a relay that ran in it."""
    _remove_leftovers_once()
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        _remove(path)
        os.close(lock)


def remove_leftovers(parent: Path, *, settled_s: float = SETTLED_S) -> list[Path]:
    """Remove the directories of owners that were killed; returns them.

    Args:
        parent: where they are.
        settled_s: see SETTLED_S.
    """
    left = [path for path in sorted(parent.glob(f"{PREFIX}*")) if _is_left(path, settled_s)]
    names = _names_in_use() if left else b""
    return [path for path in left if _end(path, names)]


@functools.cache
def _remove_leftovers_once() -> None:
    remove_leftovers(Path(tempfile.gettempdir()))


def _is_left(path: Path, settled_s: float) -> bool:
    with contextlib.suppress(OSError):  # another run removes it now
        status = path.stat(follow_symlinks=False)
        if status.st_uid != os.getuid() or time.time() - status.st_ctime < settled_s:
            return False
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        finally:
            os.close(lock)
    return False


def _end(path: Path, names_in_use: bytes) -> bool:
    """End the relay of a directory, and remove what it had; returns whether nothing is left."""
    pid = running_pid(path)
    if pid is not None:
        _terminate(pid, path)  # it ends in seconds; a later run removes the directory
        return False
    if os.fsencode(path) in names_in_use:
        return False
    _remove(path)
    return True


def _terminate(pid: int, path: Path) -> None:
    """End the relay of a directory, and no other process: `pid` may be one of another container."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if os.fsencode(path) in Path(f"/proc/{pid}/cmdline").read_bytes():
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        finally:
            os.close(pidfd)


def _names_in_use() -> bytes:
    """What all processes were started with, where they are, and the sockets of their networks."""
    names, seen = [], set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            names.append((process / "cmdline").read_bytes())
            names.append(os.fsencode((process / "cwd").readlink()))
            if (namespace := (process / "ns" / "net").readlink()) not in seen:
                names.append((process / "net" / "unix").read_bytes())
                seen.add(namespace)
    return b"\n".join(names)


def _remove(path: Path) -> None:
    # a killed nh leaves its statistics to the next one, and there is none
    Path("/dev/shm", segment_name(path)).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)
