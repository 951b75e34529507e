"""Opens the listening sockets for RPC, so that only those may connect who should.

Unix sockets have their mode from their first moment on, take the place of a file only if it is a socket on
which nobody listens, and are removed at the end if they are still ours. TCP sockets listen on loopback unless
the settings say otherwise: the protocols have no authentication.
"""

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from nh.address import RpcAddress, TcpAddress, UnixAddress
from nh.errors import ConfigError
from nh.ipc.inherited import NOTHING_INHERITED, InheritedFds

BACKLOG: Final = 1024
"""Most connections that wait in the kernel to be accepted (at most net.core.somaxconn)."""

PROBE_S: Final = 1.0
"""How long to wait for word from whoever may listen on an existing socket."""


class Listener:
    """A listening socket and where it is.

    Arguments:
        sock: bound and listening.
        address: where; a TCP port of 0 is replaced by the real one.
        heirloom: what it is to an InheritedFds: its kind, and where it was asked for.
    """

    def __init__(self, sock: socket.socket, address: RpcAddress, inherited: tuple[str, str]) -> None:
        self.sock = sock
        self.address = address
        self.inherited = inherited
        self._identity = _identity(address.path) if isinstance(address, UnixAddress) else None

    def close(self) -> None:
        """Listen no more; the file of a Unix socket is removed if it is still this socket's."""
        if isinstance(self.address, UnixAddress) and _identity(self.address.path) == self._identity:
            Path(self.address.path).unlink(missing_ok=True)
        self.sock.close()


def open_listeners(
    addresses: Iterable[RpcAddress],
    *,
    mode: int,
    public: bool,
    inherited: InheritedFds = NOTHING_INHERITED,
    tcp_kind: str = "tcp",
) -> list[Listener]:
    """Listen on every address; on none if one of them fails.

    Arguments:
        addresses: where.
        mode: permissions of Unix sockets, 0 to 0o777; connecting needs the right to write.
        public: allow TCP addresses that are not loopback.
        inherited: sockets that listen already, and are used as they are.
        tcp_kind: what TCP sockets are called there.

    Raises ConfigError saying which address, why, and what would do.
    """
    listeners: list[Listener] = []
    try:
        for address in addresses:
            kind = "unix" if isinstance(address, UnixAddress) else tcp_kind
            left = inherited.take_listener(kind, str(address))
            if left is not None:
                listeners.append(_use_on(left, address, kind))
            elif isinstance(address, UnixAddress):
                listeners.append(_open_unix(address, mode))
            else:
                listeners.append(_open_tcp(address, public, kind))
    except ConfigError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _use_on(sock: socket.socket, address: RpcAddress, kind: str) -> Listener:
    real = address if isinstance(address, UnixAddress) else TcpAddress(address.host, sock.getsockname()[1])
    return Listener(sock, real, (kind, str(address)))


# --- Unix sockets ---------------------------------------------------------------------------------


def _open_unix(address: UnixAddress, mode: int) -> Listener:
    path = Path(address.path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(f"RPC socket {path}: {path.parent} cannot be made: {exc.strerror}") from exc
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # the kernel gives the file the socket's own mode less the umask: never more than `mode`, not even
        # for a moment; what the umask took is given afterwards
        os.fchmod(sock.fileno(), mode)
        sock.bind(address.path)
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"RPC socket {path}: {exc.strerror}") from exc
    return Listener(sock, address, ("unix", str(address)))


def _clear_stale(path: Path) -> None:
    """Remove a socket file on which nobody listens; raise ConfigError for everything else that is there."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as exc:
        raise ConfigError(f"RPC socket {path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(
            f"RPC socket {path}: is a file that is no socket, so it is not removed; choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except PermissionError as exc:
            raise ConfigError(
                f"RPC socket {path}: exists, and this user may not find out whether another program listens"
                " on it; remove it or choose another path"
            ) from exc
        except OSError:  # its backlog is full, or it is of another type: somebody is there
            pass
    raise ConfigError(
        f"RPC socket {path}: another nh, or another program, listens on it; end that or choose another path"
    )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


# --- TCP sockets ----------------------------------------------------------------------------------


def _open_tcp(address: TcpAddress, public: bool, kind: str) -> Listener:
    family, host = _resolve(address)
    if not public and not ipaddress.ip_address(host).is_loopback:
        raise ConfigError(
            f"RPC address {address}: {host} is not loopback, and whoever can connect can close every"
            " call; if a firewall sees to that, allow it with --rpc-public (rpc_public)"
        )
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        sock.bind((host, address.port))
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"RPC address {address}: {_words_for(exc)}") from exc
    return Listener(sock, TcpAddress(address.host, sock.getsockname()[1]), (kind, str(address)))


def _resolve(address: TcpAddress) -> tuple[socket.AddressFamily, str]:
    """Family and IP address of a host; of a name's addresses an IPv4 one, if it has any."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as exc:
        raise ConfigError(f"RPC address {address}: {address.host!r} is no address: {exc}") from exc
    family, _type, _proto, _name, sockaddr = min(found, key=lambda each: each[0] != socket.AF_INET)
    return family, str(sockaddr[0])


def _words_for(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "another nh, or another program, listens on it; end that or choose another port"
    if exc.errno == errno.EADDRNOTAVAIL:
        return "is no address of this host"
    return exc.strerror or str(exc)
