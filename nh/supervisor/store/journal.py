"""The journal: changes of calls that the store has not written yet, in two files in memory.

A record is one write(2) of some microseconds, made before a client gets its answer, so kill -9 of all
processes loses none. The files belong into a directory in memory, such as the runtime directory: they guard
against the end of processes, not against power failure, and no slow disk delays an answer.

There are two files because changes are recorded while others are written to the store: one takes new records,
the other holds those that are being written, and is emptied when the store has them. The numbers of the
records order both files.

While the store is away, the journal is compacted: the file of what is being written gets all calls, once
each, and the other one what was recorded since. So the journal alone brings all calls back, and its size is
that of the calls, however long the store is away.
"""

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from nh.logs.throttle import RateLimitedLogger
from nh.supervisor.store.journal_records import JournalRecord, encode_record, read_records

logger = logging.getLogger(__name__)

NAMES: Final = ("calls.journal-0", "calls.journal-1")
NEW_NAME: Final = "calls.journal-new"

MAX_BYTES: Final = 16 << 20
"""Largest size of new records, beside twice the compacted ones: some seconds of changes at full load."""

COMPACT_BYTES: Final = 1 << 20
"""So many bytes of new records, and as many as the compacted ones have, are worth being compacted."""

REPEAT_S: Final = 60.0
"""Least time between two log lines about a failure that lasts."""


