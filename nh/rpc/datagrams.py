"""A UDP socket of a protocol with cookies: datagrams in, datagrams out, and neither waits."""

import functools
import logging
import socket
from typing import Any, Final, NamedTuple

from nh.address import TcpAddress
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, TurnReads
from nh.reasons import reason
from nh.rpc.events import CookieMessage, Handler
from nh.stats.layout import SupervisorStats

DATAGRAMS_A_TURN: Final = 64
"""Most datagrams served before other descriptors get their turn."""

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
        self._reads = TurnReads(loop, DATAGRAMS_A_TURN)
        loop.add_reader(sock.fileno(), self._on_readable)

    def stop_reading(self) -> None:
        """Read no more requests; those under way get their replies."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Read and send no more. No effect if closed."""
        self.stop_reading()
        self._open = False

    def _on_readable(self) -> None:
        self._reads.read(self._read_one)

    def _read_one(self) -> bool:
        """Serve one datagram; False if there is none now, or none is wanted any more."""
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
        sender = DatagramSender(self._fd, peer)
        message = CookieMessage(bytes(memoryview(self._buffer)[:size]))
        self._handler.serve(message, sender, functools.partial(self._send, peer))
        return True

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
