"""Keeping: what has to be known elsewhere for calls to go on without this process.

Somebody outside (the supervisor) holds a duplicate of each media socket and the latest snapshot of each call.
What a command changes is kept before the command is answered; what packets change, such as a source that
latched, in the loop's next turn; counters, every REFRESH_S. So what a client was told is never forgotten, and
a successor knows what phones were told.

It knows calls and their sockets, not how anything is kept.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from nh.calls.call import Call
from nh.calls.media import Endpoint
from nh.calls.snapshots.call import take_snapshot
from nh.calls.snapshots.codec import encode_snapshot
from nh.calls.table import CallTable
from nh.loop import Loop
from nh.shard.media.sockets import MediaSocket
from nh.shard.recovery.clocks import clock_at
from nh.shard.recovery.keep import CheckpointSink

REFRESH_S: Final = 10.0
"""How old counters may become in a snapshot, while packets come."""

FIRST_REFRESH_S: Final = 1.0
"""When that is seen to first: else a relay that is killed again and again would never write down that its
calls are alive, and take them for silent in the end."""

KEPT_A_LOOK: Final = 50
"""Most snapshots taken in one go: some milliseconds."""


class Handed(NamedTuple):
    """A call that is handed over: the descriptors stay its shard's.

    Arguments:
        call_id: which.
        sockets: where each of its sockets is bound, and its descriptor.
        snapshot: how it is.
    """

    call_id: bytes
    sockets: list[tuple[Endpoint, int]]
    snapshot: bytes


class Checkpointer:
    """Keeps the calls of one table.

    Arguments:
        table: whose.
        keep: where.
    """

    def __init__(self, table: CallTable, keep: CheckpointSink) -> None:
        self._table = table
        self._keep = keep
        self._loop: Loop | None = None
        self._kept: dict[bytes, float] = {}  # call-id → when the call was last active, as kept
        self._changed: dict[bytes, None] = {}
        self._round: list[bytes] = []
        self._round_began = time.monotonic() - REFRESH_S + FIRST_REFRESH_S

    def attach(self, loop: Loop) -> None:
        """Keep what packets change, too."""
        self._loop = loop

    def opened(self, sockets: Sequence[MediaSocket]) -> None:
        """Sockets were opened; they will be in the next snapshot of their call."""
        self._keep.hold([each.local for each in sockets], [each.fd for each in sockets])

    def closed(self, sockets: Sequence[MediaSocket]) -> None:
        """Sockets are about to be closed."""
        self._keep.let_go([each.local for each in sockets])

    def changed(self, call_id: bytes) -> None:
        """A call is not what it was; it is kept in the loop's next turn. b"": of no call."""
        if not call_id:
            return
        if not self._changed and self._loop is not None:
            self._loop.call_later(0, self._keep_changed)
        self._changed[call_id] = None

    def keep_now(self, call_id: bytes, *, now: float) -> None:
        """Keep a call as it is, or forget it if it is over."""
        self._changed.pop(call_id, None)
        call = self._table.find_call(call_id)
        if call is None:
            if self._kept.pop(call_id, None) is not None:
                self._keep.forget(call_id)
            return
        self._kept[call_id] = call.last_active
        self._keep.keep(call_id, self._snapshot(call, now=now))

    def hand_over(self, *, now: float) -> Iterator[Handed]:
        """Each call as it is."""
        for call in list(self._table):
            # forks share groups
            sockets = {
                each.fd: each
                for _, group in call.groups
                for each in group.sockets
                if isinstance(each, MediaSocket)
            }
            yield Handed(
                call.call_id,
                [(each.local, fd) for fd, each in sockets.items()],
                self._snapshot(call, now=now),
            )

    def restored(self, call_id: bytes, *, now: float) -> None:
        """A call was restored, or could not be: who kept it is told how it is now."""
        self._kept[call_id] = 0.0
        self.keep_now(call_id, now=now)
        if call_id in self._kept:
            # so it is in the first round, whether it was looked at by then or not
            self._kept[call_id] = 0.0

    def look(self, *, now: float) -> None:
        """Refresh the next few of those that only count."""
        for call_id in self._next_of_round(now):
            self.keep_now(call_id, now=now)

    def _snapshot(self, call: Call, *, now: float) -> bytes:
        call.note(now=now)
        return encode_snapshot(take_snapshot(call, clock=clock_at(now)))

    def _keep_changed(self) -> None:
        now = time.monotonic()
        for call_id in list(self._changed)[:KEPT_A_LOOK]:
            self.keep_now(call_id, now=now)
        if self._changed and self._loop is not None:
            self._loop.call_later(0, self._keep_changed)

    def forget_gone(self, *, now: float) -> None:
        """Forget those that expired."""
        for call_id in [each for each in self._kept if self._table.find_call(each) is None]:
            self.keep_now(call_id, now=now)

    def _next_of_round(self, now: float) -> list[bytes]:
        """The next few calls in which packets came since they were kept."""
        if not self._round and now - self._round_began >= REFRESH_S:
            self._round_began = now
            self._round = [
                call.call_id for call in self._table if call.last_active != self._kept.get(call.call_id)
            ]
        taken, self._round = self._round[-KEPT_A_LOOK:], self._round[:-KEPT_A_LOOK]
        return taken
