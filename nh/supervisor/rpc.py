"""The listening sockets of all protocols (nh.rpc.protocols), and the frontends that serve them.

The sockets listen from construction on, so that a wrong address ends the start before anything else begins;
clients that connect early wait.
"""

import contextlib
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from nh.config import Settings
from nh.errors import ConfigError, NhError
from nh.ipc.inherited import Inherited
from nh.loop import Loop
from nh.rpc.events import Dispatch
from nh.rpc.frontend import Frontend
from nh.rpc.listeners import Listener, listener_names, open_listeners
from nh.rpc.protocols import PROTOCOLS, ServedProtocol
from nh.rpc.unix_sockets import admit_group
from nh.stats import SupervisorStats


def rpc_listener_names(settings: Settings) -> Iterator[tuple[str, str]]:
    """What Inherited.take_listener() calls each listening socket that Rpc has with these settings."""
    for protocol in PROTOCOLS:
        yield from listener_names(protocol, protocol.addresses(settings))


class Rpc:
    """Listens for all protocols, and serves them between serve() and close() or release_connections().

    Args:
        loop: watches the sockets.
        settings: addresses and limits.
        stats: counts connections and requests.
        inherited: sockets that listen already, and open connections, which wait until serve().

    Raises:
        ConfigError: an address cannot be used; the message says which, why, and what to do.
        NotNow: an address is in use, or is not on this host.
    """

    def __init__(self, loop: Loop, settings: Settings, stats: SupervisorStats, inherited: Inherited) -> None:
        self._loop = loop
        self._settings = settings
        self._stats = stats
        self._frontends: dict[str, Frontend] = {}  # by the protocol's name
        self._waiting: dict[str, list[socket.socket]] = {}  # connections that no frontend serves now
        self._listeners: dict[str, list[Listener]] = {}
        self._admit_group()
        try:
            for protocol in PROTOCOLS:
                self._listeners[protocol.name] = open_listeners(
                    protocol,
                    protocol.addresses(settings),
                    mode=0o600 if protocol.private else settings.rpc_mode_bits,
                    group=None if protocol.private else settings.rpc_group_id,
                    public=settings.rpc_public,
                    inherited=inherited,
                )
        except NhError:
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.undo()
            raise
        self._waiting = {protocol.name: inherited.take_connections(protocol.name) for protocol in PROTOCOLS}

    @property
    def clients(self) -> int:
        """Number of open connections."""
        return sum(frontend.clients for frontend in self._frontends.values())

    def __str__(self) -> str:
        """The addresses, for the `ready` line."""
        served = (
            (protocol.name, self._listeners[protocol.name]) for protocol in PROTOCOLS if not protocol.private
        )
        return "; ".join(f"{name} {' '.join(map(str, each))}" for name, each in served if each)

    def first_address(self, protocol: ServedProtocol) -> str:
        """The first address at which nh listens for a protocol; "" if there is none."""
        return next((str(listener) for listener in self._listeners[protocol.name]), "")

    def serve(self, dispatch: Dispatch) -> None:
        """Serve clients from now on."""
        for protocol in PROTOCOLS:
            waiting = self._waiting.pop(protocol.name, [])
            # a protocol without addresses is not even loaded
            if waiting or self._listeners[protocol.name]:
                self._frontends[protocol.name] = frontend = self._frontend(protocol, dispatch)
                frontend.adopt(waiting)

    def _frontend(self, protocol: ServedProtocol, dispatch: Dispatch) -> Frontend:
        listeners = self._listeners[protocol.name]
        return Frontend(
            self._loop,
            [listener.sock for listener in listeners],
            dispatch,
            protocol=protocol,
            datagrams=[listener.udp for listener in listeners if listener.udp is not None],
            stats=self._stats,
            idle_client_s=self._settings.idle_client_s,
            max_clients=self._settings.max_clients,
            lenient=self._settings.ng_lenient,
            notifies=bool(self._settings.timeout_socket),
        )

    def change_limits(self, idle_client_s: float, max_clients: int) -> None:
        """Use these limits from now on, before serve() too; see Frontend."""
        self._settings = msgspec.structs.replace(
            self._settings, idle_client_s=idle_client_s, max_clients=max_clients
        )
        for frontend in self._frontends.values():
            frontend.change_limits(idle_client_s, max_clients)

    def renew_sockets(self) -> None:
        """Listen again where another program has removed the file of a Unix socket; clients are served on."""
        for name, frontend in self._frontends.items():
            for listener in self._listeners[name]:
                if listener.is_in_place or not frontend.may_replace(listener.sock):
                    continue
                with contextlib.suppress(ConfigError):  # the log has why there is no socket
                    self._admit_group()  # the directory may have been removed, too
                other = listener.listen_again()
                if other is not None:
                    frontend.replace(listener.sock, other)

    def _admit_group(self) -> None:
        group = self._settings.rpc_group_id
        if group is not None:
            admit_group(self._settings.runtime_path, group)

    def stop_accepting(self) -> None:
        """Accept no clients and read no datagrams any more; open connections are served on."""
        for frontend in self._frontends.values():
            frontend.stop_accepting()

    def stop_reading(self) -> None:
        """Accept and read nothing more; requests that were read get their replies, everything else waits."""
        for frontend in self._frontends.values():
            frontend.stop_reading()

    def release_connections(self) -> Mapping[str, Sequence[int]]:
        """Serve no more; clients between two requests, and those that connect now, wait for the next process.

        Returns:
            The descriptors of the connections by protocol; they stay open here until close_handed_over().
        """
        self._waiting = {name: frontend.release_connections() for name, frontend in self._frontends.items()}
        self._frontends = {}
        return {name: [sock.fileno() for sock in socks] for name, socks in self._waiting.items()}

    def close(self) -> None:
        """Serve no more and close every connection; the sockets listen on, so new clients wait."""
        for frontend in self._frontends.values():
            frontend.close()
        self._frontends = {}
        self._close_waiting()

    def stop_listening(self) -> None:
        """Take no connections any more; requests over UDP that were read still get their replies."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.stop_listening()

    def close_listeners(self) -> None:
        """Stop listening, and send no more over UDP."""
        for frontend in self._frontends.values():
            frontend.close_datagrams()
        for listeners in self._listeners.values():
            while listeners:
                listeners.pop().close()

    def close_handed_over(self, keep: Collection[tuple[str, str]] | None = None) -> None:
        """Close this process's copies of what was handed over; the next process keeps listening.

        Args:
            keep: names of listening sockets that stay open, as do all connections; None: nothing does.
        """
        for what, sock in self._sockets():
            if keep is None or what not in keep:
                sock.close()
        if keep is None:
            self._close_waiting()

    def _close_waiting(self) -> None:
        for socks in self._waiting.values():
            while socks:
                socks.pop().close()

    def inherited(self) -> Iterator[tuple[tuple[str, str], int]]:
        """What Inherited.take_listener() calls each listening socket, and its descriptor."""
        for what, sock in self._sockets():
            yield what, sock.fileno()

    def _sockets(self) -> Iterator[tuple[tuple[str, str], socket.socket]]:
        for listeners in self._listeners.values():
            for listener in listeners:
                yield from listener.handed_over
