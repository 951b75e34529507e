"""The store's errors in place of those of SQLite and of the system."""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import StoreDamaged, StoreFull

FAILURES: Final = (sqlite3.Error, sqlite3.Warning, OSError, OverflowError, MemoryError, UnicodeDecodeError)
"""What the use of a database may raise, whatever its file holds."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_MAY_PASS: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_NOLFS,
    }
)
"""Errors that do not mean a damaged file; all others do (malformed, not a database, no such table …)."""


@contextlib.contextmanager
def failures_of(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system within the block into those of the engine.

    Args:
        path: the database.

    Raises:
        StoreUnavailable: the error may pass; StoreFull if room is missing.
        StoreDamaged: it does not.
    """
    try:
        yield
    except FAILURES as exc:
        if isinstance(exc, OSError | MemoryError):
            reason = getattr(exc, "strerror", None) or repr(exc)
            raise _unavailable(exc)(f"{getattr(exc, 'filename', None) or path}: {reason}") from exc
        code = getattr(exc, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _MAY_PASS and not _claims_to_be_readonly(path, code):
            raise _unavailable(exc)(f"{path}: {exc}") from exc
        raise StoreDamaged(f"is damaged: {exc}") from exc


def _claims_to_be_readonly(path: Path, code: int) -> bool:
    """Whether a writable file says that it is read-only, which a damaged header can do."""
    return code & 0xFF == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)


def _unavailable(exc: Exception) -> type[StoreUnavailable]:
    """What an error is for nh that means no damage."""
    is_full = (
        getattr(exc, "errno", None) in _FULL or getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )
    return StoreFull if is_full else StoreUnavailable
