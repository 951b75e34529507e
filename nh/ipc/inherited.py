"""Descriptors that another supervisor handed to this one: locks, listening sockets, clients' connections."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from nh.ipc.channel import close_all
from nh.ipc.handover_messages import HandoverMessage


class InheritedFds:
    """Descriptors that wait to be used.

    Arguments:
        bequest: what they are.
        fds: as many, in its order; the inherited's from now on.
    """

    def __init__(self, bequest: HandoverMessage | None = None, fds: list[int] | None = None) -> None:
        self.bequest = bequest or HandoverMessage()
        fds = fds or []
        locks = self.bequest.locks
        self._locks = fds[: len(locks)]
        self._listeners = list(zip(self.bequest.listeners, fds[len(locks) :], strict=False))
        self._connections: dict[str, list[socket.socket]] = {}

    def __bool__(self) -> bool:
        """Whether anybody left anything."""
        return self.bequest != HandoverMessage()

    def take_lock(self, path: Path) -> int | None:
        """The descriptor of a lock file that is locked already; None: it was not left."""
        for index, fd in enumerate(self._locks):
            # by the file itself: another container may call it by another name
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return self._locks.pop(index)
        return None

    def take_listener(self, kind: str, address: str) -> socket.socket | None:
        """A bound socket; None: it was not left.

        Arguments:
            kind: unix, tcp, ng-tcp or ng-udp.
            address: as the settings have it.
        """
        for index, (what, fd) in enumerate(self._listeners):
            if what == (kind, address):
                del self._listeners[index]
                return socket.socket(fileno=fd)
        return None

    def add_connections(self, protocol: str, fds: list[int]) -> None:
        """Clients' connections came too; the descriptors are taken out of the list, and are its own now."""
        waiting = self._connections.setdefault(protocol, [])
        while fds:
            waiting.append(socket.socket(fileno=fds.pop()))

    def take_connections(self, protocol: str) -> list[socket.socket]:
        """Clients' connections of a protocol, rpc or ng, that wait to be served."""
        return self._connections.pop(protocol, [])

    def close(self) -> None:
        """Close what nobody took: the settings have changed."""
        close_all([fd for _, fd in self._listeners])
        close_all(self._locks)
        self._listeners = []
        for protocol in list(self._connections):
            for sock in self.take_connections(protocol):
                sock.close()


NOTHING_INHERITED: Final = InheritedFds()
"""No inherited descriptors (cold start)."""
