"""The store, as the supervisor uses it: calls survive the end of all processes in it.

put() and delete() append to the journal and return; the store's own thread writes what has gathered every
BATCH_S. It keeps the newest change of each call, so a slow or full disk costs memory for the calls that there
are, and never time: the caller waits for no disk.

After a kill of all processes everything that was put is there again: what the engine has not, the journal
has. After a power failure everything is there that was put FLUSH_S before. The store knows a call-id and
bytes, nothing of calls.
"""

import functools
import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from nh.ipc.shared_deadline import boottime
from nh.logs.throttle import RateLimitedLogger
from nh.loop import call_each
from nh.printable import counted
from nh.stats.layout import SupervisorStats
from nh.supervisor.store.engine import StoredCall, StoreEngine
from nh.supervisor.store.journal import LOG_INTERVAL_S, Journal
from nh.supervisor.store.journal_load import JournalOpener, load_journal, newer_than, stored_call
from nh.supervisor.store.journal_records import JournalRecord, encoded_bytes
from nh.supervisor.store.lease import Lease
from nh.supervisor.store.packing import Packed
from nh.supervisor.store.writer import StoreWriter
from nh.threads import start_thread

__all__ = ["Store", "StoredCall"]

logger = logging.getLogger(__name__)

BATCH_S: Final = 0.1
"""How long changes gather before they are written."""

FLUSH_S: Final = 5.0
"""How often the engine is flushed."""

RETRY_S: Final = 1.0
"""How long after a failure the engine is tried again."""

ENOUGH_PACKED: Final = 100
"""So many packed snapshots wake the thread; fewer wait until it wakes up for something else."""

MAX_PACKED: Final = 10_000
"""Most packed snapshots that wait for the thread; of more, the writer keeps what it has."""

CLOSE_S: Final = 1.0
"""How long close() waits for the engine; nh has to end within 5 s, the grace of its shards included."""


