"""Checkpoints: what has to be known outside of this process for its calls to go on without it.

The supervisor holds the latest snapshot of each call, and a duplicate of each media socket
(nh.shard.recovery.socket_backup). What a command changes is saved before the command is answered; what
packets change, such as a source that latched, in the loop's next turn. So a successor knows all that clients
and phones were announced.

What every packet changes is written where it outlives the process, without a checkpoint
(nh.shard.media.leg_memory). For the store each call gets a snapshot every REFRESH_S, and of many calls a part
does (nh.shard.recovery.refresh). So does a call with SRTP, because what its packets change is beside the
keys.

The module knows calls and their sockets, not how a sink keeps them.
"""

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from nh.calls.call import Call
from nh.calls.events import CallObserver, EndReason
from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.session import Session
from nh.calls.snapshots.call import take_snapshot
from nh.calls.snapshots.codec import encode_snapshot
from nh.calls.table import CallTable
from nh.calls.timeline import CallTimeline
from nh.loop import Loop, call_each
from nh.printable import short_id
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.observers.recorder import Recorder
from nh.shard.recovery.checkpoint_sink import CheckpointSink
from nh.shard.recovery.clocks import clock_at
from nh.shard.recovery.refresh import REFRESH_S, SAVED_A_TURN, RefreshRounds

logger = logging.getLogger(__name__)

