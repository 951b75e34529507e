"""Where a supervisor hears that the next one is there, and wants it to leave (`nh run --takeover`)."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from nh.ipc.handover_messages import Yield, decode_to_old
from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.link_messages import MAX_MESSAGE_BYTES
from nh.loop import Loop

logger = logging.getLogger(__name__)


class TakeoverListener:
    """Open from construction to close().

    Arguments:
        loop: see Loop.
        path: where; a file that is there already is removed, as only one supervisor has the directory.
        on_leave: called with a connection to who wants this supervisor to leave; it belongs to the called.
    """

    def __init__(self, loop: Loop, path: Path, on_leave: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._on_leave = on_leave
        self._waiting: socket.socket | None = None
        path.unlink(missing_ok=True)
        self._handover_socket = HandoverSocket.open(str(path))
        if self._handover_socket is not None:
            loop.add_reader(self._handover_socket.fileno(), self._on_arrival)

    def close(self) -> None:
        """Hear nobody any more. A second one does nothing."""
        self._forget()
        if self._handover_socket is not None:
            self._loop.remove_reader(self._handover_socket.fileno())
            self._handover_socket.close()
            self._handover_socket = None

    def _on_arrival(self) -> None:
        assert self._handover_socket is not None
        sock = self._handover_socket.accept()
        if sock is None:
            return
        self._forget()  # whoever came last
        sock.setblocking(False)
        self._waiting = sock
        self._loop.add_reader(sock.fileno(), lambda: self._hear(sock))

    def _hear(self, sock: socket.socket) -> None:
        try:
            record = sock.recv(MAX_MESSAGE_BYTES)
            wanted = bool(record) and isinstance(decode_to_old(record), Yield)
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError) as exc:
            logger.warning("who came to take over says what is not understood: %s", exc)
            wanted = False
        self._loop.remove_reader(sock.fileno())
        self._waiting = None
        if wanted:
            self._on_leave(sock)
        else:
            sock.close()

    def _forget(self) -> None:
        if self._waiting is not None:
            self._loop.remove_reader(self._waiting.fileno())
            self._waiting.close()
            self._waiting = None
