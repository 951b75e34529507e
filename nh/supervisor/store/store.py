"""The store: calls survive the end of all processes in it.

put() and delete() only leave a note; a thread of the store's own writes what has gathered every BATCH_S. It
keeps the newest note of each call, so a slow or full disk costs memory for the calls that there are, and
never time: the caller waits for no disk, ever.

What is there again: all that was put before the processes ended, however they did, because notes that are not
in the file yet are in files in memory (nh.supervisor.store.journal); what was put FLUSH_S before the power
failed. The store knows of a call its id and some bytes, and nothing of what they mean.
"""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from nh.stats.layout import SupervisorStats
from nh.supervisor.store.journal import Journal, JournalRecord
from nh.supervisor.store.sqlite_file import StoredCall
from nh.supervisor.store.writer import StoreWriter

__all__ = ["Store", "StoredCall"]

logger = logging.getLogger(__name__)

BATCH_S: Final = 0.1
"""How long notes are gathered before they are written."""

FLUSH_S: Final = 5.0
"""How often what was written is brought to the disk itself."""

RETRY_S: Final = 1.0
"""After a failure, when it is tried again."""

CLOSE_S: Final = 1.0
"""How long close() waits for the disk, so that nh ends within 5 s with the shards' grace."""


class Store:
    """Calls in a file, by call-id. All methods are for one thread, and none but close() waits for the disk.

    Arguments:
        path: the file, in a directory that nobody else uses.
        owner: says whose calls they are; the file of another owner is set aside.
        notes_dir: where notes outlive the processes, of this owner alone and in memory; None: they do not.

    Raises StoreUnavailable if the file cannot be opened or made.
    """

    def __init__(self, path: Path, owner: bytes, notes_dir: Path | None = None) -> None:
        self._writer = StoreWriter(path, owner)
        self._note_files = _open_notes(notes_dir)
        in_file = {call.call_id: call for call in self._writer.calls}
        found = self._note_files.load() if self._note_files is not None else ()
        self._notes = _newer_than(in_file, found)
        known = in_file | self._notes
        self._loaded = [call for call in known.values() if call is not None]
        self._lock = threading.Lock()  # for exchanging _notes: held for moments only
        self._wake = threading.Event()
        if self._notes:
            self._wake.set()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def load(self) -> list[StoredCall]:
        """The calls that were stored or noted when it was opened, once: they are not kept a second time.

        They stay in the file until they are put anew or deleted.
        """
        loaded, self._loaded = self._loaded, []
        return loaded

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        """Have a call stored soon, instead of what was stored of it.

        Arguments:
            call_id: which.
            snapshot: what load() returns later; not copied, so it costs no memory if the caller keeps it.
        """
        self._note(JournalRecord(call_id, snapshot, time.time()))

    def delete(self, call_id: bytes) -> None:
        """Have nothing stored of a call any more; it need not be there."""
        self._note(JournalRecord(call_id, None, time.time()))

    @property
    def pending(self) -> int:
        """Calls whose last change is not in the file yet."""
        return len(self._notes) + self._writer.unwritten

    def count_in(self, stats: SupervisorStats) -> None:
        """Say in the statistics how the store is."""
        stats.store_written = self._writer.written
        stats.store_errors = self._writer.errors
        stats.store_pending = self.pending

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what is left and end; nothing may be put after it. A second one does nothing.

        Arguments:
            timeout_s: longest wait; what a disk has not taken by then is not stored, which is logged.
        """
        if self._closing.is_set():
            return
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        left = self.pending
        if self._thread.is_alive():
            logger.warning("the disk is too slow: the store is left with %d calls unwritten", left)
        elif left:
            logger.warning("the store is closed with %d calls unwritten", left)
        with self._lock:
            notes, self._note_files = self._note_files, None
        if notes is not None:
            (notes.close if left else notes.remove)()

    def _note(self, note: JournalRecord) -> None:
        with self._lock:
            if self._note_files is not None:
                self._note_files.add(note)
            self._notes[note.call_id] = _stored(note)
        if not self._wake.is_set():
            self._wake.set()

    # --- the thread -------------------------------------------------------------------------------

    def _work(self) -> None:
        flushed_at, flushed = time.monotonic(), self._writer.written
        while not self._closing.is_set():
            if self._wake.wait(FLUSH_S):
                self._closing.wait(BATCH_S)
            works = self._write()
            if works and self._writer.written != flushed and time.monotonic() >= flushed_at + FLUSH_S:
                flushed_at, flushed = time.monotonic(), self._writer.written
                works = self._writer.checkpoint()
            if not works:
                self._closing.wait(RETRY_S)
        self._write(until=self._deadline)
        self._writer.close()

    def _write(self, *, until: float | None = None) -> bool:
        self._wake.clear()  # before the exchange: what is noted after it wakes the thread again
        with self._lock:
            notes, self._notes = self._notes, {}
            if self._note_files is not None:
                self._note_files.begin_batch()
        works = self._writer.write(notes, until=until)
        if works and not self._writer.unwritten:
            with self._lock:
                if self._note_files is not None:
                    self._note_files.end_batch()
        return works


def _open_notes(directory: Path | None) -> Journal | None:
    if directory is None:
        return None
    try:
        return Journal(directory)
    except OSError as exc:
        logger.warning(
            "calls that are set up in the last %g s before all processes are killed will be forgotten: %s",
            BATCH_S,
            exc,
        )
        return None


def _newer_than(
    in_file: Mapping[bytes, StoredCall], notes: Iterable[JournalRecord]
) -> dict[bytes, StoredCall | None]:
    """What notes say that the file does not say yet, the latest of each call."""
    return {
        note.call_id: _stored(note)
        for note in notes
        if note.call_id not in in_file or in_file[note.call_id].written_at <= note.noted_at
    }


def _stored(note: JournalRecord) -> StoredCall | None:
    return None if note.snapshot is None else StoredCall(note.call_id, note.snapshot, note.noted_at)
