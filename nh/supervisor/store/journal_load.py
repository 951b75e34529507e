"""What the journal tells a start: the changes that the store does not have."""

import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from nh.logs.throttle import RateLimitedLogger
from nh.printable import counted
from nh.reasons import reason
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.journal import LOG_INTERVAL_S, NAMES, Journal
from nh.supervisor.store.journal_file import new_file
from nh.supervisor.store.journal_records import JournalRecord

logger = logging.getLogger(__name__)

EPOCH_NAME: Final = "calls.epoch"
"""The file beside the journal that says of which epoch it is."""


class JournalOpener:
    """Opens the journal: at the start, or later if the system refuses it then.

    Args:
        directory: see Journal; None: there is to be none.
        lost_s: how old the changes are that a kill loses without one, seconds.
    """

    def __init__(self, directory: Path | None, *, lost_s: float) -> None:
        self._directory = directory
        self._lost_s = lost_s
        self._epoch = self._read_epoch()
        self._failures = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    @property
    def epoch(self) -> int:
        """Of which epoch the journal is; see StoreEngine. 0: it is not known.

        Clocks tell it no more: that of a server and that of a host may be minutes apart, and be set.
        """
        return self._epoch

    def note_epoch(self, epoch: int) -> None:
        """From now on the journal is of this epoch, 0: of none.

        What cannot be written, or is removed by another program, is written with the next call.
        """
        if self._directory is None or not epoch:
            return
        path = self._directory / EPOCH_NAME
        new = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            if epoch == self._epoch and path.exists():
                return
            with new_file(new) as stream:
                stream.write(b"%d" % epoch)
            new.rename(path)
            self._epoch = epoch

    def forget_epoch(self) -> None:
        """The journal is removed, and so is its epoch."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                (self._directory / EPOCH_NAME).unlink()

    def _read_epoch(self) -> int:
        if self._directory is None:
            return 0
        try:
            return int((self._directory / EPOCH_NAME).read_bytes())
        except (OSError, ValueError):
            return 0

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


def load_journal(journal: Journal | None, *, is_outdated: bool) -> Sequence[JournalRecord]:
    """The changes in the journal.

    Args:
        journal: None: there is none.
        is_outdated: whether another relay has had the calls since; then there are none, and it is emptied.
    """
    recorded = journal.load() if journal is not None else ()
    if journal is None or not recorded or not is_outdated:
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
