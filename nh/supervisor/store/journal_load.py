"""What the journal tells a start: the changes that the store does not have."""

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nh.logs.throttle import RateLimitedLogger
from nh.printable import counted
from nh.reasons import reason
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.journal import LOG_INTERVAL_S, NAMES, Journal
from nh.supervisor.store.journal_records import JournalRecord

logger = logging.getLogger(__name__)


class JournalOpener:
    """Opens the journal: at the start, or later if the system refuses it then.

    Args:
        directory: see Journal; None: there is to be none.
        lost_s: how old the changes are that a kill loses without one, seconds.
    """

    def __init__(self, directory: Path | None, *, lost_s: float) -> None:
        self._directory = directory
        self._lost_s = lost_s
        self._failures = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def open(self) -> Journal | None:
        """Open it; None: that is impossible now, which is logged, or there is to be none."""
        if self._directory is None:
            return None
        try:
            return Journal(self._directory)
        except OSError as exc:
            self._failures.log(
                logging.WARNING,
                "journal %s: cannot be opened: %s; trying again; until then, a kill of all processes loses"
                " the changes of calls in the last %g s",
                *(self._directory, reason(exc), self._lost_s),
            )
            return None

    def open_late(self) -> Journal | None:
        """Open it after a start without it; see open(). What it has is dropped, also where that fails: it is
        older than what the store gets from now on, and would bring calls back that have ended.
        """
        if self._directory is None:
            return None
        for name in NAMES:
            with contextlib.suppress(OSError):
                (self._directory / name).unlink()
        journal = self.open()
        if journal is not None:
            journal.clear()
            logger.info("journal %s: is open now", self._directory)
        return journal


def load_journal(journal: Journal | None, *, begun_at: float) -> Sequence[JournalRecord]:
    """The changes in the journal; none, and it is emptied, if all are of before another relay got the calls.

    Args:
        journal: None: there is none.
        begun_at: see StoreEngine.
    """
    recorded = journal.load() if journal is not None else ()
    if journal is None or not recorded or max(each.changed_at for each in recorded) >= begun_at:
        return recorded
    logger.warning(
        "journal: %s in it are left out: another relay, whose name the server has lost, has had the calls"
        " since",
        counted(len(recorded), "change"),
    )
    journal.clear()
    return ()


def newer_than(
    stored: Mapping[bytes, StoredCall], records: Iterable[JournalRecord]
) -> dict[bytes, StoredCall | None]:
    """The latest change of each call in the journal, where it is not older than what is stored."""
    return {
        record.call_id: stored_call(record)
        for record in records
        if record.call_id not in stored or stored[record.call_id].written_at <= record.changed_at
    }


def stored_call(record: JournalRecord) -> StoredCall | None:
    """The call as a change left it; None: it has ended."""
    if record.snapshot is None:
        return None
    return StoredCall(record.call_id, record.snapshot, record.changed_at)
