"""A shard without supervisor: it goes on with its calls until they are over, or the next supervisor has them.

Nobody can reach its calls by commands meanwhile; media, sources and expiry go on as ever. The next supervisor
connects, and is told everything while nothing is relayed. If it then breaks off, the shard relays on.
"""

import logging
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from nh.calls.snapshots.version import VERSION
from nh.errors import ChannelFull
from nh.ipc.channel import Channel, Record, batches
from nh.ipc.handover_messages import (
    CallSockets,
    Exit,
    HandedOver,
    Hello,
    Transfer,
    Yield,
    decode_to_old,
    encode,
)
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import Configure, SaveCall, parts
from nh.loop import Loop, Timer
from nh.shard.recovery.recoverable_relay import RecoverableRelay
from nh.stats.layout import SHARD_TABLE, read_counters
from nh.version import __version__

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 5.0
"""How long packets may wait for a successor; their sockets have room for so much telephony."""


class Orphan:
    """From the end of the link on.

    Arguments:
        loop: the shard's.
        helper: has the calls, and relays.
        configure: what the supervisor that is gone said.
        handover_socket: where the next one comes.
        on_over: called once, when no call is left or they are somebody else's.

    `departed` tells whether a successor has the calls: then what is left of them is not the shard's to end.
    """

    def __init__(
        self,
        loop: Loop,
        helper: RecoverableRelay,
        configure: Configure,
        handover_socket: HandoverSocket,
        *,
        on_over: Callable[[], None],
    ) -> None:
        self.departed = False
        self._loop = loop
        self._helper = helper
        self._configure = configure
        self._handover_socket = handover_socket
        self._on_over = on_over
        self._channel: Channel | None = None
        self._transferring = False
        self._patience: Timer | None = None
        logger.warning(
            "the supervisor is gone: shard %d goes on with its %d calls, and waits for the next one",
            configure.shard,
            helper.calls,
        )
        loop.add_reader(handover_socket.fileno(), self._on_arrival)

    def look(self) -> None:
        """To be called now and then: end if no call is left."""
        if not self._helper.calls and self._channel is None and not self.departed:
            logger.warning("shard %d has no calls left, and no supervisor; ending", self._configure.shard)
            self._on_over()

    def close(self) -> None:
        """Await nobody any more."""
        self._loop.remove_reader(self._handover_socket.fileno())
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _on_arrival(self) -> None:
        sock = self._handover_socket.accept()
        if sock is None:
            return
        if self._channel is not None:
            self._channel.drain()  # whoever came before may have ended, and this be the next
        if self._channel is not None:  # one at a time; the lock of the runtime directory sees to that
            sock.close()
            return
        self._channel = Channel(self._loop, sock, self._on_record, self._on_lost)
        maps = self._configure.kernel
        fds = (maps.flows_fd, maps.counters_fd) if maps is not None and maps.identity else ()
        present = Hello(
            shard=self._configure.shard,
            shards=self._configure.shards,
            version=__version__,
            snapshot_version=VERSION,
            calls=self._helper.calls,
            kernel=maps.identity if maps is not None else "",
            known_session=self._helper.known_session,
        )
        self._send(present, fds)

    def _on_record(self, record: bytes, _fds: list[int]) -> None:
        try:
            message = decode_to_old(record)
        except msgspec.DecodeError as exc:
            logger.error("the next supervisor says what is not understood, and is left: %s", exc)
            self._break_off()
            return
        match message:
            case Transfer():
                self._hand_over()
            case Exit():
                self.departed = True
                logger.info("shard %d ends: its calls are those of a new process now", self._configure.shard)
                self._on_over()
            case Yield():
                pass

    def _hand_over(self) -> None:
        assert self._channel is not None
        if not self._transferring:
            self._transferring = True
            self._helper.pause()
            self._patience = self._loop.call_later(PATIENCE_S, self._resume)
            self._channel.send_all(self._everything(), self._on_transfer_error)

    def _everything(self) -> Iterator[Record]:
        for call_id, sockets, snapshot in self._helper.hand_over():
            for some in batches(sockets):
                endpoints = tuple(endpoint for endpoint, _ in some)
                yield encode(CallSockets(call_id, endpoints)), [fd for _, fd in some]
            for part, data, last in parts(snapshot):
                yield encode(SaveCall(call_id, data, part, last)), ()
        self._helper.update_stats()
        yield encode(HandedOver(read_counters(self._helper.stats, SHARD_TABLE))), ()

    def _on_transfer_error(self, exc: ChannelFull) -> None:
        logger.error("the calls cannot be handed over: %s", exc)
        self._break_off()

    def _send(self, message: Hello, fds: tuple[int, ...]) -> None:
        assert self._channel is not None
        try:
            self._channel.send(encode(message), fds)
        except ChannelFull as exc:
            logger.error("the next supervisor cannot be told who this is: %s", exc)
            self._break_off()

    def _break_off(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._on_lost()

    def _on_lost(self) -> None:
        self._channel = None
        self._resume()
        self._transferring = False

    def _resume(self) -> None:
        """Relay again. Who has the sockets too may do the same: what arrives is read once."""
        if self._patience is None or self.departed:
            return
        self._patience.cancel()
        self._patience = None
        logger.warning("the next supervisor has not taken the calls: shard %d goes on", self._configure.shard)
        self._helper.resume()
