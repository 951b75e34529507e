"""What the journal tells a start: the changes that the store does not have."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nh.printable import counted
from nh.reasons import reason
from nh.supervisor.store.engine import StoredCall
from nh.supervisor.store.journal import Journal
from nh.supervisor.store.journal_records import JournalRecord

logger = logging.getLogger(__name__)


def open_journal(directory: Path | None, *, lost_s: float) -> Journal | None:
    """Open the journal, if that is possible.

    Args:
        directory: see Journal; None: there is to be none.
        lost_s: how old the changes are that a kill loses without one, seconds.
    """
    if directory is None:
        return None
    try:
        return Journal(directory)
    except OSError as exc:
        logger.warning(
            "journal %s: cannot be opened: %s; a kill of all processes loses the changes of calls in the last"
            " %g s",
            directory,
            reason(exc),
            lost_s,
        )
        return None


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
