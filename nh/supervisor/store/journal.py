"""Notes for the store that are not in its file yet, where they outlive all processes: in two files.

A note is one write(2) of some microseconds, so it is made before anything else happens, and kill -9 of
everything loses none. The files belong into a directory in memory, such as the runtime directory: they are
for the end of processes, not for that of the power, and no disk can hold up who writes to them.

There are two because the store writes what was noted while more is noted: one takes the new, the other holds
what is being written, and is emptied once that is in the store. Each note has a number, which puts both in
order, and a checksum, because the last one may be half a note.
"""

import contextlib
import logging
import os
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

NAMES: Final = ("calls.notes-0", "calls.notes-1")

MAX_BYTES: Final = 16 << 20
"""Most in one file: the notes of seconds at full load. Only a disk that hangs or is full makes it more."""

LOG_INTERVAL_S: Final = 60.0

_HEAD: Final = struct.Struct(">QdII")  # number, time, bytes of the call-id, bytes of the snapshot
_CHECKSUM: Final = struct.Struct(">I")
_NO_SNAPSHOT: Final = 0xFFFF_FFFF


class JournalRecord(NamedTuple):
    """What changed.

    Arguments:
        call_id: of which call.
        snapshot: how it is now; None: it is over.
        noted_at: wall clock, seconds since 1970.
    """

    call_id: bytes
    snapshot: bytes | None
    noted_at: float


class Journal:
    """The two files in a directory that nobody else uses.

    Arguments:
        directory: see above.

    Raises OSError if the files cannot be opened or are another user's.
    """

    def __init__(self, directory: Path) -> None:
        self._paths = [directory / name for name in NAMES]
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._files: list[int] = []
        try:
            for path in self._paths:
                self._files.append(_open(path))
            numbered = [list(_read(fd)) for fd in self._files]
        except OSError:
            self.close()
            raise
        # what is behind the last whole note would hide those that come
        self._sizes = [max((end for _, end, _ in notes), default=0) for notes in numbered]
        for fd, size in zip(self._files, self._sizes, strict=True):
            os.ftruncate(fd, size)
        in_order = sorted((number, note) for notes in numbered for number, _, note in notes)
        self._found = [note for _, note in in_order]
        self._number = in_order[-1][0] if in_order else 0
        self._active = 0

    def load(self) -> list[JournalRecord]:
        """The notes that were there, the oldest first, once; they stay in the files until a batch is over."""
        found, self._found = self._found, []
        return found

    def add(self, note: JournalRecord) -> None:
        """Write a note.

        Where that cannot be done, it is logged, and both files are emptied: without the new ones, old notes
        would bring back what is over.
        """
        record = self._record(note)
        size = self._sizes[self._active] + len(record)
        try:
            if size > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES >> 20} MiB wait for the store")
            if os.write(self._files[self._active], record) < len(record):
                raise OSError("there is no room for a note")
        except OSError as exc:
            self._give_up(exc)
        else:
            self._sizes[self._active] = size

    def begin_batch(self) -> None:
        """All that was noted is written to the store from now on."""
        if not self._sizes[1 - self._active]:  # else a batch before failed, and it is in there
            self._active = 1 - self._active

    def end_batch(self) -> None:
        """All that was noted before begin_batch() is in the store."""
        self._empty(1 - self._active)

    def close(self) -> None:
        """Close the files; what is in them is found by who opens them next."""
        for fd in self._files:
            os.close(fd)
        self._files.clear()

    def remove(self) -> None:
        """Close the files and have none: everything is in the store."""
        self.close()
        for path in self._paths:
            with contextlib.suppress(OSError):
                path.unlink()

    def _record(self, note: JournalRecord) -> bytes:
        self._number += 1
        snapshot = note.snapshot
        head = _HEAD.pack(
            self._number,
            note.noted_at,
            len(note.call_id),
            _NO_SNAPSHOT if snapshot is None else len(snapshot),
        )
        body = b"".join((head, note.call_id, snapshot or b""))
        return _CHECKSUM.pack(zlib.crc32(body)) + body

    def _empty(self, which: int) -> None:
        if self._sizes[which]:
            self._sizes[which] = 0
            os.ftruncate(self._files[which], 0)

    def _give_up(self, why: OSError) -> None:
        for which, fd in enumerate(self._files):
            self._sizes[which] = 0
            os.ftruncate(fd, 0)
        self._limited_log.log(
            logging.WARNING,
            "calls that are set up in the moments before all processes are killed would be forgotten: %s",
            why,
        )


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise OSError(f"{path} is not a file of this user's alone")
    return fd


def _read(fd: int) -> Iterator[tuple[int, int, JournalRecord]]:
    """Number, end in the file, and note, as far as they are whole."""
    data, at = _whole(fd), 0
    while at + _CHECKSUM.size + _HEAD.size <= len(data):
        begin = at + _CHECKSUM.size
        number, noted_at, id_bytes, snapshot_bytes = _HEAD.unpack_from(data, begin)
        ids = begin + _HEAD.size
        snapshots = ids + id_bytes
        is_over = snapshot_bytes == _NO_SNAPSHOT
        end = snapshots + (0 if is_over else snapshot_bytes)
        if end > len(data) or _CHECKSUM.unpack_from(data, at) != (zlib.crc32(data[begin:end]),):
            return
        yield (
            number,
            end,
            JournalRecord(data[ids:snapshots], None if is_over else data[snapshots:end], noted_at),
        )
        at = end


def _whole(fd: int) -> bytes:
    with open(fd, "rb", closefd=False) as stream:
        stream.seek(0)
        return stream.read()
