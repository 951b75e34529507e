"""Everything that proxies and operators speak to: the listening sockets, and what is served there.

The sockets listen from construction on, so that what is wrong with them shows before anything else begins,
and who connects early waits.
"""

import socket
from collections.abc import Iterator

from nh.address import parse_rpc_address
from nh.config import Settings
from nh.errors import ConfigError
from nh.loop import Loop
from nh.stats import SupervisorStats
from nh.supervisor.connection import Dispatch
from nh.supervisor.frontend import Frontend
from nh.supervisor.inheritance import Inheritance
from nh.supervisor.listeners import open_listeners
from nh.supervisor.ng_listeners import NgListener, open_ng_listeners
from nh.supervisor.ng_service import NgService


class Rpc:
    """See above. Close it.

    Arguments:
        loop: see Loop.
        settings: see Settings.
        stats: where connections and requests are counted.
        inheritance: sockets that listen already.

    Raises ConfigError saying which address, why, and what would do.
    """

    def __init__(
        self, loop: Loop, settings: Settings, stats: SupervisorStats, inheritance: Inheritance
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._stats = stats
        self._services: list[Frontend | NgService] = []
        self._ng_listeners: list[NgListener] = []
        self._listeners = open_listeners(
            [parse_rpc_address(text) for text in settings.rpc_addresses],
            mode=settings.rpc_mode_bits,
            public=settings.rpc_public,
            inheritance=inheritance,
        )
        try:
            self._ng_listeners = open_ng_listeners(
                settings.ng_addresses, public=settings.rpc_public, inheritance=inheritance
            )
        except ConfigError:
            self.close_listeners()
            raise

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return sum(service.clients for service in self._services)

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
        ng = NgService(
            self._loop,
            self._ng_listeners,
            dispatch,
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
        )
        self._services = [frontend, ng]

    def stop_accepting(self) -> None:
        """Let nobody in from now on; who is there is served as before."""
        for service in self._services:
            service.stop_accepting()

    def close(self) -> None:
        """Serve nobody any more; sockets listen on, who connects now waits."""
        for service in self._services:
            service.close()
        self._services = []

    def close_listeners(self) -> None:
        """Listen no more."""
        while self._listeners:
            self._listeners.pop().close()
        while self._ng_listeners:
            self._ng_listeners.pop().close()

    def let_go_of_listeners(self) -> None:
        """Have the listening sockets no more; whoever else has them listens on, where they were."""
        for _, sock in self._sockets():
            sock.close()

    def heirlooms(self) -> Iterator[tuple[tuple[str, str], int]]:
        """Each listening socket: what it is to an Inheritance, and its descriptor."""
        for what, sock in self._sockets():
            yield what, sock.fileno()

    def _sockets(self) -> Iterator[tuple[tuple[str, str], socket.socket]]:
        for listener in self._listeners:
            yield listener.heirloom, listener.sock
        for ng in self._ng_listeners:
            yield from ng.heirlooms
