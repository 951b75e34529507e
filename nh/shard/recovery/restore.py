"""Restore: a shard goes on with the calls that another process had.

`RestoreQueue` collects what the link brings until Restore comes; `CallRestorer` puts the calls into the
relay's table. A call for whose sockets the system lacks descriptors or memory is not lost: it waits, its
checkpoint stays with the supervisor, and it is tried again. The time that it waits counts as silence.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from nh.calls.call import Call
from nh.calls.call_event import CallEvent, EventKind
from nh.calls.events import CallObserver
from nh.calls.media import Endpoint
from nh.calls.snapshots.call import restore_call
from nh.calls.snapshots.codec import decode_snapshot
from nh.calls.snapshots.version import has_secrets
from nh.calls.table import CallTable
from nh.calls.timeline import CallTimeline
from nh.errors import NhError, SocketsExhausted
from nh.ipc.link_messages import RestoreCall
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.printable import counted, short_id
from nh.shard.media.plane import SocketPlane
from nh.shard.observers.recorder import Recorder
from nh.shard.recovery.checkpoints import Checkpointer
from nh.shard.recovery.clocks import clock_at, shift_since

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about calls that wait."""

TRIES: Final = 50
"""Most waiting calls that are restored in one turn of the loop: some milliseconds."""


class RestoreCounts(NamedTuple):
    """Numbers of calls that were restored, and that never will be. Calls that wait are in neither."""

    restored: int
    failed: int


class CallRestorer(CallObserver):
    """Puts calls back into a table, and has the outcome saved.

    Args:
        table: the table.
        plane: takes sockets from its `inherited` where there are any, and binds the others.
        checkpointer: saves what is restored, drops what cannot be.
        recorder: makes records of calls that are lost; None: there are none.

    Attributes:
        waiting: calls that are yet to be restored, for want of descriptors or memory.
    """

    def __init__(
        self,
        table: CallTable,
        plane: SocketPlane,
        checkpointer: Checkpointer,
        recorder: Recorder | None = None,
    ) -> None:
        self.waiting: deque[RestoreCall] = deque()
        self._table = table
        self._plane = plane
        self._checkpointer = checkpointer
        self._recorder = recorder
        self._rate_limited = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def restore(self, sockets: dict[Endpoint, int], calls: Iterable[RestoreCall]) -> RestoreCounts:
        """Restore calls from their whole snapshots; the failure of one costs no other.

        Args:
            sockets: descriptors of bound sockets. Those that are used are removed from it and belong to the
                plane from then on; other sockets of the calls are bound anew.
            calls: the calls.
        """
        self._plane.inherited = sockets
        restored = failed = 0
        for call in calls:
            outcome = self._try(call)
            restored += outcome is True
            failed += outcome is False
        return RestoreCounts(restored, failed)

    def checkpoints(self) -> Iterator[tuple[bytes, bytes]]:
        """The call-id and the snapshot of each waiting call."""
        for call in list(self.waiting):  # some may be restored meanwhile
            yield call.call_id, call.snapshot

    def housekeeping(self, _now: float) -> None:
        """See CallObserver. Tries some of the waiting calls again."""
        restored = 0
        for _ in range(min(TRIES, len(self.waiting))):
            outcome = self._try(self.waiting.popleft())
            if outcome is None:
                break
            restored += outcome
        if restored:
            logger.warning(
                "%s that waited for sockets %s on, %d still wait",
                counted(restored, "call"),
                "goes" if restored == 1 else "go",
                len(self.waiting),
            )

    def _try(self, call: RestoreCall) -> bool | None:
        """Whether the call was restored; None: it waits."""
        try:
            self._restore(call)
        except SocketsExhausted as exc:
            self.waiting.append(call)
            self._rate_limited.log(
                logging.ERROR,
                "call '%s' waits until it can be restored: %s",
                short_id(call.call_id),
                exc,
                extra=about(call.call_id),
            )
            return None
        except NhError as exc:
            name = short_id(call.call_id)
            logger.error("call '%s' is lost, it cannot be restored: %s", name, exc, extra=about(call.call_id))
        except Exception:
            name = short_id(call.call_id)
            logger.exception(
                "call '%s' is lost, restoring it failed: this is a bug in nh", name, extra=about(call.call_id)
            )
        else:
            self._note_outcome(call)
            return True
        if self._recorder is not None and self._table.find_call(call.call_id) is None:
            self._recorder.call_lost(call.call_id, _timeline_in(call.snapshot))
        self._note_outcome(call)
        return False

    def _note_outcome(self, call: RestoreCall) -> None:
        self._checkpointer.restored(call.call_id, now=time.monotonic(), at_once=has_secrets(call.snapshot))

    def _restore(self, call: RestoreCall) -> None:
        snapshot = decode_snapshot(call.snapshot)
        now = time.monotonic()
        shift_s = shift_since(snapshot.clock, clock_at(now))
        grace_s = 0.0 if call.of_this_run else snapshot.grace_s
        restored = restore_call(self._table, snapshot, shift_s=shift_s, now=now, grace_s=grace_s)
        if not snapshot.final:
            _resume_streams(restored)
        restored.expect_expiry(now=now)  # the settings may have changed
        if call.of_this_run:
            _ask_for_packets(restored, now=now)
        restored.timeline.add(CallEvent(time.time(), EventKind.RESTORED.value))


