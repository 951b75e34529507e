"""Checkpoints: what has to be known outside of this process for its calls to go on without it.

The supervisor holds the latest snapshot of each call, and a duplicate of each media socket
(nh.shard.recovery.socket_backup). What a command changes is saved before the command is answered; what
packets change, such as a source that latched, in the loop's next turn. So a successor knows all that clients
and phones were announced.

What every packet changes is saved every REFRESH_S. A snapshot for that would cost several times as much as
counters alone, and go on to the store. So with many calls most of these refreshes are of counters, and each
call gets a snapshot in its turn.

The module knows calls and their sockets, not how a sink keeps them.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from nh.calls.call import Call
from nh.calls.events import CallObserver, EndReason
from nh.calls.journal import CallJournal
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.session import Session
from nh.calls.snapshots.call import take_snapshot
from nh.calls.snapshots.codec import encode_snapshot
from nh.calls.snapshots.counters import encode_counters, take_counters
from nh.calls.socket_group import SocketGroup
from nh.calls.table import CallTable
from nh.ipc.backup_messages import COUNTERS_BYTES, COUNTERS_CALLS
from nh.loop import Loop, until_next
from nh.shard.media.sockets import MediaSocket
from nh.shard.recorder import Recorder
from nh.shard.recovery.checkpoint_sink import CheckpointSink
from nh.shard.recovery.clocks import clock_at

REFRESH_S: Final = 10.0
"""How old counters may become in a snapshot while packets come."""

FIRST_REFRESH_S: Final = 1.0
"""When the first refresh begins. A relay that is killed again and again in less than REFRESH_S would
otherwise never save that its calls are alive, and they would expire as silent in the end."""

SAVED_A_TURN: Final = 20
"""Most snapshots in one turn of the loop: about a millisecond, as a batch of packets takes."""

TURN_S: Final = 0.1
"""Time between two turns of a refresh."""

FIRST_A_TURN: Final = 100
"""Calls that a turn of the first refresh saves, at most."""

LEAST_A_TURN: Final = 10
"""Calls that a turn of a refresh may save, at least: few calls are soon done."""

LOOKS: Final = 5
"""So many times as many calls does a turn look at: for most in the kernel, and silent ones, that is all."""

SNAPSHOTS_A_ROUND: Final = 200
"""At most about so many of the refreshes of a round are snapshots; the others are of counters."""


class CallCheckpoint(NamedTuple):
    """A call as it is handed over to another process.

    Attributes:
        call_id: the call.
        sockets: the local endpoint and the descriptor of each of its sockets; they stay this shard's.
        snapshot: its state.
    """

    call_id: bytes
    sockets: list[tuple[Endpoint, int]]
    snapshot: bytes


class Checkpointer(CallObserver):
    """Saves the calls of one table to a sink as they change.

    Args:
        table: the calls.
        sink: where their checkpoints go.
        recorder: makes the records of calls that end; None: there are none.
    """

    def __init__(self, table: CallTable, sink: CheckpointSink, recorder: Recorder | None = None) -> None:
        self._table = table
        self._sink = sink
        self._recorder = recorder
        self._loop: Loop | None = None
        self._saved: dict[bytes, float] = {}  # call-id → when the call was last active, as saved
        self._changed: dict[bytes, None] = {}
        self._outdated: set[bytes] = set()  # calls whose snapshots lack more than counters
        self._counters: dict[bytes, bytes] = {}  # which are about to be saved
        self._round: list[bytes] = []
        self._rounds = 0
        self._saved_at_once = 0
        self._changing = b""  # by a command that runs
        self._round_began = time.monotonic() - REFRESH_S + FIRST_REFRESH_S

    def attach(self, loop: Loop) -> None:
        """From now on save what packets and time change, too."""
        self._loop = loop
        if self._changed:
            loop.call_later(0, self._save_changed)

    # --- events -----------------------------------------------------------------------------------

    def call_changing(self, call_id: bytes) -> None:
        """See CallObserver."""
        self._changing = call_id

    def call_changed(self, call_id: bytes) -> None:
        """See CallObserver. The client gets its reply after this."""
        self._changing = b""
        self.save(call_id, now=time.monotonic())

    def call_ended(self, call_id: bytes, _journal: CallJournal) -> None:
        """See CallObserver."""
        self._drop(call_id)

    def source_changed(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver.

        What an end has shown by ICE, by DTLS or of its bundle is saved at once: no packet shows it again, as
        it does a source.
        What a command changes is saved with the command, once.
        """
        if call_id == self._changing:
            return
        if not _shows_once(leg) or self._saved_at_once >= SAVED_A_TURN or self._loop is None:
            self._save_soon(call_id)
            return
        if self._saved_at_once == 0:
            self._loop.call_later(0, self._begin_turn)
        self._saved_at_once += 1
        self.save(call_id, now=time.monotonic())

    def _begin_turn(self) -> None:
        self._saved_at_once = 0

    def path_changed(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver.

        A flow in the kernel tells a successor what it has counted, and when. One that ends leaves that to the
        leg. What a command changes is saved with the command.
        """
        if call_id == self._changing:
            return
        self._outdated.add(call_id)
        if leg.offload is None:
            self._save_soon(call_id)

    def session_ended(self, call_id: bytes, _session: Session, reason: EndReason) -> None:
        """See CallObserver. What a command ends is saved with the command."""
        if reason is not EndReason.CLOSED:
            self._save_soon(call_id)

    def group_unused(self, call_id: bytes, _group: SocketGroup) -> None:
        """See CallObserver."""
        self._save_soon(call_id)

    def housekeeping(self, now: float) -> None:
        """See CallObserver. Every REFRESH_S begins a round over all calls."""
        if not self._round and now - self._round_began >= REFRESH_S:
            self._round_began = now
            self._rounds += 1
            self._round = [call.call_id for call in self._table]
            self._refresh_some()

    # --- saving -----------------------------------------------------------------------------------

    def save(self, call_id: bytes, *, now: float) -> None:
        """Save a call as it is, or drop it if it is over."""
        call = self._table.find_call(call_id)
        if call is None:
            self._drop(call_id)
            return
        self._changed.pop(call_id, None)
        self._outdated.discard(call_id)
        self._counters.pop(call_id, None)
        snapshot = _snapshot(call, now=now, grace_s=2 * (self._snapshot_every - 1) * REFRESH_S)
        self._saved[call_id] = call.last_active
        self._sink.save_call(call_id, snapshot)

    def save_all(self) -> None:
        """Save every call with its counters: this process is about to end."""
        now = time.monotonic()
        for call in self._table:
            self.save(call.call_id, now=now)

    def save_in_turns(self, on_saved: Callable[[], None]) -> None:
        """Save every call with its counters, some in each turn of the loop; then call `on_saved`."""
        loop, left = self._loop, [call.call_id for call in self._table]
        assert loop is not None  # it is attached while it serves

        def save_some() -> None:
            now = time.monotonic()
            for call_id in left[-SAVED_A_TURN:]:
                self.save(call_id, now=now)
            del left[-SAVED_A_TURN:]
            loop.call_later(0, save_some if left else on_saved)

        save_some()

    def restored(self, call_id: bytes, *, now: float, at_once: bool) -> None:
        """A call was restored: its first refresh is a snapshot. If it could not be, it is dropped.

        Args:
            call_id: the call.
            now: monotonic seconds.
            at_once: whether another restore from the snapshot that it came from could do harm: it would
                protect other packets with the same indices of SRTP.
        """
        self._saved[call_id] = 0.0
        if at_once or self._table.find_call(call_id) is None:
            self.save(call_id, now=now)
        if call_id in self._saved:
            # so it is in the first round, whatever came by then
            self._saved[call_id] = 0.0
            self._outdated.add(call_id)

    def checkpoints(self) -> Iterator[CallCheckpoint]:
        """Each call as it is at the moment, for a handover."""
        for call in list(self._table):
            # forks share groups
            sockets = {
                each.fd: each
                for _, group in call.groups
                for each in group.all_sockets
                if isinstance(each, MediaSocket)
            }
            yield CallCheckpoint(
                call.call_id,
                [(each.local, fd) for fd, each in sockets.items()],
                _snapshot(call, now=time.monotonic()),
            )

    def _drop(self, call_id: bytes) -> None:
        self._changed.pop(call_id, None)
        self._outdated.discard(call_id)
        self._counters.pop(call_id, None)
        record = self._recorder.take(call_id) if self._recorder is not None else b""
        if self._saved.pop(call_id, None) is not None or record:
            self._sink.drop_call(call_id, record)

    def _save_soon(self, call_id: bytes) -> None:
        if not self._changed and self._loop is not None:
            self._loop.call_later(0, self._save_changed)
        self._changed[call_id] = None

    def _save_changed(self) -> None:
        now = time.monotonic()
        for call_id in list(self._changed)[:SAVED_A_TURN]:
            self.save(call_id, now=now)
        if self._changed and self._loop is not None:
            self._loop.call_later(0, self._save_changed)

    @property
    def _snapshot_every(self) -> int:
        """Of how many refreshes of a call one is a snapshot: a power of two.

        So a call whose turn it is once in 8 rounds has it once in 4, too: no call misses its turn because the
        number of calls changes.
        """
        return 1 << max(0, math.ceil(math.log2(max(1, len(self._table)) / SNAPSHOTS_A_ROUND)))

    def _refresh_some(self) -> None:
        now = time.monotonic()
        most = FIRST_A_TURN
        if self._rounds > 1:
            most = max(LEAST_A_TURN, math.ceil(len(self._table) * TURN_S / REFRESH_S))
        every = self._snapshot_every
        looked = saved = 0
        while self._round and looked < LOOKS * most and saved < most:
            looked += 1
            saved += self._refresh(self._round.pop(), every, now=now)
        if len(self._counters) >= COUNTERS_CALLS or not self._round:
            self._save_counters()
        if self._round and self._loop is not None:
            # a look at many calls stands for several turns
            turns = math.ceil(looked / most) - 1
            self._loop.call_later(turns * TURN_S + until_next(TURN_S, now=now), self._refresh_some)

    def _refresh(self, call_id: bytes, every: int, *, now: float) -> bool:
        """Save what packets have changed in a call; returns whether they have changed anything.

        Args:
            call_id: the call.
            every: see _snapshot_every.
            now: monotonic seconds.
        """
        call = self._table.find_call(call_id)
        if call is None:
            return False
        is_snapshot_due = hash(call_id) % every == self._rounds % every or call_id in self._outdated
        if is_snapshot_due:
            call.note(now=now)  # what the kernel knows is for the store
        if call.last_active == self._saved.get(call_id):
            return False
        data = b"" if is_snapshot_due else _counters(call)
        if 0 < len(data) <= COUNTERS_BYTES:
            self._counters[call_id] = data
            self._saved[call_id] = call.last_active
        else:
            self.save(call_id, now=now)
        return True

    def _save_counters(self) -> None:
        """Save the counters of some turns: the supervisor wakes up once for them."""
        counters, self._counters = self._counters, {}
        if counters and not self._sink.save_counters(list(counters.items())):
            self._saved.update(dict.fromkeys(counters, 0.0))  # the next round tries again


def _shows_once(leg: Leg) -> bool:
    return bool(leg.protocols) or leg.bundle is not None or leg.bundled_on is not None


def _snapshot(call: Call, *, now: float, grace_s: float = 0.0) -> bytes:
    call.note(now=now)
    return encode_snapshot(take_snapshot(call, clock=clock_at(now), grace_s=grace_s))


def _counters(call: Call) -> bytes:
    """The counters of a call; b"": it needs a snapshot."""
    counters = take_counters(call)
    return b"" if counters is None else encode_counters(counters)
