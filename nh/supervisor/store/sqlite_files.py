"""The files of the SQLite engine: the database and those that SQLite keeps beside it."""

import contextlib
import datetime
import os
import stat
from pathlib import Path
from typing import Final

from nh.supervisor.store.engine import StoreDamaged

QUARANTINED: Final = 3
"""Quarantined databases that are kept. Older ones are removed, or a recurring fault would fill the disk."""

SIDES: Final = ("-wal", "-shm", "-journal")
"""Files that SQLite may keep beside a database; without them the database has lost its latest changes."""

_TIME: Final = "%Y%m%dT%H%M%S.%fZ"
"""When a database was quarantined, in its name; see datetime.strftime()."""

_BLOCK: Final = 512
"""The unit of st_blocks, bytes."""


def make_file(path: Path) -> os.stat_result:
    """Make the file if it is missing, with mode 0600; SQLite gives the files beside it the same mode.

    Returns:
        Its status.

    Raises:
        StoreDamaged: something that is not a regular file has one of the names.
        OSError: it cannot be opened.
    """
    for side in (*SIDES, ""):
        name = path.with_name(path.name + side)
        if os.path.lexists(name) and not stat.S_ISREG(name.lstat().st_mode):
            raise StoreDamaged(f"is not a regular file ({name.name})")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)  # before SQLite opens it: closing any descriptor later would release its locks
    return status


def log_path(path: Path) -> Path:
    """The write-ahead log, which is there while the database is open, and has its latest changes."""
    return path.with_name(path.name + SIDES[0])


def new_path(path: Path) -> Path:
    """Where the database is made that exchange_files() puts in the place of another one."""
    return path.with_name(path.name + ".new")


def has_sides(path: Path) -> bool:
    """Whether a closed database is incomplete without a file beside it, because the disk is full."""
    return any(os.path.lexists(path.with_name(path.name + side)) for side in SIDES)


def exchange_files(path: Path) -> Path:
    """Rename a database (or whatever has its name) to NAME.quarantine-TIME, with the files beside it.

    The one at new_path(), if there is one, gets its name. After a kill in between, finish_exchange() does the
    rest: from the first step on there is no database of that name, and the old one is used no more.

    Returns:
        The new name of the old one.

    Raises:
        OSError: one cannot be renamed.
    """
    _remove_oldest_quarantined(path)
    quarantined = _next_quarantined(path)
    # the database goes first: without its log it would look intact, but is old
    _rename_if_there(path, quarantined)
    _exchange_rest(path, quarantined)
    return quarantined


def finish_exchange(path: Path) -> None:
    """Do what a kill has left of exchange_files(), or remove a new database that was not complete by then.

    Raises:
        OSError: a file cannot be renamed.
    """
    if not new_path(path).is_file():
        return
    quarantined = _quarantined(path)
    if os.path.lexists(path) or not quarantined:
        remove_files(new_path(path))
    else:
        _exchange_rest(path, max(quarantined, key=quarantined.__getitem__))


def _exchange_rest(path: Path, quarantined: Path) -> None:
    for side in SIDES:
        _rename_if_there(path.with_name(path.name + side), quarantined.with_name(quarantined.name + side))
    if new_path(path).is_file():
        new_path(path).rename(path)


def _rename_if_there(old: Path, new: Path) -> None:
    if os.path.lexists(old):
        old.rename(new)


def _next_quarantined(path: Path) -> Path:
    """A name behind all that are there, also if the clock was set back: finish_exchange() takes the last."""
    now = datetime.datetime.now(datetime.UTC)
    for time in _quarantined(path).values():
        with contextlib.suppress(OverflowError):
            now = max(now, time + datetime.timedelta(microseconds=1))
    return path.with_name(_stem(path) + now.strftime(_TIME))


def _quarantined(path: Path) -> dict[Path, datetime.datetime]:
    """When each database was quarantined. A file that an operator has named is none of them."""
    found = {}
    for each in path.parent.glob(f"{_stem(path)}*"):
        with contextlib.suppress(ValueError):
            time = datetime.datetime.strptime(each.name.removeprefix(_stem(path)), _TIME)
            found[each] = time.replace(tzinfo=datetime.UTC)
    return found


def _stem(path: Path) -> str:
    return f"{path.name}.quarantine-"


def _remove_oldest_quarantined(path: Path) -> None:
    """Make room for one more. Directories stay: nh did not make them, and their owner may need them."""
    quarantined = sorted(name for name in _quarantined(path) if stat.S_ISREG(name.lstat().st_mode))
    for name in quarantined[: max(0, len(quarantined) + 1 - QUARANTINED)]:
        for side in (*SIDES, ""):
            name.with_name(name.name + side).unlink(missing_ok=True)


def remove_files(path: Path) -> None:
    """Remove a database whose calls are elsewhere, or that has none yet, as far as that is possible.

    The database goes first: beside a new one, SQLite drops what is left of the others. Without its log it
    would look intact, with calls that have ended since.
    """
    for side in ("", *SIDES):
        with contextlib.suppress(OSError):
            path.with_name(path.name + side).unlink(missing_ok=True)


def room_for_files(path: Path) -> int:
    """How many bytes a database may have with the files beside it: what they have, and what is free."""
    own = 0
    for side in (*SIDES, ""):
        with contextlib.suppress(FileNotFoundError):
            own += path.with_name(path.name + side).stat().st_blocks * _BLOCK
    disk = os.statvfs(path.parent)
    return own + disk.f_bavail * disk.f_frsize
