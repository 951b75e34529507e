"""Opens media sockets: on ports that the domain chose, from a descriptor of another process, or beside one.

Contract: a port is bound before SO_REUSEPORT is set, so no two programs share a port by accident, while a
successor that knows of it can bind it too. The same permits a second socket on the port of a connected one
(MediaSocket.beside).
"""

import contextlib
import errno
import functools
import os
import resource
import socket
from typing import Final

from nh.calls.media import Endpoint
from nh.errors import AddressUnavailable
from nh.ip_address import LINK_LOCAL, is_ipv6, is_link_local, is_unicast
from nh.shard.media.sockets.addresses import endpoint_of, family_of
from nh.shard.media.sockets.errors import refused_port
from nh.shard.media.sockets.loop_guard import enable_ttl
from nh.shard.media.sockets.media_socket import SOCKET_TYPE, MediaSocket
from nh.shard.media.sockets.unreachable import queue_errors

BESIDE_SHARE: Final = 0.75
"""Up to this share of its descriptors a process opens sockets beside connected ones: calls come first."""


def open_media_sockets(
    address: str, base: int, count: int, *, dscp: int = 0, shared: bool = False
) -> list[MediaSocket]:
    """Open `count` sockets on consecutive ports, or none.

    Args:
        address: a unicast IP address of this host.
        base: lowest port, 1 to 65535.
        count: number of ports, 1 or more.
        dscp: DiffServ code point of what is sent, 0 to 63 (RFC 2474 3).
        shared: whether another process of nh may have the ports.

    Raises:
        PortInUse: a port is taken.
        AddressUnavailable: the address cannot be bound.
        SocketsExhausted: the system has no descriptors or memory left.
    """
    if is_link_local(address):
        raise AddressUnavailable(f"{address} {LINK_LOCAL}")
    if not is_unicast(address):
        raise AddressUnavailable(f"{address} is not a unicast address: media cannot be announced there")
    sockets: list[MediaSocket] = []
    try:
        for port in range(base, base + count):
            sockets.append(_open(Endpoint(address, port), dscp, shared=shared))
    except OSError as exc:
        close_media_sockets(sockets)
        raise refused_port(exc, address, base + len(sockets)) from exc
    return sockets


def adopt_media_socket(fd: int, local: Endpoint) -> MediaSocket:
    """A media socket that another process opened. It is left as it is, connected or not.

    Args:
        fd: descriptor that the media socket owns from now on; it is closed if this fails.
        local: where it has to be bound.

    Raises:
        OSError: the descriptor is not that socket.
    """
    try:
        media_socket = MediaSocket(local, fd=fd)
    except OSError:  # it is no socket, so there is none to close it
        os.close(fd)
        raise
    try:
        is_at = media_socket.getsockname()[:2] == (local.address, local.port)
        if media_socket.type != socket.SOCK_DGRAM or not is_at:
            raise OSError(errno.EBADF, f"descriptor {fd} is not the socket at {local}")
        media_socket.setblocking(False)
    except OSError:
        media_socket.close()
        raise
    media_socket.adopted = True
    media_socket.lost = -1
    media_socket.keeps_peer = is_ipv6(local.address)  # perhaps
    with contextlib.suppress(OSError):  # ENOTCONN
        media_socket.peer = endpoint_of(media_socket.getpeername())
    return media_socket


def open_beside(media_socket: MediaSocket) -> socket.SocketType | None:
    """Open a socket beside one that is about to be connected, or that `keeps_peer`; bind_beside() follows.

    Returns:
        It, which is `media_socket.beside` now; None if the system has no room for it.
    """
    try:
        sock = socket.SocketType(family_of(media_socket.local), SOCKET_TYPE)
        _choose_sharing(sock, shared=True)
    except OSError:
        return None
    if sock.fileno() > _most_fds() * BESIDE_SHARE:
        sock.close()
        return None
    if media_socket.reads_ttl:
        enable_ttl(sock)
    media_socket.beside = sock
    return sock


def bind_beside(media_socket: MediaSocket) -> None:
    """Bind `media_socket.beside`: until the other is connected, packets of each source come to one of both.

    Raises:
        OSError: the system refuses.
    """
    assert media_socket.beside is not None
    media_socket.beside.bind((media_socket.address, media_socket.port))


def close_media_sockets(sockets: list[MediaSocket]) -> None:
    """Close all of `sockets`."""
    for media_socket in sockets:
        media_socket.close_beside()
        media_socket.close()


def _open(local: Endpoint, dscp: int, *, shared: bool) -> MediaSocket:
    v6 = is_ipv6(local.address)
    sock = MediaSocket(local)
    _bind(sock, local, shared=shared)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        queue_errors(sock, v6=v6)
        if dscp and v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
            # IP_TOS sets the priority that queueing disciplines go by, too; IPV6_TCLASS does not
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _tos_priority(dscp << 2))
        elif dscp:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    except OSError:
        sock.close()
        raise
    return sock


def _tos_priority(tos: int) -> int:
    """The priority (SO_PRIORITY) that Linux gives to packets with that TOS: rt_tos2priority()."""
    return (0, 2, 6, 4)[tos >> 3 & 3]


def _bind(sock: socket.SocketType, local: Endpoint, *, shared: bool) -> None:
    """Bind a new socket to `local`; shared: beside one that is bound there.

    Raises:
        OSError: the system refuses; the socket is closed.
    """
    try:
        _choose_sharing(sock, shared=shared)
        sock.bind((local.address, local.port))
    except OSError:
        sock.close()
        raise


def _choose_sharing(sock: socket.SocketType, *, shared: bool) -> None:
    """Have a new socket share no port of IPv4, and its own with another socket if it is `shared`."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


@functools.cache
def _most_fds() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