OUTDATED_S: Final = 7.0
"""A call that was refreshed in this time waits for the next round, although packets want a snapshot."""


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
        self._outdated: set[bytes] = set()  # calls that are refreshed in the next round
        self._rounds = RefreshRounds(table, self._refresh_all)
        self._saved_at_once = 0
        self._changing = b""  # by a command that runs

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

    def call_ended(self, call_id: bytes, _timeline: CallTimeline) -> None:
        """See CallObserver."""
        self._drop(call_id)

    def source_changed(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver.

        What an end has shown by ICE, by DTLS or of its bundle is saved at once: no packet shows it again, as
        it does a source.
        So is a stream of SRTP that is renumbered, however many there are: its packet waits for that.
        What a command changes is saved with the command, once.
        """
        if call_id == self._changing:
            return
        if _is_renumbered(leg):
            self.save(call_id, now=time.monotonic())
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

    def leg_outdated(self, call_id: bytes, leg: Leg) -> None:
        """See CallObserver. Several legs of a call say so at different times."""
        if (leg.last_seen or 0.0) - self._saved.get(call_id, 0.0) < OUTDATED_S:
            self._outdated.add(call_id)
        else:
            self._save_soon(call_id)

    def session_ended(self, call_id: bytes, _session: Session, reason: EndReason) -> None:
        """See CallObserver. What a command ends is saved with the command."""
        if reason is not EndReason.CLOSED:
            self._save_soon(call_id)

    def sockets_expired(self, call_id: bytes) -> None:
        """See CallObserver."""
        self._save_soon(call_id)

    def housekeeping(self, now: float) -> None:
        """See CallObserver."""
        if self._loop is not None:
            self._rounds.housekeeping(self._loop, now, self._outdated)

    # --- saving -----------------------------------------------------------------------------------

    def save(self, call_id: bytes, *, now: float, final: bool = False) -> None:
        """Save a call as it is (see CallSnapshot for `final`), or drop it if it is over."""
        call = self._table.find_call(call_id)
        if call is None:
            self._drop(call_id)
            return
        self._save(call, call.note(now=now), now=now, final=final)

    def _save(self, call: Call, last_active: float, *, now: float, final: bool = False) -> None:
        """Save a call that has just been noted."""
        call_id = call.call_id
        self._changed.pop(call_id, None)
        self._outdated.discard(call_id)
        grace_s = 2 * (self._rounds.snapshot_every - 1) * REFRESH_S
        snapshot = _snapshot(call, now=now, grace_s=grace_s, final=final)
        self._saved[call_id] = last_active
        self._sink.save_call(call_id, snapshot)

    def save_all(self) -> None:
        """Save every call with its counters: this process is about to end.

        One that a bug keeps from it keeps no other from it, nor the process from its end.
        """
        now = time.monotonic()
        call_each(functools.partial(self.save, call.call_id, now=now, final=True) for call in self._table)

    def save_in_turns(self, on_saved: Callable[[Sequence[bytes]], None]) -> None:
        """Save every call with its counters, some in each turn of the loop.

        Args:
            on_saved: called at the end, with the call-ids of those that a bug kept from it: what is saved of
                them is as it was before.
        """
        loop, left = self._loop, [call.call_id for call in self._table]
        assert loop is not None  # it is attached while it serves
        unsaved: list[bytes] = []

        def save_some() -> None:
            now = time.monotonic()
            with self._sink.in_one_record():
                for call_id in left[-SAVED_A_TURN:]:
                    if not self._try_to_save(call_id, now=now):
                        unsaved.append(call_id)
            del left[-SAVED_A_TURN:]
            loop.call_later(0, save_some if left else lambda: on_saved(unsaved))

        save_some()

    def _try_to_save(self, call_id: bytes, *, now: float) -> bool:
        """Save a call; returns False if a bug keeps it from that."""
        try:
            self.save(call_id, now=now)
        except Exception:
            logger.exception(
                "call %s cannot be saved, the others are: this is a bug in nh", short_id(call_id)
            )
            return False
        return True

    def restored(self, call_id: bytes, *, now: float, at_once: bool) -> None:
        """A call was restored: its first refresh is a snapshot. If it could not be, it is dropped.

        Args:
            call_id: the call.
            now: monotonic seconds.
            at_once: whether another restore from the snapshot that it came from could do harm: it would
                protect other packets with the same indexes of SRTP.
        """
        self._saved[call_id] = 0.0
        if at_once or self._table.find_call(call_id) is None:
            self.save(call_id, now=now)
        if call_id in self._saved:
            # so it is in the first round, whatever came by then
            self._saved[call_id] = 0.0
            self._outdated.add(call_id)

    def checkpoints(self) -> Iterator[CallCheckpoint]:
        """Each call as it is at the moment, for a handover; those that end meanwhile are left out.

        So is one that a bug keeps from it: this process ends once another has the others.
        """
        for call in list(self._table):
            if self._table.find_call(call.call_id) is not call:
                continue
            try:
                checkpoint = _checkpoint(call, now=time.monotonic())
            except Exception:
                logger.exception(
                    "call %s cannot be handed over, the others are: this is a bug in nh",
                    short_id(call.call_id),
                )
                continue
            yield checkpoint

    def _drop(self, call_id: bytes) -> None:
        self._changed.pop(call_id, None)
        self._outdated.discard(call_id)
        record = self._recorder.take(call_id) if self._recorder is not None else b""
        if self._saved.pop(call_id, None) is not None or record:
            self._sink.drop_call(call_id, record)

    def _save_soon(self, call_id: bytes) -> None:
        if not self._changed and self._loop is not None:
            self._loop.call_later(0, self._save_changed)
        self._changed[call_id] = None

    def _save_changed(self) -> None:
        now = time.monotonic()
        some = list(self._changed)[:SAVED_A_TURN]
        # first: a call that fails must not keep the others from being saved for ever
        for call_id in some:
            del self._changed[call_id]
        if not self._changed:
            self._changed = {}  # an emptied dictionary is as large as it ever was
        elif self._loop is not None:
            self._loop.call_later(0, self._save_changed)
        with self._sink.in_one_record():
            call_each(functools.partial(self.save, call_id, now=now) for call_id in some)

    def _refresh_all(self, call_ids: Sequence[bytes], now: float) -> None:
        with self._sink.in_one_record():
            call_each(functools.partial(self._refresh, call_id, now=now) for call_id in call_ids)
        if not self._outdated:
            self._outdated = set()  # an emptied set is as large as it ever was

    def _refresh(self, call_id: bytes, *, now: float) -> None:
        """Save a call if packets have come since it was saved."""
        call = self._table.find_call(call_id)
        if call is None:
            return
        last_active = call.note(now=now)
        if last_active != self._saved.get(call_id):
            self._save(call, last_active, now=now)


def _shows_once(leg: Leg) -> bool:
    return bool(leg.protocols) or leg.bundle is not None or leg.bundled_on is not None


def _is_renumbered(leg: Leg) -> bool:
    security = leg.egress.security
    return security is not None and security.renumbered


def _checkpoint(call: Call, *, now: float) -> CallCheckpoint:
    call.note(now=now)
    # forks share groups
    sockets = {
        each.fileno(): each
        for _, group in call.groups
        for each in group.all_sockets
        if isinstance(each, MediaSocket)
    }
    return CallCheckpoint(
        call.call_id, [(each.local, fd) for fd, each in sockets.items()], _snapshot(call, now=now, final=True)
    )


def _snapshot(call: Call, *, now: float, grace_s: float = 0.0, final: bool = False) -> bytes:
    return encode_snapshot(take_snapshot(call, clock=clock_at(now), grace_s=grace_s, final=final))
