"""What tests of the store have in common: engines, what a closed store holds, and disks that fail."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from nh.errors import StoreUnavailable
from nh.supervisor.store.engine import Changes, StoreDamaged, StoredCall, StoreFull
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.sqlite import SqliteEngine
from nh.supervisor.store.store import Store
from tools.harness.waiting import eventually

OWNER = b"/run/nh"


def stored_call(call_id: bytes, snapshot: bytes = b"snapshot", written_at: float = 1.5) -> StoredCall:
    return StoredCall(call_id, snapshot, written_at)


class MemoryServer:
    """Where MemoryEngine stores calls: outlives each engine, as a server does.

    Attributes:
        records: the stored calls; None: there is no store yet.
        quarantined: the stores that were quarantined, the oldest first.
        away: whether it can be reached.
        full: whether it has no room.
        makes_room: whether it has room again when it is emptied.
        emptied: how often it was.
        damage: why the store cannot be used; "" if it can.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, StoredCall] | None = None
        self.quarantined: list[dict[bytes, StoredCall]] = []
        self.away = False
        self.full = False
        self.makes_room = False
        self.emptied = 0
        self.damage = ""


class MemoryEngine:
    """An engine without a file."""

    name = "memory"
    check_s = 3600.0
    lease: Lease | None = None
    continues = True
    epoch = unknown_epoch = 0

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._opened: dict[bytes, StoredCall] | None = None

    def open(self) -> list[StoredCall]:
        self._reach()
        records = self._server.records
        if self._server.damage:
            raise StoreDamaged(self._server.damage, list((records or {}).values()))
        if records is None and self._server.full:
            raise StoreFull("memory: full")
        self._opened = self._server.records = {} if records is None else records
        return list(self._opened.values())

    def write(self, changes: Changes) -> None:
        records = self._records()
        if self._server.full:
            raise StoreFull("memory: full")
        for call_id, call in changes.items():
            if call is None:
                records.pop(call_id, None)
            else:
                records[call_id] = call

    def flush(self) -> None:
        self._records()

    def check(self) -> None:
        if self._server.records is not self._opened:
            raise StoreUnavailable("memory: replaced")

    def close(self) -> None:
        self._opened = None

    def make_room(self, _size_bytes: int, /) -> bool:
        if not self._server.makes_room:
            return False
        self._records().clear()
        self._server.emptied += 1
        self._server.full = False
        return True

    def quarantine(self, calls: Sequence[StoredCall], /) -> str:
        self._reach()
        self._server.quarantined.append(self._server.records or {})
        self._server.records, self._server.damage = {call.call_id: call for call in calls}, ""
        return f"quarantine {len(self._server.quarantined)}"

    def _records(self) -> dict[bytes, StoredCall]:
        self._reach()
        if self._opened is None:
            raise StoreUnavailable("memory: not open")
        if self._server.damage:
            raise StoreDamaged(self._server.damage)
        return self._opened

    def _reach(self) -> None:
        if self._server.away:
            raise StoreUnavailable("memory: away")


@contextlib.contextmanager
def file_system(where: Path, options: str) -> Iterator[Path]:
    """A file system in memory at a new directory, with mount's options; skips where none can be mounted."""
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "nh-test", str(where)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root and the right to mount")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def occupy(disk: Path) -> Path:
    """Take all the room that is left."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))
    return filler


@contextlib.contextmanager
def opened(path: Path, owner: bytes = OWNER) -> Iterator[Store]:
    """A store in a file, closed after the block."""
    store = Store(SqliteEngine(path, owner))
    try:
        yield store
    finally:
        store.close(timeout_s=120.0)  # a busy disk writes thousands of calls


def contents(path: Path, owner: bytes = OWNER) -> dict[bytes, bytes]:
    """Snapshots by call-id, in a file that no store has open."""
    with opened(path, owner) as store:
        return {call.call_id: call.snapshot for call in store.load()}


def fill(path: Path, calls: Mapping[bytes, bytes]) -> None:
    """Store calls in a file and close it."""
    with opened(path) as store:
        for call_id, snapshot in calls.items():
            store.put(call_id, snapshot)


def until_written(store: Store) -> None:
    """Wait until the engine has all that was put."""
    eventually(lambda: not store.pending, "everything is written", 30.0)


def quarantined(path: Path) -> list[Path]:
    """The quarantined files, the oldest first."""
    return sorted(
        name for name in path.parent.glob(f"{path.name}.quarantine-*") if not name.name.endswith("-wal")
    )


def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let every write to a file hang from now on. Set when one does; to be set to let it go on."""
    hangs, goes_on = threading.Event(), threading.Event()
    write = SqliteEngine.write

    def slow(engine: SqliteEngine, changes: Changes) -> None:
        hangs.set()
        assert goes_on.wait(30)
        write(engine, changes)

    monkeypatch.setattr(SqliteEngine, "write", slow)
    return hangs, goes_on