class Journal:
    """The two files.

    Args:
        directory: where they are; no other program writes to it.

    Raises:
        OSError: the files cannot be opened, or other users may write to them.
    """

    def __init__(self, directory: Path) -> None:
        self._paths = [directory / name for name in NAMES]
        self._failures = RateLimitedLogger(logger, time.monotonic, REPEAT_S)
        self._files: list[int] = []
        try:
            for path in self._paths:
                self._files.append(_open(path))
            numbered = [list(read_records(fd)) for fd in self._files]
            # an incomplete record at the end would hide those that are appended
            self._sizes = [max((end for _, end, _ in records), default=0) for records in numbered]
            for fd, size in zip(self._files, self._sizes, strict=True):
                os.ftruncate(fd, size)
        except BaseException:
            self.close()
            raise
        in_order = sorted((each for records in numbered for each in records), key=lambda each: each[0])
        self._found = [record for _, _, record in in_order]
        self._number = in_order[-1][0] if in_order else 0
        # that of the latest records: emptying the other one leaves no record whose call has a later one there
        self._active = max((0, 1), key=lambda which: _span(numbered[which]))
        self._batch = self._number, 0  # last number, and bytes of the active file, at begin_batch()
        self._is_complete = False
        self._missing = 0  # the number of the latest record that had no room beside complete files
        self._given_up = 0  # the number of the latest record that all were dropped for

    def load(self) -> list[JournalRecord]:
        """The records found at the start, the oldest first; a second call returns none.

        They stay in the files until end_batch().
        """
        found, self._found = self._found, []
        return found

    def add(self, record: JournalRecord) -> None:
        """Append a record.

        If that fails, it is logged. Files that were complete stay until they are compacted again, because no
        store may have their calls. Both others are emptied: old records without the new ones would bring
        back calls that have ended.
        """
        self._number += 1
        data = encode_record(self._number, record)
        size = self._sizes[self._active] + len(data)
        try:
            if size > MAX_BYTES + 2 * self._sizes[1 - self._active]:
                raise OSError(f"more than {size >> 20} MiB wait for the store")
            if os.write(self._files[self._active], data) < len(data):
                raise OSError("no room for a record")
        except OSError as exc:
            if self._is_complete or self._missing:
                self._miss(exc)
            else:
                self._give_up(exc)
        else:
            self._sizes[self._active] = size

    def begin_batch(self) -> None:
        """Say that everything recorded so far is about to be written to the store."""
        if not self._sizes[1 - self._active]:  # otherwise it still has the batch that failed before
            self._active = 1 - self._active
        self._batch = self._number, self._sizes[self._active]

    def end_batch(self) -> None:
        """Remove what was recorded before begin_batch(): the store has it.

        After a record that had no room, nothing older stays: it may be of a call whose end is the one that is
        missing, and would bring it back.
        """
        missing, self._missing = self._missing, 0
        self._is_complete = False
        self._empty(1 - self._active)
        if missing > self._batch[0]:
            self._empty(self._active)
            self._batch = self._batch[0], 0
        elif missing:
            try:
                self._drop_batch()
            except OSError as exc:
                self._give_up(exc)

    @property
    def is_complete(self) -> bool:
        """Whether the files alone bring all calls back: they were compacted, and have what came since."""
        return self._is_complete

    @property
    def lacks_records(self) -> bool:
        """Whether a change of the batch is missing: an older one of its call may be the latest there."""
        return 0 < self._missing <= self._batch[0]

    @property
    def is_compact(self) -> bool:
        """Whether compacting is not worth it: the files are complete, and not much was recorded since."""
        worth_it = max(COMPACT_BYTES, self._sizes[1 - self._active])
        return self._is_complete and self._sizes[self._active] < worth_it

    def write_compacted(self, records: Iterable[JournalRecord]) -> int:
        """Write what use_compacted() is to use. Other threads may add records meanwhile.

        Args:
            records: the latest of each call at the last begin_batch().

        Returns:
            The size of the file.

        Raises:
            OSError: it cannot be written.
        """
        number, _ = self._batch
        with self._new_file() as stream:
            return sum(stream.write(encode_record(number, record)) for record in records)

    def make_room(self, size_bytes: int) -> bool:
        """Drop what was recorded before begin_batch(), if write_compacted() has room for all of it then only.

        Args:
            size_bytes: of what write_compacted() is to write, see encoded_bytes().

        Returns:
            Whether write_compacted() has room now. What came since is still there.
        """
        batch = self._sizes[1 - self._active]
        if not self._missing or not batch:
            return False
        status = os.fstatvfs(self._files[self._active])
        if size_bytes > status.f_bavail * status.f_frsize + batch:
            return False
        self._empty(1 - self._active)
        return True

    def use_compacted(self, size: int) -> None:
        """Use the file of write_compacted() in place of what was recorded before begin_batch().

        A kill in between costs nothing: some records are there twice. Where later records were dropped
        meanwhile, the file is: it has older ones of their calls.

        Args:
            size: of the file.

        Raises:
            OSError: that failed; all records are still there.
        """
        if self._given_up > self._batch[0]:
            self._new_path.unlink()
            return
        self._replace(1 - self._active, size)
        self._drop_batch()
        self._is_complete = self._missing <= self._batch[0]
        if self._is_complete:
            self._missing = 0

    def clear(self) -> None:
        """Drop all records, also those found at the start: the store's are newer."""
        self._found.clear()
        self._truncate_all()
        self._is_complete = False
        self._missing = 0

    def close(self) -> None:
        """Close the files; the next Journal finds what is in them."""
        for fd in self._files:
            os.close(fd)
        self._files.clear()

    def remove(self) -> None:
        """Close and remove the files: the store has everything. The older one goes first, as in clear()."""
        self.close()
        for path in (self._new_path, self._paths[1 - self._active], self._paths[self._active]):
            with contextlib.suppress(OSError):
                path.unlink()

    def _drop_batch(self) -> None:
        """Leave in the active file what was recorded since begin_batch()."""
        number, begin = self._batch
        length = self._sizes[self._active] - begin
        with self._new_file() as stream:
            stream.write(os.pread(self._files[self._active], length, begin))
        self._replace(self._active, length)
        self._batch = number, 0

    @property
    def _new_path(self) -> Path:
        return self._paths[0].with_name(NEW_NAME)

    @contextlib.contextmanager
    def _new_file(self) -> Iterator[BinaryIO]:
        """The file that replaces one of the others. If it cannot be written, it leaves its room to them."""
        try:
            with open(_create(self._new_path), "wb") as stream:
                yield stream
        except OSError:
            self._new_path.unlink(missing_ok=True)
            raise

    def _replace(self, which: int, size: int) -> None:
        fd = _open(self._new_path)
        try:
            self._new_path.rename(self._paths[which])
        except BaseException:
            os.close(fd)
            raise
        os.close(self._files[which])
        self._files[which], self._sizes[which] = fd, size

    def _empty(self, which: int) -> None:
        if self._sizes[which]:
            self._sizes[which] = 0
            os.ftruncate(self._files[which], 0)

    def _truncate_all(self) -> None:
        """Drop all records, and half a record behind them. A kill in between leaves the newer ones."""
        for which in (1 - self._active, self._active):
            self._sizes[which] = 0
            os.ftruncate(self._files[which], 0)
        self._batch = self._batch[0], 0

    def _miss(self, why: OSError) -> None:
        self._missing = self._number
        self._is_complete = False
        with contextlib.suppress(OSError):  # half a record ends the file, for the next start too
            os.ftruncate(self._files[self._active], self._sizes[self._active])
        self._failures.log(
            logging.WARNING,
            "journal %s: cannot be written: %s; a kill of all processes loses the latest changes of calls",
            self._paths[0].parent,
            why,
        )

    def _give_up(self, why: OSError) -> None:
        self._truncate_all()
        self._given_up = self._number
        self._is_complete = False
        self._failures.log(
            logging.WARNING,
            "journal %s: cannot be written: %s; a kill of all processes loses the changes of calls that the"
            " store does not have yet",
            self._paths[0].parent,
            why,
        )


def _span(records: Sequence[tuple[int, int, JournalRecord]]) -> tuple[int, int]:
    """The last number of a file, and the first: all compacted records have that of the latest one."""
    return (records[-1][0], records[0][0]) if records else (-1, -1)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise OSError(f"{path} is not a file of this user alone")
    return fd
