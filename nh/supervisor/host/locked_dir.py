"""Directories of one nh at a time, which no other user can write to: runtime and state directory."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from nh.errors import ConfigError, DirectoryInUse
from nh.ipc.inherited import NOTHING_INHERITED, InheritedFds

LOCK_NAME: Final = "nh.lock"


@dataclass(frozen=True, slots=True)
class Purpose:
    """How errors call a directory.

    Arguments:
        setting: the setting that names it; its flag is `--` and the name with - for _.
        danger: what somebody else could do who may write to it.
    """

    setting: str
    danger: str

    @property
    def flag(self) -> str:
        """The setting's flag."""
        return f"--{self.setting.replace('_', '-')}"


_RUNTIME_DIR: Final = Purpose("runtime_dir", "put a socket of theirs in place of nh's")


class Lock(NamedTuple):
    """A lock that is held: its file, and the descriptor with which whoever has it holds it."""

    path: Path
    fd: int


@contextlib.contextmanager
def locked_dir(path: Path, purpose: Purpose, inherited: InheritedFds = NOTHING_INHERITED) -> Iterator[Lock]:
    """Have a directory to oneself within the block, by the lock that it gives.

    It is made (mode 0700) if it is missing. The lock is flock(2) on `nh.lock`, so it goes with the process
    however that ends; the file stays, with the holder's pid in it while there is one.

    Arguments:
        path: the directory.
        purpose: see Purpose.
        inherited: may have the lock already.

    Raises DirectoryInUse if another nh has it, any other ConfigError if it cannot be made, used or trusted.
    """
    _make(path, purpose)
    _check_trust(path, purpose)
    lock = inherited.take_lock(path / LOCK_NAME)
    if lock is None:
        lock = _take_lock(path, purpose)
    _write_pid(lock)
    try:
        yield Lock(path / LOCK_NAME, lock)
    finally:
        with contextlib.suppress(OSError):  # the pid is for people; a disk that fails may keep the old one
            os.ftruncate(lock, 0)
        os.close(lock)


def runtime_dir(path: Path, inherited: InheritedFds = NOTHING_INHERITED) -> AbstractContextManager[Lock]:
    """Lock the runtime directory within the block; see locked_dir()."""
    return locked_dir(path, _RUNTIME_DIR, inherited)


def _make(path: Path, purpose: Purpose) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as exc:
        raise ConfigError(f"{purpose.setting}: {path} exists and is not a directory") from exc
    except OSError as exc:
        raise ConfigError(
            f"{purpose.setting}: {path} cannot be made: {exc.strerror}; choose another with {purpose.flag}"
        ) from exc


def _check_trust(path: Path, purpose: Purpose) -> None:
    """Refuse a directory in which somebody else could replace nh's files.

    In a directory where everybody may make names, such as /tmp, the name itself (it could be another user's
    link) and its owner have to be ours too.
    """
    status = path.stat()
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"{purpose.setting}: every user may write to {path}, so anybody could {purpose.danger};"
            f" `chmod o-w {path}` or choose another with {purpose.flag}"
        )
    if not path.absolute().parent.stat().st_mode & stat.S_IWOTH:
        return
    for owner in (path.lstat().st_uid, status.st_uid):
        if owner not in (0, os.geteuid()):
            raise ConfigError(
                f"{purpose.setting}: {path} belongs to user {owner}, and {path.absolute().parent} is open to"
                f" every user; remove it or choose another with {purpose.flag}"
            )
    if status.st_mode & stat.S_IWGRP:
        raise ConfigError(
            f"{purpose.setting}: a group may write to {path}, and {path.absolute().parent} is open to every"
            f" user; `chmod 700 {path}` or choose another with {purpose.flag}"
        )


def _take_lock(path: Path, purpose: Purpose) -> int:
    """The descriptor of the lock file, locked."""
    try:
        lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise ConfigError(
            f"{purpose.setting}: {path / LOCK_NAME} cannot be opened: {exc.strerror};"
            f" choose another directory with {purpose.flag}"
        ) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise DirectoryInUse(
            f"{purpose.setting}: another nh (pid {holder}) runs with {path};"
            f" end it or choose another {purpose.flag}"
        ) from exc
    return lock


def _write_pid(lock: int) -> None:
    with contextlib.suppress(OSError):  # the lock holds on a full disk too
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
