"""The socket at which a supervisor accepts the next one, which asks it to yield (`nh run --takeover`)."""

import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from nh.ipc.channel import MAX_MESSAGE_BYTES
from nh.ipc.handover_messages import Yield, decode_to_old
from nh.ipc.handover_socket import HandoverSocket
from nh.loop import Loop, Timer
from nh.reasons import reason

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
"""Delay before it listens again where that was impossible, as for want of descriptors."""


class TakeoverListener:
    """Listens from construction to close().

    Args:
        loop: watches the sockets.
        path: of the socket; a stale file is replaced, as only one supervisor has the directory.
        on_yield: called with the connection of a supervisor that has sent Yield, which belongs to the called,
            and the message.
    """

    def __init__(self, loop: Loop, path: Path, on_yield: Callable[[socket.socket, Yield], None]) -> None:
        self._loop = loop
        self._on_yield = on_yield
        self._waiting: socket.socket | None = None
        self._path = path
        self._retry: Timer | None = None
        self._handover_socket: HandoverSocket | None = None
        self._listen(logging.WARNING)

    def close(self) -> None:
        """Stop listening. Closing twice has no effect."""
        self._drop_waiting()
        if self._retry is not None:
            self._retry.cancel()
        if self._handover_socket is not None:
            self._loop.remove_reader(self._handover_socket.fileno())
            self._handover_socket.close()
            self._handover_socket = None

    def renew(self) -> None:
        """Listen again if another program has removed the socket. No effect after close()."""
        listening = self._handover_socket
        if listening is not None and not listening.is_in_place():
            self._loop.remove_reader(listening.fileno())
            listening.listen_again()
            self._loop.add_reader(listening.fileno(), self._on_connection)

    def _listen(self, level: int) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._handover_socket = HandoverSocket.open(str(self._path), level)
        if self._handover_socket is None:
            self._retry = self._loop.call_later(RETRY_S, lambda: self._listen(logging.DEBUG))
        else:
            self._loop.add_reader(self._handover_socket.fileno(), self._on_connection)

    def _on_connection(self) -> None:
        assert self._handover_socket is not None
        sock = self._handover_socket.accept()
        if sock is None:
            return
        self._drop_waiting()  # the last one counts
        sock.setblocking(False)
        self._waiting = sock
        self._loop.add_reader(sock.fileno(), lambda: self._on_readable(sock))

    def _on_readable(self, sock: socket.socket) -> None:
        message = None
        try:
            record = sock.recv(MAX_MESSAGE_BYTES)
            message = decode_to_old(record) if record else None
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError) as exc:
            logger.warning("takeover request rejected: its message cannot be read: %s", reason(exc))
        self._loop.remove_reader(sock.fileno())
        self._waiting = None
        if isinstance(message, Yield):
            self._on_yield(sock, message)
        else:
            sock.close()

    def _drop_waiting(self) -> None:
        if self._waiting is not None:
            self._loop.remove_reader(self._waiting.fileno())
            self._waiting.close()
            self._waiting = None
