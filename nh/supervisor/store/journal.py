"""The journal: changes of calls that the store has not written yet, in two files in memory.

A record is one write(2) of some microseconds, made before a client gets its answer, so kill -9 of all
processes loses none. The files belong into a directory in memory, such as the runtime directory: they guard
against the end of processes, not against power failure, and no slow disk delays an answer.

There are two files because changes are recorded while others are written to the store: one takes new records,
the other holds those that are being written, and is emptied when the store has them. The numbers of the
records order both files. What is not valid any more is voided first, by a record with its number, and dropped
then: so a kill between two operations brings back no older record, in whichever order they are done.

While the store is away, the journal is compacted: the file of what is being written gets all calls, once
each, and the other one what was recorded since. So the journal alone brings all calls back, and its size is
that of the calls, however long the store is away. Where there is no room for both copies of the calls, they
are moved in parts, through room that was reserved for that: each part is in one file before it leaves the
other one.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from nh.logs.throttle import RateLimitedLogger
from nh.supervisor.store.journal_file import JournalFile, new_file
from nh.supervisor.store.journal_move import PART_BYTES, Ends, Latest, move_calls
from nh.supervisor.store.journal_records import JournalRecord, encode_record, encode_void, voids
from nh.supervisor.store.reserved_room import ReservedRoom

logger = logging.getLogger(__name__)

NAMES: Final = ("calls.journal-0", "calls.journal-1")
NEW_NAME: Final = "calls.journal-new"
RESERVE_NAME: Final = "calls.journal-reserve"

MAX_BYTES: Final = 16 << 20
"""Largest size of new records, beside twice the compacted ones: some seconds of changes at full load."""

COMPACT_BYTES: Final = 1 << 20
"""So many bytes of new records, and as many as the compacted ones have, are worth being compacted."""

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about a failure that lasts."""

_UNWRITTEN: Final = "changes of calls that the store does not have yet"


