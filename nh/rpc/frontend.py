"""What clients of one protocol get: a place among the others, a connection, and limits in number and time.

Whatever a client does (connects and sends nothing, stops within a frame, never reads, comes with thousands),
the others are served. Knows nothing of calls or shards: a Dispatch executes the commands.
"""

import logging
import socket
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from nh.commands import Feature
from nh.fair_shares import FairShares
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.loop import Loop
from nh.reasons import reason
from nh.rpc.acceptor import REMEDY, Acceptor, client_host
from nh.rpc.connection import Connection, ConnectionContext
from nh.rpc.datagrams import DatagramSocket
from nh.rpc.events import Dispatch, RequestCounter
from nh.rpc.idle_clients import IdleTracker
from nh.rpc.protocols import RPC, HandlerContext, ServedProtocol
from nh.stats.layout import SupervisorStats

logger = logging.getLogger(__name__)

PARTIAL_FRAME_S: Final = 10.0
"""Seconds until a connection is closed that stopped within a frame."""

LOG_INTERVAL_S: Final = 60.0
"""Least seconds between two log lines about new clients that have to wait."""

SWEEP_S: Final = 1.0
"""Most seconds between two searches for overdue connections."""


class Frontend:
    """Serves the sockets of a protocol from its construction until close().

    Args:
        loop: watches the sockets.
        listeners: listening stream sockets; they become nonblocking, and the caller closes them.
        dispatch: executes a command and calls back once with its result; never raises.
        stats: counts connections and requests.
        protocol: see ServedProtocol.
        datagrams: bound UDP sockets, where the protocol has them; treated as `listeners`.
        idle_client_s: seconds until an idle connection is closed.
        partial_frame_s: seconds until a connection is closed that stopped within a frame.
        max_clients: most connections at once, 1 or more; a new one replaces the longest idle one of the host
            with most.
        lenient, notifies: see HandlerContext.
        extensions: names of commands that the codecs let pass to `dispatch`, looked up with every request:
            may be a live view of a table.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: Sequence[socket.socket],
        dispatch: Dispatch,
        *,
        stats: SupervisorStats,
        protocol: ServedProtocol = RPC,
        datagrams: Iterable[socket.socket] = (),
        idle_client_s: float = 300.0,
        partial_frame_s: float = PARTIAL_FRAME_S,
        max_clients: int = 4096,
        lenient: Collection[Feature] = (),
        notifies: bool = False,
        extensions: Collection[str] = (),
    ) -> None:
        self._loop = loop
        self._stats = stats
        self._idle_client_s = idle_client_s
        self._partial_frame_s = partial_frame_s
        self._max_clients = max_clients
        self._protocol = protocol
        self._extensions = extensions
        self._clients: IdleTracker[Connection] = IdleTracker()
        self._shares = FairShares()
        self._limited_log = limited_log = RateLimitedLogger(logger, loop.now)
        self._shortages = RateLimitedLogger(logger, loop.now, LOG_INTERVAL_S)
        counter = RequestCounter(stats)
        handler = protocol.handler(
            HandlerContext(loop.now, dispatch, counter, limited_log, lenient, notifies)
        )
        self._context = ConnectionContext(loop, handler, self._clients, self._shares, counter, limited_log)
        self._datagrams = [
            DatagramSocket(loop, sock, handler, stats=stats, limited_log=limited_log) for sock in datagrams
        ]
        self._acceptor = Acceptor(
            loop,
            listeners,
            welcome=self._welcome,
            has_place=self._has_place,
            evict=self._evict_longest_idle,
            shortages=self._shortages,
        )
        self._acceptor.start()
        self._sweep_timer = loop.call_later(self._sweep_s(), self._sweep)

    def _sweep_s(self) -> float:
        return min(SWEEP_S, self._idle_client_s / 4, self._partial_frame_s / 4)

    def change_limits(self, idle_client_s: float, max_clients: int) -> None:
        """Use these limits from now on; connections beyond `max_clients` stay until they are idle."""
        self._idle_client_s = idle_client_s
        self._max_clients = max_clients

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._clients)

    def stop_accepting(self) -> None:
        """Accept no clients and read no datagrams any more; open connections are served on."""
        for datagrams in self._datagrams:
            datagrams.stop_reading()
        self._acceptor.stop()

    def may_replace(self, listener: socket.socket) -> bool:
        """Whether replace() costs no client anything: clients are accepted, and none waits there."""
        return self._acceptor.may_replace(listener)

    def replace(self, listener: socket.socket, other: socket.socket) -> None:
        """Accept clients of another listening socket in place of one; connections are served on.

        Args:
            listener: what it was; from now on it is `other`, with its descriptor.
            other: this object closes its own descriptor.
        """
        self._acceptor.replace(listener, other)

    def stop_reading(self) -> None:
        """Accept and read nothing more; requests that were read get their replies."""
        self.stop_accepting()
        for connection in self._clients:
            connection.stop_reading()

    def release_connections(self) -> list[socket.socket]:
        """Close all but the connections that are between two requests.

        Returns:
            The sockets of those connections, for adopt() of the next frontend.
        """
        released = [sock for connection in self._clients if (sock := connection.release()) is not None]
        self.close()
        return released

    def adopt(self, socks: Iterable[socket.socket]) -> None:
        """Serve connections that another frontend handed over."""
        for sock in socks:
            try:
                self._connect(sock, client_host(sock, sock.getpeername()))
            except OSError as exc:
                sock.close()
                self._shortages.log(
                    logging.WARNING,
                    "a client has to connect again after the handover: %s; %s",
                    reason(exc),
                    REMEDY,
                )

    def close(self) -> None:
        """Accept no clients, read no datagrams and close every connection."""
        self._acceptor.stop()
        self._sweep_timer.cancel()
        self.close_datagrams()
        for connection in self._clients:
            connection.close()

    def close_datagrams(self) -> None:
        """Read and send no datagrams any more: their sockets are about to be closed."""
        for datagrams in self._datagrams:
            datagrams.close()

    # --- clients ----------------------------------------------------------------------------------

    def _has_place(self) -> bool:
        return len(self._clients) < self._max_clients or self._clients.find_longest_idle() is not None

    def _welcome(self, sock: socket.socket, host: str) -> None:
        """Serve a new client. Raises OSError if its socket cannot be watched."""
        if len(self._clients) >= self._max_clients and not self._make_place(host):
            sock.close()
            return
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._connect(sock, host)
        self._stats.rpc_accepted += 1

    def _connect(self, sock: socket.socket, host: str) -> None:
        local = sock.family == socket.AF_UNIX
        Connection(sock, self._protocol.stream(self._extensions, local), self._context, host)

    def _make_place(self, host: str) -> bool:
        """Disconnect an idle client for a new one of `host`; False if the new one has to give way itself."""
        self._shares.take(host)
        heaviest = self._shares.heaviest()
        self._shares.give_back(host)
        idle = self._clients.find_longest_idle(lambda each: each.host in heaviest)
        if idle is not None and host in heaviest and idle.host not in heaviest:
            self._limited_log.log(
                logging.WARNING,
                "%d clients are connected, and those of the address with most, %s, are all busy, so its new"
                " one was disconnected; have it connect less often, or raise --max-clients",
                len(self._clients),
                host,
            )
            self._stats.rpc_evicted += 1
            return False
        return self._evict(idle)

    def _evict_longest_idle(self) -> bool:
        heaviest = self._shares.heaviest()
        return self._evict(self._clients.find_longest_idle(lambda each: each.host in heaviest))

    def _evict(self, idle: Connection | None) -> bool:
        if idle is None:
            return False
        self._limited_log.log(
            logging.WARNING,
            "%d clients are connected, so the longest idle one, %s, was disconnected for a new one",
            len(self._clients),
            idle.client,
        )
        self._stats.rpc_evicted += 1
        idle.close()
        return True

    # --- limits in time ---------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweep_timer = self._loop.call_later(self._sweep_s(), self._sweep)
        overdue = self._clients.overdue(
            self._loop.now(), idle_s=self._idle_client_s, partial_frame_s=self._partial_frame_s
        )
        for connection in overdue:
            self._close_overdue(connection)

    def _close_overdue(self, connection: Connection) -> None:
        if stalled := connection.stalled:
            self._stats.rpc_stalled += 1
            self._limited_log.log(
                logging.WARNING,
                "the connection from %s is closed: the client %s; it has to connect again",
                connection.client,
                stalled,
                extra=about(client=connection.client),
            )
        else:
            self._stats.rpc_evicted += 1
            logger.debug("the connection from %s is closed: it was idle too long", connection.client)
        connection.close()
