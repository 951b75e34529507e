"""Directories of one nh at a time, which no other user can write to: runtime and state directory."""

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from nh.errors import ConfigError, DirectoryInUse
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.paths import foreign_name, is_at, is_found_at, is_open_to_all, is_permitted, mode_of, nearest_seen
from nh.reasons import reason

logger = logging.getLogger(__name__)

LOCK_NAME: Final = "nh.lock"

TRIES: Final = 5
"""So often a lock is tried: who looks whether it is taken has it for some microseconds (running_nh)."""

TRY_S: Final = 0.01


class Purpose(NamedTuple):
    """What a directory is for, in the words of error messages.

    Attributes:
        setting: the setting that names it.
        danger: what another user who can write to it could do.
    """

    setting: str
    danger: str

    @property
    def flag(self) -> str:
        """The flag of the setting on the command line."""
        return f"--{self.setting.replace('_', '-')}"


RUNTIME_DIR: Final = Purpose("runtime_dir", "replace the sockets of nh")
STATE_DIR: Final = Purpose("state", "have calls of theirs restored")


class Lock(NamedTuple):
    """A lock that is held: its file, and the open descriptor that holds it."""

    path: Path
    fd: int

    @property
    def has_name(self) -> bool:
        """Whether the directory is still this nh's: the file is where another nh would lock it."""
        return is_found_at(self.path, os.fstat(self.fd))


@contextlib.contextmanager
def locked_dir(path: Path, purpose: Purpose, inherited: Inherited, *, named: bool) -> Iterator[Lock]:
    """Lock a directory within the block; gives the lock.

    The directory is made (mode 0700) if it is missing. The lock is flock(2) on `nh.lock`, so it ends with the
    process. The file stays; it has the pid of the holder in it while it is locked.

    Args:
        path: the directory.
        purpose: see Purpose.
        inherited: may have the lock already.
        named: whether an operator named the path: it may be mistyped, so only its last directory is made.

    Raises:
        DirectoryInUse: another nh uses the directory.
        ConfigError: the directory cannot be made or used, or other users can write to it.
    """
    _make(path, purpose, parents=not named)
    _check_trust(path, purpose)
    lock = inherited.take_lock(path / LOCK_NAME)
    if lock is None:
        lock = _take_lock(path, purpose)
    held = Lock(path / LOCK_NAME, lock)
    _write_pid(held)
    try:
        yield held
    finally:
        with contextlib.suppress(OSError):  # a failing disk may keep the old pid, which is for people only
            os.ftruncate(lock, 0)
        os.close(lock)


def renew_lock(lock: Lock) -> bool:
    """Lock a new file if another program removed or replaced that of the lock: no command would find this nh.

    A directory that was removed as a whole is made anew. If that is impossible, the next call tries it again.

    Args:
        lock: its descriptor becomes that of the new file.

    Returns:
        Whether there is a new file.
    """
    with contextlib.suppress(OSError):
        if is_at(lock.path, os.fstat(lock.fd)):
            return False
        lock.path.parent.mkdir(mode=0o700, exist_ok=True)
        new = _open_lock(lock.path)
        try:
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.dup2(new, lock.fd, inheritable=os.get_inheritable(lock.fd))
        finally:
            os.close(new)
        _write_pid(lock)
        logger.warning("%s: another program removed or replaced the file; it is locked anew", lock.path)
        return True
    return False


def runtime_dir(
    path: Path, inherited: Inherited = NOTHING_INHERITED, *, named: bool = False
) -> AbstractContextManager[Lock]:
    """Lock the runtime directory within the block; see locked_dir()."""
    return locked_dir(path, RUNTIME_DIR, inherited, named=named)


