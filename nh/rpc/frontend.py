"""The RPC sockets: accepts clients, holds them to their limits, and serves each on a connection of its own.

Whatever clients do (connect and say nothing, stop within a frame, never read, come in thousands), the
others are served. The frontend knows nothing of calls or shards: a Dispatch executes the commands.
"""

import errno
import logging
import select
import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from nh.loop import Loop, Timer
from nh.rpc.connection import Connection
from nh.rpc.idle_clients import IdleTracker
from nh.rpc.service import Dispatch, Service
from nh.stats.layout import SupervisorStats
from nh.throttle import RateLimitedLogger

__all__ = ["Connect", "Dispatch", "Frontend"]

Connect = Callable[[socket.socket, Service], Connection]
"""Makes the connection of an accepted socket."""

logger = logging.getLogger(__name__)

ACCEPTS_A_TURN: Final = 64
"""Most connections accepted before other descriptors get their turn."""

HALF_FRAME_S: Final = 10.0
"""Life of a connection that stopped within a frame."""

ACCEPT_PAUSE_S: Final = 0.1
"""How long nobody is accepted after there was no room and nobody idle to make some."""

SHORTAGE_S: Final = 60.0
"""Least time between two lines about new clients that have to wait."""

SWEEP_S: Final = 1.0
"""Longest time between two looks for overdue connections."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_REMEDY: Final = (
    "raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service; fs.file-max) or on watches"
    " (fs.epoll.max_user_watches)"
)


class Frontend:
    """Serves listening sockets from its construction on, until close().

    Arguments:
        loop: what watches the sockets.
        listeners: listening stream sockets; they become nonblocking and stay the caller's to close.
        dispatch: executes a command and calls back once with its result; never raises.
        stats: where connections and requests are counted.
        idle_client_s: life of a connection on which nothing happens, seconds.
        half_frame_s: life of a connection that stopped within a frame, seconds.
        max_clients: most connections at once, 1 or more; the longest idle one makes room for a new one.
        extensions: names of further commands that are let through to dispatch; looked at with every
            request, so a live view of a table will do.
        connect: see Connect.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: Sequence[socket.socket],
        dispatch: Dispatch,
        *,
        stats: SupervisorStats,
        idle_client_s: float = 300.0,
        half_frame_s: float = HALF_FRAME_S,
        max_clients: int = 4096,
        extensions: Collection[str] = (),
        connect: Connect = Connection,
    ) -> None:
        self._loop = loop
        self._listeners = tuple(listeners)
        self._stats = stats
        self._idle_client_s = idle_client_s
        self._half_frame_s = half_frame_s
        self._max_clients = max_clients
        self._connect = connect
        self._clients: IdleTracker[Connection] = IdleTracker()
        self._limited_log = RateLimitedLogger(logger, loop.now)
        self._shortages = RateLimitedLogger(logger, loop.now, SHORTAGE_S)
        self._service = Service(loop, dispatch, self._clients, stats, self._limited_log, extensions)
        self._sweep_s = min(SWEEP_S, idle_client_s / 4, half_frame_s / 4)
        self._accepting = False
        self._pause: Timer | None = None
        for listener in self._listeners:
            listener.setblocking(False)
        self._accept_all()
        self._sweep_timer = loop.call_later(self._sweep_s, self._sweep)

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def stop_accepting(self) -> None:
        """Accept nobody from now on; connections are served as before."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._accepting:
            self._accepting = False
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def stop_reading(self) -> None:
        """Accept nobody, and read nothing more from anybody; what was read is answered."""
        self.stop_accepting()
        for connection in self._clients:
            connection.stop_reading()

    def hand_on(self) -> list[socket.socket]:
        """Close; returns the sockets of connections that are between two requests, for the next frontend."""
        handed_on = [sock for connection in self._clients if (sock := connection.hand_on()) is not None]
        self.close()
        return handed_on

    def adopt(self, socks: Iterable[socket.socket]) -> None:
        """Serve connections that somebody else accepted and handed on."""
        for sock in socks:
            try:
                self._connect(sock, self._service)
            except OSError as exc:
                sock.close()
                self._shortages.log(
                    logging.WARNING, "a client that was handed on has to connect again: %s", exc
                )

    def close(self) -> None:
        """Accept nobody and close every connection."""
        self.stop_accepting()
        self._sweep_timer.cancel()
        for connection in self._clients:
            connection.close()

    # --- accepting --------------------------------------------------------------------------------

    def _accept_all(self) -> None:
        self._accepting = True
        self._pause = None
        try:
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._acceptor(listener))
        except OSError as exc:
            self._pause_accepting(f"sockets cannot be watched: {exc.strerror}; {_REMEDY}")

    def _acceptor(self, listener: socket.socket) -> Callable[[], None]:
        return lambda: self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if len(self._clients) >= self._max_clients and self._clients.find_longest_idle() is None:
                self._pause_accepting("max_clients is reached, and all clients are busy; raise --max-clients")
                return
            try:
                sock, _peer = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                if exc.errno not in _EXHAUSTED:
                    self._pause_accepting(f"accept: {exc.strerror}")
                    return
                # without room the kernel says so even if nobody knocks (accept(2) takes a descriptor first)
                if not _is_readable(listener):
                    return
                if not self._evict_longest_idle():
                    self._pause_accepting(f"accept: {exc.strerror}; {_REMEDY}")
                    return
                continue
            try:
                self._welcome(sock)
            except OSError as exc:
                sock.close()
                self._pause_accepting(f"their sockets cannot be watched: {exc.strerror}; {_REMEDY}")
                return

    def _welcome(self, sock: socket.socket) -> None:
        """Serve a new client. Raises OSError if the kernel has no room for that."""
        if len(self._clients) >= self._max_clients:
            self._evict_longest_idle()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._connect(sock, self._service)
        self._stats.rpc_accepted += 1

    def _evict_longest_idle(self) -> bool:
        connection = self._clients.find_longest_idle()
        if connection is None:
            return False
        self._limited_log.log(
            logging.WARNING, "%d clients are connected; the longest idle one makes room", len(self._clients)
        )
        self._stats.rpc_evicted += 1
        connection.close()
        return True

    def _pause_accepting(self, why: str) -> None:
        """Let new clients wait in the kernel's queue, rather than be told of them again and again."""
        self._shortages.log(logging.WARNING, "new clients have to wait: %s", why)
        self.stop_accepting()
        self._pause = self._loop.call_later(ACCEPT_PAUSE_S, self._accept_all)

    # --- limits in time ---------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweep_timer = self._loop.call_later(self._sweep_s, self._sweep)
        overdue = self._clients.overdue(
            self._loop.now(), idle_s=self._idle_client_s, torn_s=self._half_frame_s
        )
        for connection in overdue:
            self._stats.rpc_evicted += 1
            connection.close()


def _is_readable(listener: socket.socket) -> bool:
    """Whether somebody waits to be accepted."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))
