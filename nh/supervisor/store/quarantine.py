"""Sets a file aside that cannot be used: it keeps what is in it, under a name that says when that was."""

import contextlib
import datetime
import os
import stat
from pathlib import Path
from typing import Final

KEPT: Final = 3
"""Files set aside that are kept; older ones are removed, or a fault that comes back would fill the disk."""

SIDES: Final = ("-wal", "-shm", "-journal")
"""What SQLite may have beside a database; without them the database is not what it was."""


def set_aside(path: Path) -> Path:
    """Rename a file (or whatever has its name) and what SQLite has beside it.

    Arguments:
        path: its name; it need not exist.

    Returns the new name: the old one, `.aside-` and the time in UTC. Raises OSError.
    """
    _forget_oldest(path)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    new = path.with_name(f"{path.name}.aside-{now}")
    # what is beside it goes first: a database whose log is gone looks whole, and is old
    for side in (*SIDES, ""):
        old = path.with_name(path.name + side)
        if os.path.lexists(old):
            old.rename(new.with_name(new.name + side))
    return new


def remove(path: Path) -> None:
    """Remove a file, such as one that was begun and has nothing in it, as far as that is possible."""
    for side in (*SIDES, ""):
        with contextlib.suppress(OSError):
            path.with_name(path.name + side).unlink(missing_ok=True)


def _forget_oldest(path: Path) -> None:
    """Make room for one more. Directories stay: whoever made them did not expect nh to remove them."""
    aside = sorted(
        name
        for name in path.parent.glob(f"{path.name}.aside-*")
        if not name.name.endswith(SIDES) and stat.S_ISREG(name.lstat().st_mode)
    )
    for name in aside[: max(0, len(aside) + 1 - KEPT)]:
        for side in (*SIDES, ""):
            name.with_name(name.name + side).unlink(missing_ok=True)