def check_dir(path: Path, purpose: Purpose, *, named: bool) -> None:
    """Check that locked_dir() can use a directory, and make nothing.

    Args:
        path: the directory; it may be missing.
        purpose: see Purpose.
        named: see locked_dir().

    Raises:
        ConfigError: the directory cannot be made or used, or other users can write to it.
    """
    existing = nearest_seen(path)
    is_dir = existing.is_dir()
    if is_dir and not is_permitted(existing, os.X_OK):
        raise ConfigError(
            f"{purpose.setting}: {path}: this user may not enter {existing};"
            f" choose another with {purpose.flag}"
        )
    try:
        mode_of(path)
    except OSError as exc:
        raise _not_made(path, purpose, exc) from exc
    if existing == path:
        if not is_dir:
            raise _no_directory(path, purpose)
        _check_trust(path, purpose)
    elif named and existing != path.absolute().parent:
        raise _no_parent(path, purpose)
    if not is_dir:
        raise ConfigError(
            f"{purpose.setting}: {path} cannot be made: {existing} is not a directory;"
            f" choose another with {purpose.flag}"
        )
    if not is_permitted(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{purpose.setting}: this user cannot write to {existing}; choose another with {purpose.flag}"
        )


def _no_directory(path: Path, purpose: Purpose) -> ConfigError:
    return ConfigError(
        f"{purpose.setting}: {path} exists and is not a directory; choose another with {purpose.flag}"
    )


def _no_parent(path: Path, purpose: Purpose) -> ConfigError:
    return ConfigError(
        f"{purpose.setting}: {path} cannot be made: there is no directory {path.parent};"
        f" make it, or choose another with {purpose.flag}"
    )


def _not_made(path: Path, purpose: Purpose, exc: OSError) -> ConfigError:
    return ConfigError(
        f"{purpose.setting}: {path} cannot be made: {reason(exc)}; choose another with {purpose.flag}"
    )


def _make(path: Path, purpose: Purpose, *, parents: bool) -> None:
    try:
        path.mkdir(mode=0o700, parents=parents, exist_ok=True)
    except FileNotFoundError as exc:
        raise _no_parent(path, purpose) from exc
    except FileExistsError as exc:
        raise _no_directory(path, purpose) from exc
    except OSError as exc:
        raise _not_made(path, purpose, exc) from exc


def _check_trust(path: Path, purpose: Purpose) -> None:
    """Refuse a directory in which another user could replace nh's files.

    Each name in a directory that every user can write to, such as /tmp, and what it leads to (the name could
    be a link of another user) must belong to this user or root.
    """
    if is_open_to_all(path):
        raise ConfigError(
            f"{purpose.setting}: every user can write to {path}, and could {purpose.danger};"
            f" `chmod o-w {path}` or choose another with {purpose.flag}"
        )
    if foreign := foreign_name(path):
        raise ConfigError(
            f"{purpose.setting}: {foreign.path} belongs to user {foreign.owner}, and {foreign.path.parent} is"
            f" open to every user; remove it or choose another with {purpose.flag}"
        )
    if is_open_to_all(path.absolute().parent) and path.stat().st_mode & stat.S_IWGRP:
        raise ConfigError(
            f"{purpose.setting}: a group can write to {path}, and {path.absolute().parent} is open to every"
            f" user; `chmod 700 {path}` or choose another with {purpose.flag}"
        )


def _take_lock(path: Path, purpose: Purpose) -> int:
    """Lock the lock file; returns its descriptor."""
    try:
        lock = _open_lock(path / LOCK_NAME)
    except OSError as exc:
        raise ConfigError(
            f"{purpose.setting}: {path / LOCK_NAME} cannot be opened: {exc.strerror};"
            f" choose another directory with {purpose.flag}"
        ) from exc
    try:
        _lock_alone(lock)
    except OSError as exc:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise DirectoryInUse(
            f"{purpose.setting}: another nh (pid {holder}) runs with {path};"
            f" end it or choose another {purpose.flag}"
        ) from exc
    return lock


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _lock_alone(lock: int) -> None:
    """Lock the open lock file, also where `nh doctor` or `nh upgrade` just looks whether it is locked.

    Raises:
        OSError: another nh has the lock.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(TRY_S)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _write_pid(lock: Lock) -> None:
    with contextlib.suppress(OSError):  # the lock holds on a full disk too
        os.ftruncate(lock.fd, 0)
        os.pwrite(lock.fd, f"{os.getpid()}\n".encode(), 0)
