"""What is at a path, told alike by each version of Python, whose it is, and small files that are read often.

Where this user may not look, and for a name that is too long, Path.exists() and Path.is_dir() raise an error
up to Python 3.13, and say from 3.14 on that nothing is there.
"""

import os
import stat
from pathlib import Path
from typing import NamedTuple


def real_path(path: Path) -> Path:
    """A path without symbolic links, as far as it is there; a loop of them is taken as it is.

    Path.resolve() raises a RuntimeError for a loop up to Python 3.12.
    """
    return Path(os.path.realpath(path))


def nearest_seen(path: Path) -> Path:
    """The nearest of a path and the directories above it that is there, and that this user can see."""
    return next(each for each in (path, *path.absolute().parents) if is_permitted(each, os.F_OK))


def is_permitted(path: Path, mode: int) -> bool:
    """Whether this process may use what is at a path so.

    faccessat2(2) asks for the effective user, and an old container runtime refuses it; faccessat(2)
    asks for the real one, who is another under setuid alone.

    Args:
        path: where.
        mode: os.F_OK, or some of os.R_OK, os.W_OK and os.X_OK.
    """
    if os.access(path, mode, effective_ids=True):
        return True
    return os.getuid() == os.geteuid() and os.access(path, mode)


def is_read_only(path: Path) -> bool:
    """Whether what is at a path is on a file system that is mounted read-only: no permission helps there."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def mode_of(path: Path) -> int | None:
    """The type and the permissions of what is at a path (st_mode of stat(2)); None: nothing is there.

    Raises:
        OSError: what is there cannot be told: this user may not look, or the path cannot be one.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_at(path: Path, status: os.stat_result) -> bool:
    """Whether a name is that of a file: no other program has removed or replaced it.

    Args:
        path: the name.
        status: the file's.

    Raises:
        OSError: that cannot be found out.
    """
    try:
        return os.path.samestat(path.lstat(), status)
    except FileNotFoundError:
        return False


def is_found_at(path: Path, status: os.stat_result) -> bool:
    """See is_at(); False also where that cannot be found out."""
    try:
        return is_at(path, status)
    except OSError:
        return False


class ForeignName(NamedTuple):
    """A name that another user can have lead elsewhere.

    Attributes:
        path: the name.
        owner: whose it is, a uid.
    """

    path: Path
    owner: int


def is_open_to_all(directory: Path) -> bool:
    """Whether every user can write to a directory, such as /tmp.

    Raises:
        OSError: it cannot be looked at.
    """
    return bool(directory.stat().st_mode & stat.S_IWOTH)


def foreign_name(path: Path) -> ForeignName | None:
    """The first name on the way to a path, itself included, that another user can have lead elsewhere.

    It is in a directory that every user can write to, and it or what it leads to belongs neither to this user
    nor to root. None: there is none.

    Raises:
        OSError: the path is not there, or cannot be looked at.
    """
    ways = (path.absolute(), real_path(path))
    for name in dict.fromkeys(each for way in ways for each in (way, *way.parents)):
        if is_open_to_all(name.parent):
            for owner in (name.lstat().st_uid, name.stat().st_uid):
                if owner not in (0, os.geteuid()):
                    return ForeignName(name, owner)
    return None


def open_private(path: str, flags: int) -> int:
    """An opener for open(): a new file is for this user alone, and no symbolic link is followed.

    open() closes the descriptor if it fails behind this.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def read_unbuffered(path: Path) -> bytes:
    """Read a small file, such as one of /proc, without a buffer and a decoder: they cost more than the file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        return file.read()
