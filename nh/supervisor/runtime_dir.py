"""The runtime directory: one `nh run` at a time, and nobody else's hands in it."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.errors import ConfigError

LOCK_NAME: Final = "nh.lock"


@contextlib.contextmanager
def runtime_dir(path: Path) -> Iterator[None]:
    """Have the runtime directory to oneself within the block.

    It is made (mode 0700) if it is missing. The lock is flock(2) on `nh.lock`, so it goes with the process
    however that ends; the file stays, with the holder's pid in it while there is one.

    Arguments:
        path: the directory.

    Raises ConfigError if it cannot be made or trusted, or another nh has it.
    """
    _make(path)
    _check_trust(path)
    lock = _take_lock(path)
    try:
        yield
    finally:
        os.ftruncate(lock, 0)
        os.close(lock)


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise ConfigError(f"runtime_dir: {path} exists and is not a directory") from exc
    except OSError as exc:
        raise ConfigError(
            f"runtime_dir: {path} cannot be made: {exc.strerror}; choose another with --runtime-dir"
        ) from exc


def _check_trust(path: Path) -> None:
    """Refuse a directory in which somebody else could replace the RPC socket.

    In a directory where everybody may make names, such as /tmp, the name itself (it could be another user's
    link) and its owner have to be ours too.
    """
    status = path.stat()
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"runtime_dir: every user may write to {path}, so anybody could put a socket of theirs"
            f" in place of nh's; `chmod o-w {path}` or choose another with --runtime-dir"
        )
    if not path.absolute().parent.stat().st_mode & stat.S_IWOTH:
        return
    for owner in (path.lstat().st_uid, status.st_uid):
        if owner not in (0, os.geteuid()):
            raise ConfigError(
                f"runtime_dir: {path} belongs to user {owner}, and {path.absolute().parent} is open to every"
                " user; remove it or choose another with --runtime-dir"
            )
    if status.st_mode & stat.S_IWGRP:
        raise ConfigError(
            f"runtime_dir: a group may write to {path}, and {path.absolute().parent} is open to every user;"
            f" `chmod 700 {path}` or choose another with --runtime-dir"
        )


def _take_lock(path: Path) -> int:
    """The descriptor of the lock file, locked, with this process's id in it."""
    try:
        lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise ConfigError(f"runtime_dir: {path / LOCK_NAME} cannot be opened: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise ConfigError(
            f"runtime_dir: another nh (pid {holder}) runs with {path}; end it or choose another --runtime-dir"
        ) from exc
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
