"""Orphan: a shard whose supervisor has died goes on with its calls, until the next supervisor takes over.

No command reaches the calls meanwhile; media, sources and expiry go on. The next supervisor connects, and
the shard sends it every call while it relays nothing. If that supervisor breaks off, the shard relays again.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from nh.calls.snapshots.version import VERSION
from nh.errors import ChannelFull
from nh.ipc.backup_messages import SaveCall, parts
from nh.ipc.channel import Channel, ChannelRecord
from nh.ipc.fd_passing import MAX_FDS, batches
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    HandedOver,
    Hello,
    TakenOver,
    Transfer,
    UnconfirmedRecord,
    Yield,
    decode_to_old,
    encode,
)
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import Configure
from nh.loop import Loop, Timer
from nh.reasons import reason
from nh.shard.recovery.recovery import Recovery
from nh.shard.recovery.unconfirmed import UnconfirmedRecords
from nh.stats.fields import read_counters
from nh.stats.layout import SHARD_TABLE
from nh.version import __version__

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0
"""How long packets may wait for a successor: the receive buffers hold that much telephony."""

EXPIRY_S: Final = 60.0
"""How long silent calls wait for a successor: one that takes longer hangs. Should it go on, it ends them."""


class Orphan:
    """A shard without a supervisor, from the end of the link on.

    Args:
        loop: the shard's loop.
        recovery: the relay and its calls.
        configure: the settings of the supervisor that is gone.
        handover_socket: where the next supervisor connects.
        records: of calls that have ended, which the next supervisor gets.
        on_over: called once, when no call is left or a successor has them.

    Attributes:
        handed_over: whether a successor has the calls; the shard must not end them then.
    """

    def __init__(
        self,
        loop: Loop,
        recovery: Recovery,
        configure: Configure,
        handover_socket: HandoverSocket,
        *,
        records: UnconfirmedRecords,
        on_over: Callable[[], None],
    ) -> None:
        self.handed_over = False
        self._loop = loop
        self._recovery = recovery
        self._relay = recovery.relay
        self._configure = configure
        self._shard = configure.relay.shard
        self._handover_socket = handover_socket
        self._records_left = records
        self._on_over = on_over
        self._channel: Channel | None = None
        self._transferring = False
        self._transfer_began = 0.0
        self._in_batches = False
        self._patience: Timer | None = None
        self._relay.may_expire = self._may_expire
        loop.add_reader(handover_socket.fileno(), self._on_arrival)

    def end_if_empty(self) -> None:
        """End the shard if it has no calls; to be called from time to time."""
        if not self._recovery.calls and self._channel is None and not self.handed_over:
            logger.warning("shard %d ends: it has neither calls nor a supervisor", self._shard)
            self._on_over()

    def listen_again(self) -> None:
        """The next supervisor does not find the socket any more: see HandoverSocket.listen_again()."""
        if self._channel is not None or self.handed_over:
            return
        self._loop.remove_reader(self._handover_socket.fileno())
        self._handover_socket.listen_again()
        self._loop.add_reader(self._handover_socket.fileno(), self._on_arrival)

    def close(self) -> None:
        """Accept no supervisor any more."""
        self._loop.remove_reader(self._handover_socket.fileno())
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # --- the next supervisor ----------------------------------------------------------------------

    def _on_arrival(self) -> None:
        sock = self._handover_socket.accept()
        if sock is None:
            return
        if self._channel is not None:
            self._channel.drain()  # the supervisor before may have ended, and this be the next
        if self._channel is not None:  # one at a time; the lock of the runtime directory sees to that
            sock.close()
            return
        self._channel = Channel(self._loop, sock, self._on_record, self._on_lost)
        maps = self._configure.kernel
        fds = (maps.flows_fd, maps.counters_fd) if maps is not None and maps.identity else ()
        hello = Hello(
            shard=self._shard,
            shards=self._configure.relay.shards,
            version=__version__,
            snapshot_version=VERSION,
            calls=self._recovery.calls,
            kernel=maps.identity if maps is not None else "",
            known_session=self._relay.known_session,
        )
        try:
            self._channel.send(encode(hello), fds)
        except ChannelFull as exc:
            self._break_off(f"Hello cannot be sent: {exc}")

    def _on_record(self, record: bytes, _fds: list[int]) -> None:
        try:
            message = decode_to_old(record)
        except msgspec.DecodeError as exc:
            self._break_off(f"its message cannot be decoded: {reason(exc)}")
            return
        match message:
            case Transfer(records):
                self._transfer(records=records)
            case Exit():
                self.handed_over = True
                logger.info("shard %d ends: another process has its calls now", self._shard)
                self._on_over()
            case Yield() | TakenOver():
                pass

    def _transfer(self, *, records: bool) -> None:
        assert self._channel is not None
        if not self._transferring:
            self._transferring = True
            self._transfer_began = self._loop.now()
            self._relay.pause()
            if self._relay.plane.kernel is not None:
                self._relay.plane.kernel.hold()
            self._patience = self._loop.call_later(PATIENCE_S, self._resume)
            self._channel.send_all(self._records(calls_ended=records))

    def _records(self, *, calls_ended: bool) -> Iterator[ChannelRecord]:
        for call_id, sockets, snapshot in self._recovery.checkpoints():
            self._in_batches = len(sockets) > MAX_FDS
            for some in batches(sockets):
                endpoints = tuple(endpoint for endpoint, _ in some)
                yield encode(CallSockets(call_id, endpoints)), [fd for _, fd in some]
            self._in_batches = False
            for part, data, last in parts(snapshot):
                yield encode(SaveCall(call_id, data, part, last)), ()
        if calls_ended:
            for number, _, record in list(self._records_left):
                yield encode(UnconfirmedRecord(record, number)), ()
        self._relay.update_stats()
        yield encode(HandedOver(read_counters(self._relay.stats, SHARD_TABLE))), ()

    def _may_expire(self) -> bool:
        """Whether silent calls may end: not while a successor may get them, nor while one is being sent."""
        if self._channel is None or not self._transferring:
            return True
        is_sent = self._in_batches or self._channel.borrows
        return not is_sent and self._loop.now() - self._transfer_began >= EXPIRY_S

    def _break_off(self, why: str) -> None:
        logger.error(
            "shard %d breaks off the takeover by the next supervisor: %s; it goes on with its calls",
            self._shard,
            why,
        )
        if self._channel is not None:
            self._channel.close()
        self._on_lost()

    def _on_lost(self) -> None:
        self._channel = None
        self._resume()
        if self._transferring and not self.handed_over and self._relay.plane.kernel is not None:
            self._relay.plane.kernel.release()
            self._relay.plane.activate()
        self._transferring = False

    def _resume(self) -> None:
        """Relay again. A process that has the sockets too may do the same: each packet is read once.

        Flows in the kernel stay until the takeover is broken off, and silent calls for EXPIRY_S.
        """
        if self._patience is None or self.handed_over:
            return
        self._patience.cancel()
        self._patience = None
        logger.warning("the next supervisor has not taken the calls: shard %d relays again", self._shard)
        self._relay.resume()