class Store:
    """Calls by call-id. One thread uses it, and only close() makes it wait.

    Args:
        engine: where calls are stored.
        journal_dir: directory in memory for the journal, which no other program writes to; None: no journal.
        may_be_away: whether a store that cannot be opened now is opened later. Calls that only it has are not
            loaded then.

    Raises:
        StoreUnavailable: the engine cannot be opened.
        OSError: the host has no thread left for it.
    """

    def __init__(
        self, engine: StoreEngine, journal_dir: Path | None = None, *, may_be_away: bool = False
    ) -> None:
        self._writer = StoreWriter(engine, may_be_away=may_be_away)
        self._check_s = min(FLUSH_S, engine.check_s)
        self._behind_since: float | None = None
        self._failures = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._packed: deque[tuple[bytes, bytes, Packed]] = deque(maxlen=MAX_PACKED)
        self._taken = 0  # changes that are neither in _changes nor in the writer yet
        self._journals = JournalOpener(journal_dir, lost_s=BATCH_S)
        self._journal = self._journals.open()
        self._closed = False  # close() has left the journal to the next start
        stored = {call.call_id: call for call in self._writer.expected.calls}
        self._lease = engine.lease
        if self._journal is not None and not engine.continues:
            self._journal.clear()
        is_outdated = self._journals.epoch < engine.unknown_epoch
        recorded = load_journal(self._journal, is_outdated=is_outdated)
        self._engine = engine
        self._journals.note_epoch(engine.epoch)
        self._changes = newer_than(stored, recorded)
        times = (*(call.written_at for call in stored.values()), *(each.changed_at for each in recorded))
        self._changed_at = max(times, default=0.0)
        known = stored | self._changes
        self._loaded = [call for call in known.values() if call is not None]
        self._lock = threading.Lock()  # for the exchange of _changes: held for moments only
        self._wake = threading.Event()
        if self._changes:
            self._wake.set()
        self._closing = threading.Event()
        self._deadline = 0.0
        self._flushed_at, self._flushed = time.monotonic(), self._writer.written
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        try:
            start_thread(self._thread)
        except OSError:
            if self._journal is not None:
                self._journal.close()
            self._writer.close()  # a group of a server is free at once, and not when its lease ends
            raise

    def load(self) -> list[StoredCall]:
        """The calls that were stored or in the journal at the start; a second call returns none.

        They stay stored until they are put again or deleted.
        """
        loaded, self._loaded = self._loaded, []
        return loaded

    def put(self, call_id: bytes, snapshot: bytes) -> None:
        """Store a call, in place of what is stored of it.

        Args:
            call_id: of the call.
            snapshot: what load() returns at the next start. It is not copied.
        """
        self._change(JournalRecord(call_id, snapshot, self._time()))

    def delete(self, call_id: bytes) -> None:
        """Remove a call from the store, if it is there."""
        self._change(JournalRecord(call_id, None, self._time()))

    def _time(self) -> float:
        """The wall clock; changes within BATCH_S have the same number, as each call has the time of one.

        It never goes back: what is recorded would count as older than what is stored.
        """
        now = time.time()
        if now - self._changed_at >= BATCH_S:
            self._changed_at = now
        return self._changed_at

    def hold_packed(self, call_id: bytes, snapshot: bytes, packed: Packed) -> None:
        """Hold a snapshot that was put, packed, as the caller does from now on.

        No effect if another one was put meanwhile. What is written stays the snapshot itself.
        """
        self._packed.append((call_id, snapshot, packed))
        if len(self._packed) % ENOUGH_PACKED == 0:
            self._wake.set()

    @property
    def pending(self) -> int:
        """Number of calls whose last change the engine does not have yet."""
        return len(self._changes) + self._taken + self._writer.expected.unwritten

    @property
    def adopted(self) -> int:
        """How many calls of another relay the store has, which was away at the start; the next start loads
        them.
        """
        return self._writer.adopted

    @property
    def works(self) -> bool:
        """Whether the engine took the last write."""
        return self._writer.works

    @property
    def lease(self) -> Lease | None:
        """For how long the calls are this relay's; None: no other relay can get them."""
        return self._lease

    def give(self, standby: str) -> None:
        """Let a standby have the calls from now on, or none ("") any more; the lease tells what comes of it.

        They are written as before until it has them.
        """
        if self._lease is not None:
            self._lease.give_to = standby
            self._wake.set()

    def why_lost(self, now: float, *, may_run_out: bool) -> str:
        """Why this relay must not serve the calls any more; "" if it may. See Lease."""
        return self._lease.why_lost(now, may_run_out=may_run_out) if self._lease is not None else ""

    def announce_end(self) -> None:
        """nh ends: from now on no log line says of a store that is away that calls go on."""
        self._writer.nh_ends = True

    def count_in(self, stats: SupervisorStats) -> None:
        """Set the store's statistics in `stats`."""
        stats.store_written = self._writer.written
        stats.store_errors = self._writer.errors
        stats.store_pending = self.pending
        stats.store_up = int(self._writer.works)
        stats.store_fault = self._writer.fault
        behind_since = self._behind_since
        stats.store_lag_s = 0.0 if behind_since is None else max(0.0, time.monotonic() - behind_since)

    def close(self, timeout_s: float = CLOSE_S, *, keep_lease: bool = False) -> None:
        """Write what is pending and end; a second call does nothing. put() has no effect any more.

        Args:
            timeout_s: longest wait. What the engine has not taken by then stays in the journal, if there is
                one, and is logged.
            keep_lease: whether the next process of this relay goes on with the lease.
        """
        if self._closing.is_set():
            return
        if self._lease is not None:
            self._lease.is_kept = keep_lease
        self._deadline = time.monotonic() + timeout_s
        if not keep_lease:
            self.announce_end()
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout_s)
        left = self.pending
        with self._lock:
            journal, self._journal = self._journal, None
            self._closed = True
        if journal is not None and self.why_lost(boottime(), may_run_out=False):
            self._remove(journal)  # the relay that has the calls knows better
            return
        if left or self._thread.is_alive():
            logger.warning(
                "store: closed before the changes of %s were written%s; %s",
                counted(left, "call"),
                " because the store is slow" if self._thread.is_alive() else "",
                "they are lost" if journal is None else "the journal has them for the next start",
            )
        if journal is not None and left:
            journal.close()
        elif journal is not None:
            self._remove(journal)

    def _remove(self, journal: Journal) -> None:
        journal.remove()
        self._journals.forget_epoch()

    def _change(self, record: JournalRecord) -> None:
        if self._closing.is_set():  # the calls are another relay's
            return
        with self._lock:
            if self._journal is not None:
                self._journal.add(record)
            self._changes[record.call_id] = stored_call(record)
            if self._behind_since is None:
                self._behind_since = time.monotonic()
        if not self._wake.is_set():
            self._wake.set()

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._wake.wait(BATCH_S if self._lease is not None and self._lease.give_to else self._check_s):
                self._closing.wait(BATCH_S)
            if not self._take_turn():
                # a standby may have the calls already: both relay until this one knows
                self._closing.wait(BATCH_S if self._lease is not None and self._lease.given_to else RETRY_S)
                self._wake.set()  # it is tried again, also if no call changes meanwhile
        self._take_turn(until=self._deadline)
        self._writer.close()

    def _take_turn(self, *, until: float | None = None) -> bool:
        """Write, and flush from time to time; returns whether the engine works.

        A bug must not end the thread: it renews the lease, too.
        """
        try:
            works = self._write(until=until)
            is_due = time.monotonic() >= self._flushed_at + FLUSH_S and self._writer.written != self._flushed
            if works and is_due and until is None:
                self._flushed_at, self._flushed = time.monotonic(), self._writer.written
                works = self._writer.flush()
        except Exception as exc:
            call_each((functools.partial(self._writer.fail, exc),))
            return False
        return works

    def _write(self, *, until: float | None = None) -> bool:
        self._wake.clear()  # before the exchange: a later change wakes the thread again
        begun = time.monotonic()
        with self._lock:
            if self._journal is None and not self._closed:
                self._journal = self._journals.open_late()
            journal = self._journal
            if journal is not None:
                journal.check()
                journal.begin_batch()
            may_empty = journal is not None and journal.is_complete
            self._taken = len(self._changes)  # before the exchange: `pending` is read without the lock
            changes, self._changes = self._changes, {}
        self._writer.expected.add(changes)
        self._taken = 0
        while self._packed:
            self._writer.expected.hold_packed(*self._packed.popleft())
        if journal is not None and journal.lacks_records:
            # first: a kill behind the write would bring back a call whose end is missing
            self._compact_journal()
        works = self._writer.write({}, until=until, may_empty=may_empty)
        self._journals.note_epoch(self._engine.epoch)  # it may have been opened again
        if works and not self._writer.expected.unwritten:
            with self._lock:
                self._behind_since = begun if self._changes else None
                if self._journal is not None:
                    self._journal.end_batch()
        elif not works:
            self._compact_journal()
        return works

    def _compact_journal(self) -> None:
        journal = self._journal
        if journal is None or journal.is_compact:
            return
        try:
            try:
                size = journal.write_compacted(self._writer.expected.records(self._latest_time))
            except OSError:
                if not self._compact_in_place(journal):
                    raise
            else:
                with self._lock:
                    if self._journal is not None:
                        journal.use_compacted(size)
        except OSError as exc:
            self._failures.log(
                logging.WARNING,
                "journal: cannot be compacted: %s; a long failure of the store may fill it; give its file"
                " system more room",
                exc,
            )

    def _compact_in_place(self, journal: Journal) -> bool:
        """Returns whether there was room for that."""
        expected, now = self._writer.expected, self._latest_time
        if not journal.has_room_in_place(encoded_bytes(expected.records(now))):
            return False
        parts = journal.compact_in_place(lambda call_id: expected.latest(call_id, now), expected.call_ids())
        goes_on = True
        while goes_on:
            with self._lock:
                goes_on = self._journal is not None and next(parts, False)
        return True

    @property
    def _latest_time(self) -> float:
        """No change has a later time."""
        return max(time.time(), self._changed_at)
