"""Restoring: a shard goes on with calls that another process had.

A call for whose sockets the system has no descriptors or memory now is not lost: it waits, stays kept, and is
tried again. How long it waited counts as time in which nothing arrived.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from nh.calls.snapshots.call import restore_call
from nh.calls.snapshots.codec import decode_snapshot
from nh.calls.table import CallTable
from nh.errors import NhError, SocketsExhausted
from nh.ipc.link_messages import RestoreCall
from nh.shard.media.plane import SocketPlane
from nh.shard.recovery.clocks import clock_at, shift_since
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two lines about calls that wait."""

TRIES: Final = 50
"""Most waiting calls that are restored in one go: some milliseconds."""


class Outcome(NamedTuple):
    """Call-ids of those that were restored, and of those that never will be: the log says why."""

    restored: list[bytes]
    failed: list[bytes]


class Restoring:
    """Puts calls back into a table.

    Arguments:
        table: where to.
        plane: sockets are taken from its `inherited` where they were held open.
    """

    def __init__(self, table: CallTable, plane: SocketPlane) -> None:
        self._table = table
        self._plane = plane
        self._waiting: deque[RestoreCall] = deque()
        self._limited_log = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    @property
    def waiting(self) -> Sequence[RestoreCall]:
        """Calls that are yet to be restored, for want of descriptors or memory."""
        return self._waiting

    def restore(self, calls: Iterable[RestoreCall]) -> Outcome:
        """Restore calls; what one of them meets costs no other. Those that are in neither list wait."""
        outcome = Outcome([], [])
        for call in calls:
            try:
                self._restore_one(call)
            except SocketsExhausted as exc:
                self._waiting.append(call)
                self._limited_log.log(
                    logging.ERROR, "call %r waits until it can be restored: %s", call.call_id, exc
                )
            except NhError as exc:
                outcome.failed.append(call.call_id)
                logger.error("call %r cannot be restored: %s", call.call_id, exc)
            except Exception:
                outcome.failed.append(call.call_id)
                logger.exception("call %r cannot be restored", call.call_id)
            else:
                outcome.restored.append(call.call_id)
        return outcome

    def try_again(self) -> Outcome:
        """Restore some of those that wait, as far as the system lets; to be called now and then."""
        outcome = Outcome([], [])
        for _ in range(min(TRIES, len(self._waiting))):
            before = len(self._waiting)
            restored, failed = self.restore([self._waiting.popleft()])
            outcome.restored.extend(restored)
            outcome.failed.extend(failed)
            if len(self._waiting) == before:
                break
        if outcome.restored:
            logger.warning(
                "%d calls that waited for sockets go on, %d still wait",
                len(outcome.restored),
                len(self._waiting),
            )
        return outcome

    def _restore_one(self, call: RestoreCall) -> None:
        snapshot = decode_snapshot(call.snapshot)
        now = time.monotonic()
        shift_s = shift_since(snapshot.clock, clock_at(now))
        restored = restore_call(self._table, snapshot, shift_s=shift_s, now=now)
        restored.next_expiry = now  # by the settings that there are now
