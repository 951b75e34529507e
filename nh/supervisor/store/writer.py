"""Keeps an engine equal to what it should hold, whatever happens to the engine.

The writer remembers what the engine should hold (ExpectedCalls). So there is one remedy for all failures:
open the engine again, compare, write the difference. A full disk, a damaged file, a file that was removed, a
server that was away need no code of their own, and no change is lost meanwhile. The writer has neither thread
nor queue; nh.supervisor.store.store has both.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from nh.errors import StoreUnavailable
from nh.logs.throttle import FaultLog
from nh.printable import counted
from nh.supervisor.store.engine import (
    Changes,
    StoreDamaged,
    StoredCall,
    StoreEngine,
    StoreFull,
    StoreHeld,
    StoreRefused,
)
from nh.supervisor.store.expected_calls import ExpectedCalls

logger = logging.getLogger(__name__)

ROWS: Final = 500
"""Most calls in one write: about a megabyte, which is how long a deadline may be overrun."""

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about a failure that lasts."""


_CALLS_GO_ON: Final = (
    "store: %s; calls go on but are not stored (%s so far), and a restart of everything loses what is not;"
    " writing is retried every second"
)
_NH_ENDS: Final = "store: %s; nh ends, and the store does not have %s"


class StoreWriter:
    """An engine, and what it should hold.

    Args:
        engine: not open yet. A store that cannot be used is quarantined, a new one gets its intact calls. One
            that does not exist, and for which there is no room now, is made by a later write().
        may_be_away: whether a store that cannot be opened now is opened by a later write().

    Attributes:
        expected: what the engine should hold, and which changes of that are unwritten.
        written: changes of calls written so far.
        errors: failures so far.
        adopted: calls of another relay that were in a store that was away at the start.
        nh_ends: whether calls do not go on, and nothing is retried for long. May be set.

    Raises:
        StoreUnavailable: the engine cannot be opened now.
    """

    def __init__(self, engine: StoreEngine, *, may_be_away: bool = False) -> None:
        self.written = 0
        self.errors = 0
        self.adopted = 0
        self.nh_ends = False
        self._engine = engine
        self._is_open = False
        self._was_open = False
        self._fault = ""
        self._was_full = False
        self._failures = FaultLog(logger, time.monotonic, LOG_INTERVAL_S)
        self.expected = ExpectedCalls()
        try:
            self.expected.hold(engine.open())
            self._is_open = self._was_open = True
        except StoreDamaged as exc:
            self.expected.hold(exc.calls)
            self._quarantine(exc)
            self._was_open = True
            self.write({})
        except StoreFull as exc:
            self._failed(exc)
        except (StoreRefused, StoreHeld):
            raise
        except StoreUnavailable as exc:
            if not may_be_away:
                raise
            self._failed(exc)

    @property
    def works(self) -> bool:
        """Whether the engine took the last write."""
        return not self._fault

    @property
    def fault(self) -> str:
        """Why the engine did not take the last write, for people; "": it did."""
        return self._fault

    def write(self, changes: Changes, *, until: float | None = None, may_empty: bool = False) -> bool:
        """Write changes, and all of `expected` that is unwritten.

        Args:
            changes: the latest of each call.
            until: monotonic seconds after which no further part is begun; None: all is written.
            may_empty: whether an engine that was full may be emptied to make room: the journal has all calls.

        Returns:
            Whether the engine works. A failure is logged, counted, and retried by the next write().
        """
        self.expected.add(changes)
        try:
            if not self._is_open:
                self._reopen(may_empty=may_empty)
            self._engine.check()
            while self.expected.unwritten and (until is None or time.monotonic() < until):
                self._write_part()
        except Exception as exc:
            known = self._known(exc)
            self._was_full |= isinstance(known, StoreFull)
            self._failed(known)
            return False
        if self._fault:
            self._fault = ""
            self._failures.over(
                logging.WARNING, "store %s: works again, all calls are stored", self._engine.name
            )
        return True

    def flush(self) -> bool:
        """Have what was written survive a power failure; returns whether the engine works, as write()."""
        if not self._is_open:
            return False
        try:
            self._engine.flush()
        except Exception as exc:
            self._failed(self._known(exc))
            return False
        return True

    def fail(self, exc: Exception) -> None:
        """An error that came between two writes: log, count and retry it as one of a write."""
        self._failed(self._known(exc))

    def close(self) -> None:
        """Close the engine."""
        self._is_open = False
        self._engine.close()

    def _write_part(self) -> None:
        part = self.expected.next_part(ROWS)
        self._engine.write(part)
        self.written += len(part)
        self.expected.note_written(part)

    def _reopen(self, *, may_empty: bool) -> None:
        """Open the engine and find out what it does not hold yet."""
        try:
            found = self._engine.open()
        except StoreDamaged as exc:
            self._quarantine(exc)
            try:
                found = self._engine.open()
            except StoreDamaged as again:
                raise StoreUnavailable(f"{self._engine.name}: a new store {again}") from again
        self._is_open = True
        if self._was_full and may_empty and self._make_room():
            found = []
        self._was_full = False
        unknown = self.expected.find_unknown(found)
        if unknown and not self._was_open:
            self._meet_unknown(unknown)
        self._was_open = True
        self.expected.compare(found)

    def _meet_unknown(self, calls: Sequence[StoredCall]) -> None:
        """Have calls of a store that was away at the start removed, or held if they are another relay's."""
        if self._engine.continues:
            what = "%s of an earlier run removed, not restored"
        else:
            what = "it has %s of another relay, to be restored"
            self.adopted = len(calls)
            self.expected.hold(calls)
        count = counted(len(calls), "call")
        logger.warning("store %s: was away at the start; %s", self._engine.name, what % count)

    def _make_room(self) -> bool:
        """Make room in an engine that was full; returns whether it is empty now."""
        return self._engine.make_room(
            sum(len(call.call_id) + len(call.snapshot) for call in self.expected.calls)
        )

    def _known(self, exc: Exception) -> StoreUnavailable | StoreDamaged:
        """The failure itself, or one for an error of nh's own: the thread that writes must not end by it."""
        if isinstance(exc, StoreUnavailable | StoreDamaged):
            return exc
        if not self._fault:  # writing is retried every second
            logger.error("store %s: writing failed: this is a bug in nh", self._engine.name, exc_info=exc)
        return StoreUnavailable(f"{self._engine.name}: a bug in nh")

    def _failed(self, exc: StoreUnavailable | StoreDamaged) -> None:
        self.errors += 1
        self._fault = str(exc) or type(exc).__name__
        self.close()
        if isinstance(exc, StoreDamaged):
            # reading may miss the damage that writing found: the same file must not be opened again
            try:
                self._quarantine(exc)
            except StoreUnavailable as unavailable:
                exc = unavailable
                self._fault = str(exc)
            else:
                return
        if isinstance(exc, StoreHeld):  # the supervisor looks whose the calls are, and tells
            return
        self._failures.failed(
            logging.ERROR,
            self._fault,
            _NH_ENDS if self.nh_ends else _CALLS_GO_ON,
            exc,
            counted(self.expected.unwritten, "change"),
        )

    def _quarantine(self, why: StoreDamaged) -> None:
        try:
            where = self._engine.quarantine(self.expected.calls)
        except StoreUnavailable as exc:
            raise StoreUnavailable(f"{self._engine.name} {why}, and {exc}") from exc
        logger.warning(
            "store %s %s: moved to %s; a new store is made with the %s that nh has",
            self._engine.name,
            why,
            where,
            counted(len(self.expected), "call"),
        )