def _ask_for_packets(call: Call, *, now: float) -> None:
    """Let the memory of counters and the flows in the kernel tell when packets came: snapshots do not follow.

    A flow that ended with the process before cannot tell. Its call has the full time for its next packet.
    """
    for session in call.running:
        lost = [leg for leg in session.legs if leg.kernel_folded is not None and leg.offload is None]
        if lost:
            session.last_active = now
    call.note(now=now)


def _resume_streams(call: Call) -> None:
    """Take for no loss what may have come after the counters were noted. Flows in the kernel counted on."""
    for session in call.running:
        for leg in session.legs:
            if leg.meter is not None:
                leg.meter.resume()


def _timeline_in(snapshot: bytes) -> CallTimeline | None:
    """The timeline of a call that cannot be restored; None: it cannot be read either."""
    try:
        timeline = decode_snapshot(snapshot).timeline
        return timeline.rebuild() if timeline is not None else None
    except NhError:
        return None


class RestoreQueue:
    """Sockets and calls of an earlier process, collected until Restore comes. Close it."""

    def __init__(self) -> None:
        self._sockets: dict[Endpoint, int] = {}
        self._calls: list[RestoreCall] = []
        self._parts: list[bytes] = []

    def take_sockets(self, endpoints: Sequence[Endpoint], fds: list[int]) -> None:
        """Add sockets: their descriptors, which may be fewer than the endpoints, are removed from `fds`."""
        for endpoint, fd in zip(endpoints, list(fds), strict=False):
            fds.remove(fd)
            self._close(endpoint)
            self._sockets[endpoint] = fd

    def add(self, call: RestoreCall) -> None:
        """Add a call, or the next part of one."""
        self._parts.append(call.snapshot)
        if call.last:
            self._calls.append(RestoreCall(call.call_id, b"".join(self._parts), of_this_run=call.of_this_run))
            self._parts = []

    def restore(self, restorer: CallRestorer, on_begin: Callable[[int], None] | None) -> RestoreCounts:
        """Restore all calls of the queue.

        Args:
            restorer: restores them.
            on_begin: called with the index of each call before it is restored, and with their number at
                the end; None: nothing is called.
        """
        if not self._calls and not self._sockets:
            return RestoreCounts(0, 0)
        if on_begin is None:
            return restorer.restore(self._sockets, self._calls)
        restored = failed = 0
        for index, call in enumerate(self._calls):
            on_begin(index)
            counts = restorer.restore(self._sockets, [call])
            restored, failed = restored + counts.restored, failed + counts.failed
        on_begin(len(self._calls))
        return RestoreCounts(restored, failed)

    def close(self) -> list[Endpoint]:
        """Close the sockets that no call used.

        Returns:
            Their endpoints.
        """
        unused = list(self._sockets)
        for endpoint in unused:
            self._close(endpoint)
        self._calls.clear()
        return unused

    def _close(self, endpoint: Endpoint) -> None:
        fd = self._sockets.pop(endpoint, None)
        if fd is not None:
            os.close(fd)
