"""Everything that proxies and operators speak to: the listening sockets, and what is served there.

The sockets listen from construction on, so that what is wrong with them shows before anything else begins,
and who connects early waits.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from nh.address import parse_rpc_address
from nh.config import Settings
from nh.errors import ConfigError
from nh.ipc.inherited import InheritedFds
from nh.loop import Loop
from nh.rpc.frontend import Frontend
from nh.rpc.listeners import open_listeners
from nh.rpc.ng.listeners import NgListener, open_ng_listeners
from nh.rpc.ng.service import NgContext
from nh.rpc.service import Dispatch
from nh.stats import SupervisorStats

RPC: Final = "rpc"
NG: Final = "ng"
"""What connections are to an InheritedFds: their protocol (Net::SIP's and the native one go together)."""


class Rpc:
    """See above. Close it.

    Arguments:
        loop: see Loop.
        settings: see Settings.
        stats: where connections and requests are counted.
        inherited: sockets that listen already, and open connections, which wait until they are served.

    Raises ConfigError saying which address, why, and what would do.
    """

    def __init__(
        self, loop: Loop, settings: Settings, stats: SupervisorStats, inherited: InheritedFds
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._stats = stats
        self._services: dict[str, Frontend | NgContext] = {}  # by protocol
        self._waiting: dict[str, list[socket.socket]] = {}  # connections that nobody serves now
        self._ng_listeners: list[NgListener] = []
        self._listeners = open_listeners(
            [parse_rpc_address(text) for text in settings.rpc_addresses],
            mode=settings.rpc_mode_bits,
            public=settings.rpc_public,
            inherited=inherited,
        )
        try:
            self._ng_listeners = open_ng_listeners(
                settings.ng_addresses, public=settings.rpc_public, inherited=inherited
            )
        except ConfigError:
            self.close_listeners()
            raise
        self._waiting = {protocol: inherited.take_connections(protocol) for protocol in (RPC, NG)}

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return sum(service.clients for service in self._services.values())

    def __str__(self) -> str:
        """Where it is served, for people."""
        ng = f"; ng {' '.join(map(str, self._ng_listeners))}" if self._ng_listeners else ""
        return f"rpc {' '.join(str(listener.address) for listener in self._listeners)}{ng}"

    def serve(self, dispatch: Dispatch) -> None:
        """Begin."""
        frontend = Frontend(
            self._loop,
            [listener.sock for listener in self._listeners],
            dispatch,
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
        )
        ng = NgContext(
            self._loop,
            self._ng_listeners,
            dispatch,
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
        )
        self._services = {RPC: frontend, NG: ng}
        for protocol, service in self._services.items():
            service.adopt(self._waiting.pop(protocol))

    def stop_accepting(self) -> None:
        """Let nobody in from now on; who is there is served as before."""
        for service in self._services.values():
            service.stop_accepting()

    def stop_reading(self) -> None:
        """Read nothing more from anybody; what was read is answered, and everything else waits."""
        for service in self._services.values():
            service.stop_reading()

    def release_connections(self) -> Mapping[str, Sequence[int]]:
        """Serve nobody any more; who is between two requests, and who connects now, waits for the next nh.

        Returns the descriptors of their connections, by protocol; they stay this one's too, until
        close_handed_over().
        """
        self._waiting = {protocol: service.hand_on() for protocol, service in self._services.items()}
        self._services = {}
        return {protocol: [sock.fileno() for sock in socks] for protocol, socks in self._waiting.items()}

    def close(self) -> None:
        """Serve nobody any more; sockets listen on, who connects now waits."""
        for service in self._services.values():
            service.close()
        self._services = {}
        self._close_waiting()

    def close_listeners(self) -> None:
        """Listen no more."""
        while self._listeners:
            self._listeners.pop().close()
        while self._ng_listeners:
            self._ng_listeners.pop().close()

    def close_handed_over(self) -> None:
        """Have what was handed on no more; whoever else has the listening sockets listens where they were."""
        for _, sock in self._sockets():
            sock.close()
        self._close_waiting()

    def _close_waiting(self) -> None:
        for socks in self._waiting.values():
            while socks:
                socks.pop().close()

    def inherited(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Each listening socket: what it is to an InheritedFds, and its descriptor."""
        for what, sock in self._sockets():
            yield what, sock.fileno()

    def _sockets(self) -> Iterator[tuple[tuple[str, str], socket.socket]]:
        for listener in self._listeners:
            yield listener.inherited, listener.sock
        for ng in self._ng_listeners:
            yield from ng.inherited
