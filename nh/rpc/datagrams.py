"""A UDP socket of a protocol with cookies: datagrams in, datagrams out, and neither waits."""

import functools
import logging
import socket
from typing import Any, Final, NamedTuple

from nh.address import TcpAddress
from nh.fair_queue import FairQueue
from nh.fair_shares import client_at
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, Timer, TurnReads
from nh.reasons import reason
from nh.rpc.events import CookieMessage, Handler
from nh.stats.layout import SupervisorStats

DATAGRAMS_A_TURN: Final = 16
"""Most datagrams served before other descriptors get their turn, and further datagrams are read.

With 64, a flood of 20,000 a second came faster than turns read, and filled the receive buffer.
"""

READS_A_TURN: Final = 256
"""Most datagrams read in that time: it takes little, and finds those of other clients in a flood."""

MAX_WAITING: Final = 1024
"""Most datagrams that were read and wait; beyond, the latest one of the client with most is dropped."""

_ROOM_BYTES: Final = 65_536


class DatagramSender(NamedTuple):
    """The sender of datagrams, at one of nh's sockets.

    Attributes:
        fd: of the socket that received them.
        peer: as recvfrom() names it.
    """

    fd: int
    peer: tuple[Any, ...]

    def __str__(self) -> str:
        return _text_of(*self.peer[:2])


@functools.lru_cache(maxsize=256)  # proxies keep their sockets; each command of calls notes its client
def _text_of(host: str, port: int) -> str:
    return str(TcpAddress(host, port))


class DatagramSocket:
    """Serves a UDP socket from its construction until close().

    Datagrams are served as they come. Where they come faster than that, they wait, and clients take turns.

    Args:
        loop: watches the socket.
        sock: bound; it becomes nonblocking, and the caller closes it.
        handler: executes requests.
        stats: counts replies that could not be sent.
        limited_log: logs them.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        handler: Handler,
        *,
        stats: SupervisorStats,
        limited_log: RateLimitedLogger,
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._handler = handler
        self._stats = stats
        self._limited_log = limited_log
        self._open = self._reading = True
        self._fd = sock.fileno()
        self._buffer = bytearray(_ROOM_BYTES)
        self._reads = TurnReads(loop, READS_A_TURN)
        self._waiting: FairQueue[tuple[bytes, Any]] = FairQueue(MAX_WAITING)
        self._timer: Timer | None = None  # while some wait: it serves them, and no others are served before
        self._served = 0  # at once, in this turn
        loop.add_reader(sock.fileno(), self._on_readable)

    def stop_reading(self) -> None:
        """Read no more requests; those that were read get their replies."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._serve(*self._waiting.take())

    def close(self) -> None:
        """Read and send no more. No effect if closed."""
        self._open = False
        self._waiting = FairQueue(0)
        self.stop_reading()

    def _on_readable(self) -> None:
        self._served = 0
        self._reads.read(self._read_one)

    def _read_one(self) -> bool:
        """Read one datagram; False if there is none now, or none is wanted any more."""
        if not self._reading:
            return False
        try:
            size, peer = self._sock.recvfrom_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:  # an ICMP error for an earlier reply; the socket still works
            self._limited_log.log(
                logging.WARNING, "a reply over UDP did not reach its client: %s", reason(exc)
            )
            return False
        data = bytes(memoryview(self._buffer)[:size])
        if self._timer is None and self._served < DATAGRAMS_A_TURN:
            self._served += 1
            self._serve(data, peer)
        else:
            self._wait(data, peer)
        return True

    def _serve(self, data: bytes, peer: Any) -> None:
        sender = DatagramSender(self._fd, peer)
        self._handler.serve(CookieMessage(data), sender, functools.partial(self._send, peer))

    def _wait(self, data: bytes, peer: Any) -> None:
        dropped = self._waiting.put(client_at(peer[0]), (data, peer))
        if dropped is not None:
            self._note_dropped(*dropped)
        if self._timer is None:
            self._timer = self._loop.call_later(0.0, self._serve_waiting)

    def _serve_waiting(self) -> None:
        """Serve those that wait, as many as a turn may; the others in the next turn."""
        self._timer = self._loop.call_later(0.0, self._serve_waiting) if self._waiting else None
        for _ in range(DATAGRAMS_A_TURN):
            if not self._waiting:
                return
            self._serve(*self._waiting.take())

    def _note_dropped(self, _data: bytes, peer: Any) -> None:
        self._stats.rpc_overloaded += 1
        self._limited_log.log(
            logging.WARNING,
            "requests of %s over UDP are dropped, as %d wait, most of them its own; have it send fewer, or"
            " spread the calls over more relays",
            peer[0],
            MAX_WAITING,
        )

    def _send(self, peer: Any, reply: bytes) -> None:
        if not self._open:
            return
        try:
            self._sock.sendto(reply, peer)
        except OSError as exc:  # the client sends its request again, and gets the kept reply
            self._stats.rpc_send_failed += 1
            self._limited_log.log(
                logging.WARNING,
                "a reply to %s over UDP was not sent: %s; the client may ask again",
                peer[0],
                reason(exc),
            )
