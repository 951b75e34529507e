"""The process that takes over, as the supervisor sees it that has handed over to it."""

import contextlib
import socket
from collections.abc import Callable

import msgspec

from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.handover_messages import TakenOver, decode_to_old
from nh.loop import Loop


class Successor:
    """Waits until the process has taken over, or has ended before, however long that takes.

    Nothing more is sent to it. One of the two functions is called, once.

    Args:
        loop: watches the connection.
        sock: the connection to the process, nonblocking; it belongs to this object.
        on_taken_over: called when it serves.
        on_gone: called when the connection has ended before.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        *,
        on_taken_over: Callable[[], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._on_taken_over = on_taken_over
        self._on_gone = on_gone
        with contextlib.suppress(OSError):  # it has ended; that is read below
            sock.shutdown(socket.SHUT_WR)
        loop.add_reader(sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            record = self._sock.recv(MAX_MESSAGE_BYTES)
            if record and not isinstance(decode_to_old(record), TakenOver):
                return
        except (BlockingIOError, msgspec.DecodeError):  # of a newer nh
            return
        except OSError:
            record = b""
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        if record:
            self._on_taken_over()
        else:
            self._on_gone()
