"""What a supervisor got from the one before it: locks, listening sockets, client connections, counters."""

import contextlib
import functools
import os
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Final

from nh.ipc.fd_passing import close_all
from nh.ipc.handover_messages import HandoverMessage, TakenOver, encode
from nh.room import when_there_is_room

STARTED, UPGRADED, TAKEN_OVER = range(3)

TELL_S: Final = 2.0
"""So long confirm() waits for room: a supervisor that is told nothing goes on itself."""


class Inherited:
    """What was handed over: a message with counters and the drain, and descriptors.

    The descriptors wait to be taken into use; those that are not taken are closed by close().

    Args:
        message: counters, the drain, and what the descriptors are; None: cold start.
        fds: in the order of the message; they belong to this object.

    Attributes:
        how: see nh.stats.SupervisorStats.taken_over; set by the receiver.
        awaited_by: the connection to the supervisor that goes on itself unless confirm() is called; None:
            there is none. It stays open behind close().
        another_try: a connection from which all of this can be received once more, for a start anew;
            None: there is none. It stays open behind close().
    """

    def __init__(self, message: HandoverMessage | None = None, fds: list[int] | None = None) -> None:
        self.how = STARTED
        self.awaited_by: socket.socket | None = None
        self.another_try: socket.socket | None = None
        self.message = message or HandoverMessage()
        fds = fds or []
        locks = self.message.locks
        self._locks = fds[: len(locks)]
        self._listeners = list(zip(self.message.listeners, fds[len(locks) :], strict=False))
        self._connections: dict[str, list[socket.socket]] = {}

    def __bool__(self) -> bool:
        """Whether a supervisor handed over anything."""
        return self.message != HandoverMessage()

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether nh goes on if this start fails: as the supervisor before, or by another try."""
        return self.awaited_by is not None or self.another_try is not None

    @property
    def fds(self) -> list[int]:
        """The descriptors that were not taken, in the order of the message; not those of connections."""
        return [*self._locks, *(fd for _, fd in self._listeners)]

    @property
    def connections(self) -> dict[str, list[int]]:
        """The descriptors of the client connections that were not taken, by protocol."""
        return {name: [sock.fileno() for sock in socks] for name, socks in self._connections.items()}

    def drop_listeners(self, names: Collection[tuple[str, str]]) -> None:
        """Close the listening sockets of other names: their ports are to be free for other addresses.

        Args:
            names: (kind, address) of those that will be taken; see take_listener().
        """
        close_all([fd for what, fd in self._listeners if what not in names])
        self._listeners = [(what, fd) for what, fd in self._listeners if what in names]

    def take_lock(self, path: Path) -> int | None:
        """Take the descriptor of a lock file that is locked already; None: it was not handed over."""
        for index, fd in enumerate(self._locks):
            # by the file itself: another container may call it by another name
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return self._locks.pop(index)
        return None

    def take_listener(self, kind: str, address: str) -> socket.socket | None:
        """Take a listening socket; None: it was not handed over.

        Args:
            kind: unix, tcp, ng-tcp, ng-udp, ng-http-unix or http-tcp.
            address: as the settings have it.
        """
        for index, (what, fd) in enumerate(self._listeners):
            if what == (kind, address):
                del self._listeners[index]
                return socket.socket(fileno=fd)
        return None

    def add_connections(self, protocol: str, fds: list[int]) -> None:
        """Add client connections of a protocol; removes the descriptors from the list."""
        waiting = self._connections.setdefault(protocol, [])
        while fds:
            waiting.append(socket.socket(fileno=fds.pop()))

    def take_connections(self, protocol: str) -> list[socket.socket]:
        """Take the client connections of a protocol: rpc, ng or ng-http."""
        return self._connections.pop(protocol, [])

    def confirm(self) -> None:
        """This supervisor has taken over: the one before ends, and no other try is needed. Once is enough."""
        self.drop_another_try()
        if self.awaited_by is not None:
            with contextlib.suppress(OSError):  # it has been killed
                when_there_is_room(functools.partial(self.awaited_by.send, encode(TakenOver())), TELL_S)
            self.awaited_by.close()
            self.awaited_by = None

    def drop_another_try(self) -> None:
        """Have no other try."""
        if self.another_try is not None:
            self.another_try.close()
            self.another_try = None

    def close(self) -> None:
        """Close what was not taken, because the settings have changed."""
        close_all([fd for _, fd in self._listeners])
        close_all(self._locks)
        self._listeners = []
        for protocol in list(self._connections):
            for sock in self.take_connections(protocol):
                sock.close()


NOTHING_INHERITED: Final = Inherited()
"""Nothing was handed over (cold start)."""
