"""Accepts clients at listening sockets, and lets new ones wait where there is no room for them.

Clients that wait are in the kernel's queue. Whose place a new client gets is known to the frontend.
"""

import functools
import logging
import os
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from nh.fair_shares import LOCAL, client_at
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop, Timer, TurnReads
from nh.reasons import SHORTAGES

ACCEPTS_A_TURN: Final = 64
"""Most connections accepted before other descriptors get their turn."""

ACCEPT_PAUSE_S: Final = 0.1
"""Seconds without accepting, after there was no room for a client and no idle client to close."""

REMEDY: Final = (
    "raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service; fs.file-max) or on watches"
    " (fs.epoll.max_user_watches)"
)
"""What to do where the host has no room for the socket of a client."""


class Acceptor:
    """Accepts clients from start() to stop().

    Args:
        loop: watches the sockets.
        listeners: listening stream sockets; they become nonblocking, and the caller closes them.
        welcome: serves a new client, with where it is (client_host()), or closes its socket; raises OSError
            if the socket cannot be watched.
        has_place: whether a new client could have a place among the others.
        evict: disconnects an idle client; False: there is none.
        shortages: logs why new clients have to wait.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: Sequence[socket.socket],
        *,
        welcome: Callable[[socket.socket, str], None],
        has_place: Callable[[], bool],
        evict: Callable[[], bool],
        shortages: RateLimitedLogger,
    ) -> None:
        self._loop = loop
        self._listeners = tuple(listeners)
        self._welcome = welcome
        self._has_place = has_place
        self._evict = evict
        self._shortages = shortages
        self._accepting = False
        self._pause: Timer | None = None
        for listener in self._listeners:
            listener.setblocking(False)

    def start(self) -> None:
        """Accept clients from now on."""
        self._accepting = True
        self._pause = None
        try:
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._reader(listener))
        except OSError as exc:
            self._wait(f"sockets cannot be watched: {exc.strerror}; {REMEDY}")

    def stop(self) -> None:
        """Accept no clients any more, until start()."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def may_replace(self, listener: socket.socket) -> bool:
        """Whether replace() costs no client anything: clients are accepted, and none waits there."""
        return (self._accepting or self._pause is not None) and not _is_readable(listener)

    def replace(self, listener: socket.socket, other: socket.socket) -> None:
        """Accept clients of another listening socket in place of one.

        Args:
            listener: what it was; from now on it is `other`, with its descriptor.
            other: this object closes its own descriptor.
        """
        self.stop()
        os.dup2(other.fileno(), listener.fileno(), inheritable=False)
        other.close()
        listener.setblocking(False)
        self.start()

    def _reader(self, listener: socket.socket) -> Callable[[], None]:
        reads = TurnReads(self._loop, ACCEPTS_A_TURN)
        accept_one = functools.partial(self._accept_one, listener)
        return lambda: reads.read(accept_one)

    def _accept_one(self, listener: socket.socket) -> bool:
        """Serve one new client; False if there is none now, or new clients have to wait."""
        if not self._has_place():
            self._wait("max_clients is reached and all clients are busy; raise --max-clients")
            return False
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as exc:
            return self._make_room(listener, exc)
        try:
            self._welcome(sock, client_host(sock, peer))
        except OSError as exc:
            sock.close()
            self._wait(f"their sockets cannot be watched: {exc.strerror}; {REMEDY}")
            return False
        return True

    def _make_room(self, listener: socket.socket, failure: OSError) -> bool:
        """Disconnect an idle client if accept(2) failed for want of room; whether it is worth another try."""
        if failure.errno not in SHORTAGES:
            self._wait(f"accept: {failure.strerror}")
            return False
        # without room accept(2) fails even if no client waits: it takes a descriptor first
        if not _is_readable(listener):
            return False
        if not self._evict():
            self._wait(f"accept: {failure.strerror}; {REMEDY}")
            return False
        return True

    def _wait(self, why: str) -> None:
        """Leave new clients in the kernel's queue for ACCEPT_PAUSE_S seconds."""
        self._shortages.log(logging.WARNING, "new clients have to wait: %s", why)
        self.stop()
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self.start)


def client_host(sock: socket.socket, peer: tuple[str, int]) -> str:
    """Where a client is, for its share; see nh.fair_shares.client_at().

    Args:
        sock: of its connection.
        peer: as accept() and getpeername() name it.
    """
    return LOCAL if sock.family == socket.AF_UNIX else client_at(peer[0])


def _is_readable(listener: socket.socket) -> bool:
    """Whether a client waits to be accepted."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
