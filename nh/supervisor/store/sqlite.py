"""The SQLite engine: a database file with a row for each call.

Crash safety: a write is one transaction in the write-ahead log (WAL) with synchronous=NORMAL, so it survives
any end of the process as soon as write() returns. It survives a power failure once flush() has returned; the
file is consistent in any case. Each row has a checksum, because SQLite's pages have none.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from nh.errors import StoreUnavailable
from nh.printable import counted
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall, StoreFull
from nh.supervisor.store.sqlite_failures import FAILURES, failures_of
from nh.supervisor.store.sqlite_files import (
    exchange_files,
    finish_exchange,
    has_sides,
    log_path,
    make_file,
    new_path,
    remove_files,
    room_for_files,
)
from nh.supervisor.store.sqlite_rows import is_intact, row_of

APPLICATION_ID: Final = 0x6E684361
"""Identifies nh's stores among SQLite databases: "nhCa"."""

SCHEMA: Final = 1
"""Version of the tables; a file of another version is quarantined."""

WAL_BYTES: Final = 4 << 20
"""Size that the log is truncated to after a checkpoint: SQLite's 1000 pages between two checkpoints."""

PAGE_BYTES: Final = 4096

LOG_SHARE: Final = 0.25
"""Most of a small disk that the log takes before a checkpoint."""

ROOM_FACTOR: Final = 4
"""Calls take up to twice their size in pages, and are in the log and in the file."""

_TABLES: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
    "CREATE TABLE relay (owner BLOB NOT NULL)",
    # nh assigns the numbers: an index of call-ids would double the cost of each write
    "CREATE TABLE calls (number INTEGER PRIMARY KEY, call_id BLOB NOT NULL, written REAL NOT NULL,"
    " snapshot BLOB NOT NULL, checksum INTEGER NOT NULL)",
)

_SETTINGS: Final = (
    "PRAGMA synchronous = NORMAL",
    "PRAGMA cache_size = -128",  # KiB; the kernel has the file in memory, once for all
    f"PRAGMA journal_size_limit = {WAL_BYTES}",
    # keys of SRTP do not outlive their call in free pages; 1 to 9 % more bytes are written
    "PRAGMA secure_delete = ON",
)


