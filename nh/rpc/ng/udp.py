"""ng over UDP: datagrams in, datagrams out, and nothing that could make either wait."""

import functools
import logging
import socket
from typing import Any, Final

from nh.loop import Loop
from nh.rpc.ng.handler import NgHandler
from nh.stats.layout import SupervisorStats
from nh.throttle import RateLimitedLogger

DATAGRAMS_A_TURN: Final = 64
"""Most datagrams served before other descriptors get their turn."""

_ROOM_BYTES: Final = 65_536


class NgUdp:
    """Serves a UDP socket from its construction on, until close().

    Arguments:
        loop: what watches the socket.
        sock: bound; it becomes nonblocking and stays the caller's to close.
        desk: what answers messages.
        stats: where replies are counted that could not be sent.
        limited_log: the log for them.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        desk: NgHandler,
        *,
        stats: SupervisorStats,
        limited_log: RateLimitedLogger,
    ) -> None:
        sock.setblocking(False)
        self._loop = loop
        self._sock = sock
        self._desk = desk
        self._stats = stats
        self._limited_log = limited_log
        self._open = self._reading = True
        loop.add_reader(sock.fileno(), self._on_readable)

    def stop_reading(self) -> None:
        """Take no more requests; those that are under way are answered."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    def close(self) -> None:
        """Read no more, and send no more; no effect if it is closed."""
        self.stop_reading()
        self._open = False

    def _on_readable(self) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            if not self._reading:
                return
            try:
                message, peer = self._sock.recvfrom(_ROOM_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except (
                OSError
            ) as exc:  # what the network told of an earlier reply; the socket is as good as before
                self._limited_log.log(logging.WARNING, "ng: a UDP socket says: %s", exc)
                return
            self._desk.serve(message, (self._sock.fileno(), peer), functools.partial(self._send, peer))

    def _send(self, peer: Any, reply: bytes) -> None:
        if not self._open:
            return
        try:
            self._sock.sendto(reply, peer)
        except OSError as exc:  # its client asks again, and gets the reply that was kept
            self._stats.ng_send_failed += 1
            self._limited_log.log(logging.WARNING, "ng: a reply could not be sent to %s: %s", peer[0], exc)
