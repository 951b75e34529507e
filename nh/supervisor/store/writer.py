"""Keeps the store's file equal to what it should hold, whatever happens to the file.

It has no thread and no queue of its own (nh.supervisor.store.store has), but remembers what the file
should hold.
So after any failure there is one remedy: open the file anew, compare, write the difference. It does for a
full disk, a damaged file and one that somebody removed, and nothing that was put meanwhile is lost.
"""

import itertools
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nh.errors import StoreUnavailable
from nh.supervisor.store.quarantine import set_aside
from nh.supervisor.store.sqlite_file import StoreDamaged, StoredCall, StoreFile, StoreFull
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

ROWS: Final = 500
"""Most calls in one transaction, about a megabyte: what a deadline waits for, and the log grows by."""

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about a failure that lasts."""

Changes = Mapping[bytes, StoredCall | None]
"""By call-id: what is to be stored now; None: nothing any more."""


class StoreWriter:
    """The file and what it should hold.

    Arguments:
        path, owner: see StoreFile.

    Raises StoreUnavailable if it cannot be opened now. One that cannot be used is set aside; one that is not
    there yet, and for which the disk has no room, is made when it has.
    """

    def __init__(self, path: Path, owner: bytes) -> None:
        self.written = 0
        self.errors = 0
        self._path = path
        self._owner = owner
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)
        self._failing = False
        self._unwritten: dict[bytes, StoredCall | None] = {}
        self._file: StoreFile | None = None
        found: list[StoredCall] = []
        try:
            self._file, found = open_store_file(path, owner)
        except StoreFull as exc:
            if os.path.lexists(path):  # it has calls that nobody has read: none may take their place
                raise
            self._failed(exc)
        self._wanted = {call.call_id: call for call in found}

    @property
    def calls(self) -> list[StoredCall]:
        """What the file should hold."""
        return list(self._wanted.values())

    @property
    def unwritten(self) -> int:
        """Calls whose last change is not in the file yet, as far as is known."""
        return len(self._unwritten)

    def write(self, changes: Changes, *, until: float | None = None) -> bool:
        """Write changes, and what could not be written before.

        Arguments:
            changes: the newest.
            until: monotonic clock after which no more is begun; None: all is written.

        Returns whether that could be done; if not it is logged, counted and remembered.
        """
        self._unwritten.update(changes)
        for call_id, call in changes.items():
            if call is None:
                self._wanted.pop(call_id, None)
            else:
                self._wanted[call_id] = call
        try:
            file = self._file or self._open_again()
            file.check_place()
            while self._unwritten and (until is None or time.monotonic() < until):
                self._write_some(file)
        except (StoreUnavailable, StoreDamaged) as exc:
            self._failed(exc)
            return False
        if self._failing:
            self._failing = False
            logger.warning("the store %s is written again", self._path)
        return True

    def checkpoint(self) -> bool:
        """Bring what was written to the disk itself; returns whether that could be done, as write()."""
        if self._file is None:
            return False
        try:
            self._file.checkpoint()
        except (StoreUnavailable, StoreDamaged) as exc:
            self._failed(exc)
            return False
        return True

    def close(self) -> None:
        """Close the file; all that was written is on the disk, if that is possible."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write_some(self, file: StoreFile) -> None:
        some = dict(itertools.islice(self._unwritten.items(), ROWS))
        file.write(some)
        self.written += len(some)
        for call_id in some:
            del self._unwritten[call_id]

    def _open_again(self) -> StoreFile:
        self._file, found = open_store_file(self._path, self._owner)
        in_file = {call.call_id: call for call in found}
        self._unwritten = {
            call_id: call for call_id, call in self._wanted.items() if in_file.get(call_id) != call
        } | {call_id: None for call_id in in_file if call_id not in self._wanted}
        return self._file

    def _failed(self, exc: StoreUnavailable | StoreDamaged) -> None:
        self.errors += 1
        self._failing = True
        self.close()
        if isinstance(exc, StoreDamaged):
            # reading may find no fault where writing does: it must not be opened again
            try:
                _put_aside(self._path, exc)
            except StoreUnavailable as unavailable:
                exc = unavailable
            else:
                return
        self._limited_log.log(
            logging.ERROR,
            "calls go on, but are not stored: %s; this is tried again all the time, and %d calls wait for it",
            exc,
            len(self._unwritten),
        )


def open_store_file(path: Path, owner: bytes) -> tuple[StoreFile, list[StoredCall]]:
    """Open the store of a relay; one that cannot be used is set aside, and what can be read of it kept.

    Arguments:
        path, owner: see StoreFile.

    Returns it and the calls in it. Raises StoreUnavailable.
    """
    try:
        return _open(path, owner)
    except StoreDamaged as exc:
        _put_aside(path, exc)
        kept = exc.calls
    try:
        file, _ = _open(path, owner)
        for start in range(0, len(kept), ROWS):
            file.write({call.call_id: call for call in kept[start : start + ROWS]})
    except StoreDamaged as exc:
        raise StoreUnavailable(f"{path}: a new one {exc}") from exc
    return file, list(kept)


def _open(path: Path, owner: bytes) -> tuple[StoreFile, list[StoredCall]]:
    file = StoreFile(path, owner)
    try:
        return file, file.read()
    except BaseException:
        file.close()
        raise


def _put_aside(path: Path, why: StoreDamaged) -> None:
    try:
        aside = set_aside(path)
    except OSError as exc:
        raise StoreUnavailable(f"{path} {why}, and cannot be set aside: {exc.strerror}") from exc
    logger.warning(
        "the store %s %s: it is now %s, and a new one is begun, with %d calls that could be read",
        path,
        why,
        aside.name,
        len(why.calls),
    )
