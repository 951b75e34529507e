"""What tests of the store have in common: a store that is closed, what a file holds, and where it is."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from nh.supervisor.store.sqlite_file import StoredCall, StoreFile
from nh.supervisor.store.store import Store
from tools.harness.waiting import eventually

OWNER = b"/run/nh"


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
    """A store, closed after the block."""
    store = Store(path, owner)
    try:
        yield store
    finally:
        store.close(timeout_s=10.0)


def contents(path: Path, owner: bytes = OWNER) -> dict[bytes, bytes]:
    """Snapshots by call-id, in a store that nobody has open."""
    with opened(path, owner) as store:
        return {call.call_id: call.snapshot for call in store.load()}


def fill(path: Path, calls: Mapping[bytes, bytes]) -> None:
    """Have calls in a store, and nobody has it open."""
    with opened(path) as store:
        for call_id, snapshot in calls.items():
            store.put(call_id, snapshot)


def until_written(store: Store) -> None:
    """Wait until the file has all that was put."""
    eventually(lambda: not store.pending, "everything is in the file", 30.0)


def asides(path: Path) -> list[Path]:
    """What was set aside, the oldest first."""
    return sorted(name for name in path.parent.glob(f"{path.name}.aside-*") if not name.name.endswith("-wal"))


def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let every write to a store's file hang from now on. Set when one does; to be set to let it go on."""
    hangs, goes_on = threading.Event(), threading.Event()
    write = StoreFile.write

    def slow(file: StoreFile, changes: dict[bytes, StoredCall | None]) -> None:
        hangs.set()
        assert goes_on.wait(30)
        write(file, changes)

    monkeypatch.setattr(StoreFile, "write", slow)
    return hangs, goes_on
