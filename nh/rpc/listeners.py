"""Opens the listening sockets of a protocol, so that only clients with permission can connect.

For Unix sockets see nh.rpc.unix_sockets. TCP and UDP sockets listen on loopback unless the settings allow
other addresses: the protocols have no authentication, and the sender of a datagram can be forged.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Protocol

from nh.address import RpcAddress, TcpAddress, UnixAddress
from nh.errors import ConfigError, NhError, NotNow
from nh.exposure import Exposure, check_loopback
from nh.ipc.inherited import NOTHING_INHERITED, Inherited
from nh.reasons import reason
from nh.rpc.protocols import RPC
from nh.rpc.unix_sockets import BACKLOG, SocketFile, check_directory, is_stale, open_unix, renew_access

RECEIVE_BYTES: Final = 1024 * 1024
"""Receive buffer of a UDP socket in bytes (the kernel's own limit: net.core.rmem_max)."""

_ATTEMPTS: Final = 16
"""Most TCP ports that are tried for one that is free for UDP, too, where the address has port 0."""


class Served(Protocol):
    """What is served at a listening socket.

    Attributes:
        name: what its sockets are called in logs and in a handover.
        udp: whether each address has a UDP socket beside the TCP socket, on the same port.
        exposure: what follows if other hosts reach it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def udp(self) -> bool: ...  # noqa: D102

    @property
    def exposure(self) -> Exposure: ...  # noqa: D102


class Listener:
    """The sockets of one address.

    Args:
        protocol: what is served there.
        sock: bound and listening.
        address: where it listens; the real port in place of port 0.
        asked: the address as the settings have it, by which the next process finds the sockets.
        udp: the UDP socket beside it, bound to the same port, if the protocol has one.
        inherited: whether another process listened there before.
        file: of a Unix socket.
    """

    def __init__(
        self,
        protocol: Served,
        sock: socket.socket,
        address: RpcAddress,
        asked: RpcAddress,
        udp: socket.socket | None = None,
        *,
        inherited: bool = False,
        file: SocketFile | None = None,
    ) -> None:
        self.sock = sock
        self.udp = udp
        self.address = address
        self._protocol = protocol
        self._asked = asked
        self._inherited = inherited
        self._file = file

    def __str__(self) -> str:
        return str(self.address)

    @property
    def handed_over(self) -> Iterator[tuple[tuple[str, str], socket.socket]]:
        """What Inherited.take_listener() calls each socket, and the socket."""
        sockets = [self.sock] if self.udp is None else [self.sock, self.udp]
        yield from zip(listener_names(self._protocol, [self._asked]), sockets, strict=True)

    def stop_listening(self) -> None:
        """Take no connections any more; the UDP socket stays open for replies.

        The file of a Unix socket is removed if it is still this socket's.
        """
        if self._file is not None:
            self._file.remove()
        self.sock.close()

    @property
    def is_in_place(self) -> bool:
        """Whether clients find it: no other program has removed or replaced the file of a Unix socket."""
        return self._file is None or self._file.is_in_place

    def listen_again(self) -> socket.socket | None:
        """Listen with another socket, which is to take the place of `sock`; see SocketFile.listen_again()."""
        return self._file.listen_again() if self._file is not None else None

    def close(self) -> None:
        """Stop listening, and close the UDP socket, too."""
        self.stop_listening()
        self._close_sockets()

    def undo(self) -> None:
        """As close(), because nh cannot start: a process before this one may go on at what was inherited."""
        if self._inherited:
            self._close_sockets()
        else:
            self.close()

    def _close_sockets(self) -> None:
        self.sock.close()
        if self.udp is not None:
            self.udp.close()


def open_listeners(
    protocol: Served,
    addresses: Iterable[RpcAddress],
    *,
    mode: int = 0o600,
    group: int | None = None,
    public: bool = False,
    inherited: Inherited = NOTHING_INHERITED,
) -> list[Listener]:
    """Listen on every address, or on none if one fails.

    Args:
        protocol: what is to be served.
        addresses: where; port 0 takes a port that is free for all sockets of the address.
        mode: permissions of Unix sockets, 0 to 0o777; a client needs the permission to write.
        group: number of the group of Unix sockets; None: this process's.
        public: allow TCP addresses that are not loopback.
        inherited: sockets that listen already; files of Unix sockets get `mode` and `group`, too.

    Raises:
        ConfigError: an address cannot be used; the message says which, why, and what to do.
        NotNow: an address is in use, or is not on this host.
    """
    with contextlib.ExitStack() as opened:
        listeners = []
        for address in addresses:
            if isinstance(address, UnixAddress):
                taken = inherited.take_listener(_kind(protocol, "unix"), str(address))
                if taken is not None:
                    renew_access(protocol.name, address, mode, group)
                sock = taken or open_unix(protocol.name, address, mode, group)
                file = SocketFile(protocol.name, address, mode, group)
                listener = Listener(protocol, sock, address, address, inherited=taken is not None, file=file)
            else:
                listener = _open_port(protocol, address, public, inherited)
            opened.callback(listener.undo)
            listeners.append(listener)
        opened.pop_all()
        return listeners


def listener_names(protocol: Served, addresses: Iterable[RpcAddress]) -> Iterator[tuple[str, str]]:
    """What Inherited.take_listener() calls the sockets of these addresses.

    Args:
        protocol: what is served there.
        addresses: as the settings have them.
    """
    for address in addresses:
        unix = isinstance(address, UnixAddress)
        yield _kind(protocol, "unix" if unix else "tcp"), str(address)
        if protocol.udp and not unix:
            yield _kind(protocol, "udp"), str(address)


def check_listeners(
    protocol: Served,
    addresses: Iterable[RpcAddress],
    *,
    public: bool,
    had: Callable[[RpcAddress], bool],
    made_later: Path,
) -> None:
    """Check that open_listeners() could listen on every address, and leave nothing behind.

    Args:
        protocol, addresses, public: see open_listeners().
        had: whether another process may listen at an address rightly; then it is not tried.
        made_later: a directory that is made before the sockets.

    Raises:
        ConfigError, NotNow: see open_listeners().
    """
    for address in addresses:
        if isinstance(address, UnixAddress):
            path = Path(address.path)
            if path.parent != made_later:
                check_directory(protocol.name, path)
            if not had(address):
                is_stale(protocol.name, path)
        elif had(address):
            _allowed(protocol, address, public)
        else:
            _open_port(protocol, address, public, NOTHING_INHERITED).close()


def _open_port(protocol: Served, address: TcpAddress, public: bool, inherited: Inherited) -> Listener:
    udp = inherited.take_listener(_kind(protocol, "udp"), str(address)) if protocol.udp else None
    for attempt in range(_ATTEMPTS):
        sock = inherited.take_listener(_kind(protocol, "tcp"), str(address))
        sock = sock or _open_tcp(protocol, address, public)
        try:
            if protocol.udp:
                udp = udp or _open_udp(sock)
        except OSError as exc:
            sock.close()
            if address.port or exc.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                raise _cannot_listen(protocol.name, address, exc, "UDP: ") from exc
        else:
            real = TcpAddress(address.host, sock.getsockname()[1])
            return Listener(protocol, sock, real, address, udp)
    raise AssertionError  # the last attempt has returned or raised


def _kind(protocol: Served, transport: str) -> str:
    return transport if protocol is RPC else f"{protocol.name}-{transport}"


# --- TCP and UDP sockets --------------------------------------------------------------------------


def _open_tcp(protocol: Served, address: TcpAddress, public: bool) -> socket.socket:
    family, host = _allowed(protocol, address, public)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.bind((host, address.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise _cannot_listen(protocol.name, address, exc) from exc
    return sock


def _allowed(protocol: Served, address: TcpAddress, public: bool) -> tuple[socket.AddressFamily, str]:
    """Family and IP address of a host at which nh may listen."""
    family, host = _resolve(protocol.name, address)
    if not public:
        check_loopback(protocol.name, address, host, protocol.exposure)
    return family, host


def _open_udp(tcp: socket.socket) -> socket.socket:
    """A UDP socket on the address and port of `tcp`."""
    udp = socket.socket(tcp.family, socket.SOCK_DGRAM)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if tcp.family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        udp.bind(tcp.getsockname()[:2])
    except BaseException:
        udp.close()
        raise
    return udp


def resolved(setting: str, address: RpcAddress) -> RpcAddress:
    """The address at which nh listens: with the IP address of a host name.

    Args:
        setting: the setting with the address, for the message.
        address: as it was set.

    Raises:
        NotNow: the name cannot be resolved.
    """
    if not isinstance(address, TcpAddress):
        return address
    return TcpAddress(_resolve(setting, address)[1], address.port)


def _resolve(setting: str, address: TcpAddress) -> tuple[socket.AddressFamily, str]:
    """Family and IP address of a host; of a name's addresses an IPv4 one, if it has any."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        why = exc.strerror if isinstance(exc, socket.gaierror) else "it is no host name"
        raise NotNow(
            f"{setting}: {address}: {address.host!r} cannot be resolved: {why}; name an IP address"
        ) from exc
    family, _type, _proto, _name, sockaddr = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(sockaddr[0])


def _cannot_listen(setting: str, address: TcpAddress, exc: OSError, transport: str = "") -> NhError:
    if exc.errno == errno.EADDRINUSE:
        return NotNow(
            f"{setting}: {address}: {transport}another nh, or another program, listens on it; end that or"
            " choose another port"
        )
    if exc.errno == errno.EADDRNOTAVAIL:
        return NotNow(
            f"{setting}: {address}: this host does not have the address; `ip address` lists those that it has"
        )
    if exc.errno == errno.EACCES:
        return ConfigError(
            f"{setting}: {address}: {transport}the user of nh may not listen on that port; choose one of 1024"
            " or above, or give nh CAP_NET_BIND_SERVICE"
        )
    return ConfigError(f"{setting}: {address}: {transport}{reason(exc)}; choose another address")
