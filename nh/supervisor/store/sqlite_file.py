"""The file in which calls are stored: an SQLite database with a row for each call.

It knows of a call its id and some bytes. Errors of SQLite and of the system become StoreUnavailable (it may
work later) or StoreDamaged (this file never will). One thread at a time may use it.

Crash safety: a write is one transaction in the write-ahead log (WAL) with synchronous=NORMAL, so it survives
the end of the process, however that comes, as soon as it is made. What survives a power failure is what
checkpoint() has brought to the disk, and the file is whole in any case. Each row has a checksum, because
SQLite's pages have none.
"""

import contextlib
import errno
import os
import sqlite3
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from nh.errors import NhError, StoreUnavailable
from nh.supervisor.store.quarantine import SIDES, remove

APPLICATION_ID: Final = 0x6E684361
"""Tells nh's store from other SQLite databases: "nhCa"."""

SCHEMA: Final = 1
"""Version of the tables. A file with another one is set aside."""

WAL_BYTES: Final = 4 << 20
"""The log is cut to this when it has grown beyond; SQLite checkpoints at 1000 pages, which is that."""

_TABLES: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
    "CREATE TABLE relay (owner BLOB NOT NULL)",
    # numbers are given here, not found by the call-id: a second index would double what each write costs
    "CREATE TABLE calls (number INTEGER PRIMARY KEY, call_id BLOB NOT NULL, written REAL NOT NULL,"
    " snapshot BLOB NOT NULL, checksum INTEGER NOT NULL)",
)

_SETTINGS: Final = (
    "PRAGMA synchronous = NORMAL",
    f"PRAGMA journal_size_limit = {WAL_BYTES}",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA secure_delete = OFF",  # some builds have it on, and write each page of what is deleted
)

