"""The process that takes over, as the supervisor sees it that has handed over to it."""

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

import msgspec

from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.handover_messages import TakenOver, decode_to_old
from nh.loop import Loop

SETTLED_S: Final = 60.0
"""An earlier version that has lived so long since the handover has taken over."""


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


class EarlierSuccessor:
    """The process of an earlier version of nh, which does not tell when it has taken over.

    It has when the shards have ended, because it has their calls, or after SETTLED_S: it may leave a shard
    alone. Until then it counts as gone when its process ends. One of the two functions is called, once.

    Args:
        loop: watches the process.
        pid: of the process; 0: it cannot be seen from here, and has taken over.
        on_taken_over: called when it has taken over.
        on_gone: called when it has ended before.
    """

    def __init__(
        self, loop: Loop, pid: int, *, on_taken_over: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_taken_over = on_taken_over
        self._on_gone = on_gone
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            loop.call_later(0, on_gone)
        except (OSError, ValueError):
            loop.call_later(0, on_taken_over)
        else:
            loop.add_reader(self._pidfd, self._on_end)
            loop.call_later(SETTLED_S, self.settle)

    def settle(self) -> None:
        """The shards have ended."""
        if self._unwatch():
            self._on_taken_over()

    def _on_end(self) -> None:
        if self._unwatch():
            self._on_gone()

    def _unwatch(self) -> bool:
        """Stop watching; returns whether it was watched."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd < 0:
            return False
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        return True