class Journal:
    """The two files.

    Args:
        directory: where they are; no other program writes to it.

    Raises:
        OSError: the files cannot be opened, or other users may write to them.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._new_path = directory / NEW_NAME
        self._failures = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._files: list[JournalFile] = []
        try:
            for name in NAMES:
                self._files.append(JournalFile(directory / name))
            numbered = [file.read() for file in self._files]
            self._reserved = ReservedRoom(directory / RESERVE_NAME)
        except BaseException:
            self.close()
            raise
        every = sorted((each for records in numbered for each in records), key=lambda each: each[0])
        self._voided = max((number for number, _, record in every if voids(record)), default=0)
        self._found = [record for number, _, record in every if number > self._voided]
        self._number = every[-1][0] if every else 0
        later = max((0, 1), key=lambda which: _last(numbered[which]))
        self._active, self._other = self._files[later], self._files[1 - later]
        self._batch = self._number, 0  # last number, and bytes of the active file, at begin_batch()
        self._compacted = 0  # bytes of the active file that are no new records
        self._is_complete = False
        self._missing = 0  # the number of the latest record that had no room beside complete files
        self._given_up = 0  # the number of the latest record that all were dropped for
        self._is_stale = False  # records could not be dropped: none is added before they are

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
        try:
            if self._is_stale:
                self._truncate_all()
            size = self._active.size + len(data)
            if size > MAX_BYTES + 2 * self._other.size + 3 * self._compacted:
                raise OSError(f"more than {size >> 20} MiB wait for the store")
            self._active.append(data)
        except OSError as exc:
            if self._is_complete or self._missing:
                self._miss(exc)
            else:
                self._give_up(exc)

    def check(self) -> None:
        """Write a file anew that was removed or replaced: no start would find what is in it.

        If that fails, it is logged, and the next check tries it again.
        """
        try:
            for file in (self._active, self._other):  # without the newer records, older ones would count
                if file.is_in_place():
                    continue
                file.rewrite(self._new_path)
                self._failures.log(
                    logging.WARNING,
                    "journal %s: another program removed or replaced the file; it is written anew",
                    file.path,
                )
        except OSError as exc:
            self._log(exc, _UNWRITTEN)

    def begin_batch(self) -> None:
        """Say that everything recorded so far is about to be written to the store."""
        if not self._other.size:  # otherwise it still has the batch that failed before
            self._active, self._other = self._other, self._active
            self._compacted = 0
        self._number += 2  # one for what is compacted now, and one for what is after end_batch()
        self._batch = self._number - 1, self._active.size

    def end_batch(self) -> None:
        """Remove what was recorded before begin_batch(): the store has it.

        After a record that had no room, nothing older stays: it may be of a call whose end is the one that is
        missing, and would bring it back.
        """
        missing, self._missing = self._missing, 0
        self._is_complete = False
        number, begin = self._batch
        try:
            self._void_batch()
            self._other.empty()
        except OSError as exc:
            self._give_up(exc)
            begin = 0
        if missing > number:
            begin = self._compacted = 0
            try:
                self._active.empty()
            except OSError as exc:
                self._give_up(exc)
        self._batch = number + 1, begin
        self._reserved.reserve()

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
        worth_it = max(COMPACT_BYTES, self._other.size + self._compacted)
        return self._is_complete and self._active.size - self._compacted < worth_it

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
        with new_file(self._new_path) as stream:
            size = stream.write(encode_void(max(0, number - 1)))
            return size + sum(stream.write(encode_record(number, record)) for record in records)

    def use_compacted(self, size: int) -> None:
        """Use the file of write_compacted() in place of what was recorded before begin_batch().

        Where later records were dropped meanwhile, the file is: it has older ones of their calls.

        Args:
            size: of the file.

        Raises:
            OSError: that failed; all records are still there.
        """
        if self._given_up > self._batch[0]:
            self._new_path.unlink()
            return
        self._other.replace(self._new_path, size)
        self._voided = max(0, self._batch[0] - 1)
        self._drop_batch()
        self._is_stale = False  # both files are new ones
        self._completed()

    def has_room_in_place(self, size_bytes: int) -> bool:
        """Whether compact_in_place() can be of use: a record is missing, and all have room that way.

        A part of them has room too, which is in both files for a moment.

        Args:
            size_bytes: of the latest records of all calls, see encoded_bytes().
        """
        if not self._missing or not self._other.size:
            return False
        disk = os.statvfs(self._directory)
        room = disk.f_bavail * disk.f_frsize + self._reserved.size
        return min(PART_BYTES, self._other.size) <= room and size_bytes <= room + self._other.size

    def compact_in_place(self, latest: Latest, call_ids: Iterable[bytes]) -> Iterator[bool]:
        """Have the latest records of all calls in the file of new ones, and nothing in the other one.

        The other file, which has no new records, is read before the first step. Other threads may add records
        meanwhile and between two steps. A step that fails, and a kill at any time, leave each call in one of
        the files.

        Args:
            latest: of a call at the last begin_batch(); None: the store knows that there is none.
            call_ids: of all calls that have one.

        Returns:
            Does a step each time, and gives True after it.

        Raises:
            OSError: there is no room. If there was none for the first step, the files are as before.
        """
        return self._compact_in_place(self._other.ends(), latest, call_ids)

    def _compact_in_place(self, ends: Ends, latest: Latest, call_ids: Iterable[bytes]) -> Iterator[bool]:
        number, _ = self._batch
        void = encode_void(self._voided)  # what does so may be in the other file
        before = self._active.size, self._other.size
        try:
            self._reserved.release()
            self._active.append(void)
            for size in move_calls(self._other, ends, self._active, number, latest=latest, call_ids=call_ids):
                self._compacted += size
                yield True
            self._void_before_batch()
        except OSError:
            if (self._active.size - len(void), self._other.size) == before:  # it may be tried every second
                self._active.cut(before[0])
            raise
        finally:
            if self._files:
                self._reserved.reserve()
        self._compacted = self._active.size
        self._completed()

    def clear(self) -> None:
        """Drop all records, also those found at the start: the store's are newer."""
        self._found.clear()
        self._is_complete = False
        self._missing = 0
        try:
            self._truncate_all()
        except OSError as exc:
            self._give_up(exc)

    def close(self) -> None:
        """Close the files; the next Journal finds what is in them."""
        for file in self._files:
            file.close()
        self._files.clear()

    def remove(self) -> None:
        """Close and remove the files: the store has everything."""
        self._void_all()
        self.close()
        for path in (self._new_path, self._reserved.path, self._other.path, self._active.path):
            with contextlib.suppress(OSError):
                path.unlink()

    def _void_batch(self) -> None:
        """Void what the active file has of the batch, and what the other one has."""
        number, begin = self._batch
        if not begin:  # there is nothing older in the active file
            return
        try:
            self._active.append(encode_void(number))
        except OSError:
            self._other.empty()  # that makes room
            self._active.append(encode_void(number))
        self._voided = number

    def _void_before_batch(self) -> None:
        """Void what is older than the compacted records."""
        number, _ = self._batch
        self._active.append(encode_void(max(0, number - 1)))
        self._voided = max(0, number - 1)

    def _void_all(self) -> None:
        with contextlib.suppress(OSError):  # a kill before both are empty leaves the newer records
            self._active.append(encode_void(self._number))

    def _completed(self) -> None:
        self._is_complete = self._missing <= self._batch[0]
        if self._is_complete:
            self._missing = 0

    def _drop_batch(self) -> None:
        """Leave in the active file what was recorded since begin_batch()."""
        number, begin = self._batch
        self._active.rewrite(self._new_path, begin)
        self._batch = number, 0
        self._compacted = 0

    def _truncate_all(self) -> None:
        """Drop all records. A kill in between leaves the newer ones.

        Raises:
            OSError: a file cannot be emptied. Then each further record tries it again first.
        """
        if not self._is_stale:  # the file would grow
            self._is_stale = True
            self._void_all()
        for file in (self._other, self._active):
            file.cut(0)
        self._batch = self._batch[0], 0
        self._compacted = 0
        self._is_stale = False

    def _miss(self, why: OSError) -> None:
        self._missing = self._number
        self._log(why, "latest changes of calls")

    def _give_up(self, why: OSError) -> None:
        with contextlib.suppress(OSError):
            self._truncate_all()
        self._given_up = self._number
        self._log(why, _UNWRITTEN)

    def _log(self, why: OSError, lost: str) -> None:
        self._is_complete = False
        self._failures.log(
            logging.WARNING,
            "journal %s: cannot be written: %s; a kill of all processes loses the %s",
            self._directory,
            why,
            lost,
        )


def _last(records: Sequence[tuple[int, int, JournalRecord]]) -> int:
    """The last number in a file."""
    return max((number for number, _, _ in records), default=-1)