class SqliteEngine:
    """A database file; nh.supervisor.store.engine.StoreEngine has the contract.

    Args:
        path: the file, in a directory that no other program writes to.
        owner: identifies the relay that the calls belong to. A file of another relay cannot be used.
    """

    check_s = 5.0
    lease = None
    continues = True
    epoch = unknown_epoch = 0

    def __init__(self, path: Path, owner: bytes) -> None:
        self._path = path
        self._owner = owner
        self._database: sqlite3.Connection | None = None
        self._opened: dict[Path, os.stat_result] = {}  # the files that are open
        self._numbers: dict[bytes, int] = {}
        self._next = 1

    @property
    def name(self) -> str:
        """The path of the file."""
        return str(self._path)

    def open(self) -> list[StoredCall]:
        """See StoreEngine."""
        with failures_of(self._path):
            finish_exchange(self._path)
        is_new = not os.path.lexists(self._path)
        try:
            with failures_of(self._path):
                self._opened = {self._path: make_file(self._path)}
                return self._connect(is_new=is_new)
        except StoreFull as exc:
            if is_new:
                raise
            raise StoreUnavailable(str(exc)) from exc

    def write(self, changes: Changes) -> None:
        """See StoreEngine."""
        numbers = {
            call_id: self._numbers.get(call_id, self._next + offset)
            for offset, call_id in enumerate(changes)
            if changes[call_id] is not None or call_id in self._numbers
        }
        rows = [row_of(numbers[call.call_id], call) for call in changes.values() if call is not None]
        removed = [(numbers[call_id],) for call_id in numbers if changes[call_id] is None]
        with failures_of(self._path), self._transaction() as database:
            database.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)", rows)
            database.executemany("DELETE FROM calls WHERE number = ?", removed)
        self._next += len(changes)
        for call_id, number in numbers.items():
            if changes[call_id] is None:
                del self._numbers[call_id]
            else:
                self._numbers[call_id] = number

    def flush(self) -> None:
        """See StoreEngine."""
        with failures_of(self._path):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def check(self) -> None:
        """See StoreEngine."""
        for path, opened in self._opened.items():
            with failures_of(self._path):
                is_same = os.path.samestat(path.lstat(), opened)
            if not is_same:
                raise StoreUnavailable(f"{path}: the file was replaced by another one")

    def close(self) -> None:
        """See StoreEngine."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(*FAILURES):
                database.close()

    def make_room(self, size_bytes: int, /) -> bool:
        """See StoreEngine. A log that fills the disk leaves no room to take it into the file, for ever."""
        try:
            with failures_of(self._path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except StoreFull:
            with failures_of(self._path):
                if size_bytes * ROOM_FACTOR > room_for_files(self._path):
                    raise
        else:
            return False
        self.close()
        with failures_of(self._path):
            remove_files(self._path)
            self._opened = {self._path: make_file(self._path)}
            self._connect(is_new=True)
        return True

    def quarantine(self, calls: Sequence[StoredCall], /) -> str:
        """Rename the file and those beside it: `.quarantine-` and the time in UTC. See StoreEngine."""
        self._make_new(calls)
        try:
            return exchange_files(self._path).name
        except OSError as exc:
            raise StoreUnavailable(f"{self._path} cannot be renamed: {exc.strerror}") from exc

    def _make_new(self, calls: Sequence[StoredCall]) -> None:
        """Make the database of exchange_files(), if there is room."""
        new = new_path(self._path)
        remove_files(new)
        engine = SqliteEngine(new, self._owner)
        with contextlib.suppress(StoreUnavailable, StoreDamaged):
            with contextlib.closing(engine):
                engine.open()
                engine.write({call.call_id: call for call in calls})
            if not has_sides(new):
                return
        remove_files(new)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise StoreUnavailable(f"{self._path}: is not open")
        return self._database

    def _connect(self, *, is_new: bool) -> list[StoredCall]:
        try:
            with failures_of(self._path):
                self._database = sqlite3.connect(
                    self._path, timeout=0, isolation_level=None, check_same_thread=False
                )
                self._set_up(is_new=is_new)
                log = log_path(self._path)
                self._opened[log] = log.lstat()
            return self._read()
        except BaseException:
            self.close()
            if is_new:  # an empty file would be taken for a damaged one
                remove_files(self._path)
            raise

    def _read(self) -> list[StoredCall]:
        self._numbers, self._next = {}, 1
        found: dict[bytes, StoredCall] = {}
        damaged = 0
        query = "SELECT number, call_id, written, snapshot, checksum FROM calls"
        try:
            with failures_of(self._path), contextlib.closing(self._connection.execute(query)) as rows:
                for number, call_id, written, snapshot, checksum in rows:
                    if not is_intact(number, call_id, written, snapshot, checksum) or call_id in found:
                        damaged += 1
                        continue
                    found[call_id] = StoredCall(call_id, snapshot, written)
                    self._numbers[call_id] = number
                    self._next = max(self._next, number + 1)
        except StoreDamaged as exc:
            raise StoreDamaged(str(exc), tuple(found.values())) from exc
        if damaged:
            raise StoreDamaged(f"is damaged in {counted(damaged, 'call')}", tuple(found.values()))
        return list(found.values())

    def _set_up(self, *, is_new: bool) -> None:
        run = self._connection.execute
        self._connection.text_factory = bytes  # a damaged text may be any bytes
        run("PRAGMA trusted_schema = OFF")
        run("PRAGMA cell_size_check = ON")
        # nh is the only reader, so the log needs no index in shared memory, which a full disk would break
        run("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        if not is_new:  # before anything is changed in what may be another program's file
            self._check_kind()
        ((mode,),) = run("PRAGMA journal_mode = WAL").fetchall()
        if mode != b"wal":
            raise StoreUnavailable(f"{self._path}: the file system allows no write-ahead log")
        pages = int(min(WAL_BYTES, room_for_files(self._path) * LOG_SHARE)) // PAGE_BYTES
        for setting in (*_SETTINGS, f"PRAGMA wal_autocheckpoint = {max(1, pages)}"):
            run(setting).fetchall()
        if is_new:
            with self._transaction():
                for table in _TABLES:
                    run(table)
                run("INSERT INTO relay VALUES (?)", (self._owner,))
        owners = run("SELECT owner FROM relay").fetchall()
        if owners != [(self._owner,)]:
            named = b", ".join(bytes(name) for (name,) in owners if isinstance(name, bytes)) or b"none"
            raise StoreDamaged(f"belongs to the relay of {named.decode(errors='backslashreplace')}")

    def _check_kind(self) -> None:
        run = self._connection.execute
        ((application,),) = run("PRAGMA application_id").fetchall()
        ((schema,),) = run("PRAGMA user_version").fetchall()
        if application != APPLICATION_ID:
            is_empty = not run("SELECT 1 FROM sqlite_master").fetchall()
            raise StoreDamaged("is empty" if is_empty else "is another program's database")
        if schema != SCHEMA:
            raise StoreDamaged(f"was written by another version of nh (tables {schema}, not {SCHEMA})")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = self._connection
        database.execute("BEGIN IMMEDIATE")
        try:
            yield database
            database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already
                database.rollback()
            raise
