"""ng as a whole: every listener's UDP and TCP socket, and the one desk behind them."""

import logging
import socket
from collections.abc import Iterable, Sequence

from nh.loop import Loop
from nh.rpc.frontend import Frontend
from nh.rpc.ng.handler import NgHandler
from nh.rpc.ng.listeners import NgListener
from nh.rpc.ng.tcp import NgConnection
from nh.rpc.ng.udp import NgUdp
from nh.rpc.service import Dispatch, Service
from nh.stats.layout import SupervisorStats
from nh.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)


class NgContext:
    """Serves ng listeners from its construction on, until close().

    Arguments:
        loop: what watches the sockets.
        listeners: they stay the caller's to close.
        dispatch: executes a command and calls back once with its result; never raises.
        stats: where connections and requests are counted.
        idle_client_s, max_clients: of TCP connections, see Frontend.
    """

    def __init__(
        self,
        loop: Loop,
        listeners: Sequence[NgListener],
        dispatch: Dispatch,
        *,
        stats: SupervisorStats,
        idle_client_s: float = 300.0,
        max_clients: int = 4096,
    ) -> None:
        limited_log = RateLimitedLogger(logger, loop.now)
        desk = NgHandler(loop.now, dispatch, stats=stats, limited_log=limited_log)

        def connect(sock: socket.socket, service: Service) -> NgConnection:
            return NgConnection(sock, service, desk)

        self._udp = [
            NgUdp(loop, listener.udp, desk, stats=stats, limited_log=limited_log) for listener in listeners
        ]
        self._tcp = Frontend(
            loop,
            [listener.tcp.sock for listener in listeners],
            dispatch,
            stats=stats,
            idle_client_s=idle_client_s,
            max_clients=max_clients,
            connect=connect,
        )

    @property
    def clients(self) -> int:
        """How many TCP connections are open."""
        return self._tcp.clients

    def stop_accepting(self) -> None:
        """Take no requests over UDP and no new connections; open ones are served as before."""
        for udp in self._udp:
            udp.stop_reading()
        self._tcp.stop_accepting()

    def stop_reading(self) -> None:
        """Read nothing more from anybody; what was read is answered."""
        self.stop_accepting()
        self._tcp.stop_reading()

    def hand_on(self) -> list[socket.socket]:
        """Close, but for TCP connections that are between two requests: see Frontend."""
        for udp in self._udp:
            udp.close()
        return self._tcp.hand_on()

    def adopt(self, socks: Iterable[socket.socket]) -> None:
        """Serve TCP connections that somebody else accepted and handed on."""
        self._tcp.adopt(socks)

    def close(self) -> None:
        """Serve nobody any more."""
        for udp in self._udp:
            udp.close()
        self._tcp.close()