_FAILURES: Final = (sqlite3.Error, sqlite3.Warning, OSError, OverflowError, MemoryError, UnicodeDecodeError)

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_MAY_PASS: Final = frozenset(
    {
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
"""Errors that are not the file's fault; all others are (malformed, not a database, no such table …)."""


class StoredCall(msgspec.Struct, frozen=True):
    """A call as it is stored.

    Arguments:
        call_id, snapshot: any bytes.
        written_at: wall clock when the snapshot was put, seconds since 1970.
    """

    call_id: bytes
    snapshot: bytes
    written_at: float


class StoreDamaged(NhError):
    """The file is no store of this relay that this nh can use: it has to be set aside.

    Arguments:
        why: what is wrong with it, following "it".
        calls: those that could be read, whole.
    """

    def __init__(self, why: str, calls: Sequence[StoredCall] = ()) -> None:
        super().__init__(why)
        self.calls = tuple(calls)


class StoreFull(StoreUnavailable):
    """There is no room for what was to be written."""


class StoreFile:
    """An open store; made with its tables where there is none.

    Arguments:
        path: its name, in a directory that nobody else writes to.
        owner: who it belongs to.

    Raises StoreUnavailable, StoreDamaged (also for another's). One that could not be made is not there.
    """

    def __init__(self, path: Path, owner: bytes) -> None:
        self._path = path
        self._numbers: dict[bytes, int] = {}
        self._next = 1
        with self._failures():
            is_new = not os.path.lexists(path)
            self._identity = _prepare(path)
            self._database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with self._failures():
                self._begin(owner, is_new=is_new)
        except BaseException:
            self._database.close()
            if is_new:  # it would pass for a damaged one
                remove(path)
            raise

    def read(self) -> list[StoredCall]:
        """All calls in it. Raises StoreUnavailable, StoreDamaged (with the calls that are whole)."""
        found: dict[bytes, StoredCall] = {}
        damaged = 0
        query = "SELECT number, call_id, written, snapshot, checksum FROM calls"
        try:
            with self._failures(), contextlib.closing(self._database.execute(query)) as rows:
                for number, call_id, written, snapshot, checksum in rows:
                    if not _is_whole(number, call_id, written, snapshot, checksum) or call_id in found:
                        damaged += 1
                        continue
                    found[call_id] = StoredCall(call_id, snapshot, written)
                    self._numbers[call_id] = number
                    self._next = max(self._next, number + 1)
        except StoreDamaged as exc:
            raise StoreDamaged(str(exc), tuple(found.values())) from exc
        if damaged:
            raise StoreDamaged(f"is damaged in {damaged} calls", tuple(found.values()))
        return list(found.values())

    def write(self, changes: Mapping[bytes, StoredCall | None]) -> None:
        """Store calls, or remove them, all or none.

        Arguments:
            changes: what is to be stored by call-id; None: nothing any more.

        Raises StoreUnavailable, StoreDamaged.
        """
        numbers = {
            call_id: self._numbers.get(call_id, self._next + offset)
            for offset, call_id in enumerate(changes)
            if changes[call_id] is not None or call_id in self._numbers
        }
        rows = [_row(numbers[call.call_id], call) for call in changes.values() if call is not None]
        gone = [(numbers[call_id],) for call_id in numbers if changes[call_id] is None]
        with self._failures(), self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", rows)
            self._database.executemany("DELETE FROM calls WHERE number = ?", gone)
        self._next += len(changes)
        for call_id, number in numbers.items():
            if changes[call_id] is None:
                del self._numbers[call_id]
            else:
                self._numbers[call_id] = number

    def checkpoint(self) -> None:
        """Bring what was written to the disk itself. Raises StoreUnavailable, StoreDamaged."""
        with self._failures():
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def check_place(self) -> None:
        """Raise StoreUnavailable if the file that has the name is another one by now, or none."""
        with self._failures():
            status = self._path.lstat()
        if (status.st_dev, status.st_ino) != self._identity:
            raise StoreUnavailable(f"{self._path}: somebody has put another file in its place")

    def close(self) -> None:
        """Close it; all that was written is on the disk, if that is possible."""
        with contextlib.suppress(*_FAILURES):
            self._database.close()

    def _begin(self, owner: bytes, *, is_new: bool) -> None:
        run = self._database.execute
        self._database.text_factory = bytes  # a damaged text has any bytes in it
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA cell_size_check = ON")
        # nobody reads beside the writer, so no index of the log in shared memory, which a full disk breaks
        run("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        if not is_new:  # before anything is changed in what may be another's
            self._check_kind()
        ((mode,),) = run("PRAGMA journal_mode = WAL").fetchall()
        if mode != b"wal":
            raise StoreUnavailable(f"{self._path}: no write-ahead log is possible here")
        for setting in _SETTINGS:
            run(setting).fetchall()
        if is_new:
            with self._transaction():
                for table in _TABLES:
                    run(table)
                run("INSERT INTO relay VALUES (?)", (owner,))
        owners = run("SELECT owner FROM relay").fetchall()
        if owners != [(owner,)]:
            named = b", ".join(bytes(name) for (name,) in owners if isinstance(name, bytes)) or b"nobody"
            raise StoreDamaged(f"belongs to the relay of {named.decode(errors='backslashreplace')}")

    def _check_kind(self) -> None:
        ((application,),) = self._database.execute("PRAGMA application_id").fetchall()
        ((schema,),) = self._database.execute("PRAGMA user_version").fetchall()
        if application != APPLICATION_ID:
            is_empty = not self._database.execute("SELECT 1 FROM sqlite_master").fetchall()
            raise StoreDamaged("is empty" if is_empty else "is another program's database")
        if schema != SCHEMA:
            raise StoreDamaged(f"was written by another version of nh (tables {schema}, not {SCHEMA})")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have done so by itself
                self._database.rollback()
            raise

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Errors within become those of this module."""
        try:
            yield
        except _FAILURES as exc:
            if isinstance(exc, OSError | MemoryError):
                kind = StoreFull if getattr(exc, "errno", None) in _FULL else StoreUnavailable
                raise kind(f"{self._path}: {getattr(exc, 'strerror', None) or exc!r}") from exc
            code = getattr(exc, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_FULL:
                raise StoreFull(f"{self._path}: {exc}") from exc
            if code is not None and code & 0xFF in _MAY_PASS and not self._only_claims_to_be_readonly(code):
                raise StoreUnavailable(f"{self._path}: {exc}") from exc
            raise StoreDamaged(f"is damaged: {exc}") from exc

    def _only_claims_to_be_readonly(self, code: int) -> bool:
        """A damaged header can say so."""
        return code & 0xFF == sqlite3.SQLITE_READONLY and os.access(self._path, os.W_OK)


def _prepare(path: Path) -> tuple[int, int]:
    """Have the file, for its owner's eyes alone; SQLite gives the files beside it the same mode.

    Returns device and inode. Raises StoreDamaged if there is something else than files, OSError.
    """
    for side in (*SIDES, ""):
        name = path.with_name(path.name + side)
        if os.path.lexists(name) and not stat.S_ISREG(name.lstat().st_mode):
            raise StoreDamaged(f"is no file ({name.name})")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)  # before SQLite has it: closing any descriptor would take its locks away
    return status.st_dev, status.st_ino


def _row(number: int, call: StoredCall) -> tuple[int, bytes, float, bytes, int]:
    checksum = _checksum(number, call.call_id, call.written_at, call.snapshot)
    return number, call.call_id, call.written_at, call.snapshot, checksum


def _is_whole(number: object, call_id: object, written: object, snapshot: object, checksum: object) -> bool:
    return (
        isinstance(number, int)
        and isinstance(call_id, bytes)
        and isinstance(written, float)
        and isinstance(snapshot, bytes)
        and checksum == _checksum(number, call_id, written, snapshot)
    )


def _checksum(number: int, call_id: bytes, written: float, snapshot: bytes) -> int:
    begin = zlib.crc32(struct.pack(">qdI", number, written, len(call_id)))
    return zlib.crc32(snapshot, zlib.crc32(call_id, begin))
