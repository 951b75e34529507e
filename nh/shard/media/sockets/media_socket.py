"""Media sockets, connected to their latched source; `opening` opens them.

Beside a connected socket stands an unconnected one on the same port, to which the kernel gives the packets of
all other sources. The module knows nothing of the rules of calls.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from nh.calls.leg import Leg
from nh.calls.media import Endpoint
from nh.calls.rare import Rare
from nh.calls.reception import Offload
from nh.ip_address import is_ipv6
from nh.shard.media.sockets.addresses import family_of, socket_address
from nh.shard.media.sockets.loop_guard import enable_ttl

SOCKET_TYPE: Final = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")
_RECEIVED_BYTES: Final = 0
_DROPS: Final = 8
"""Numbers of values: SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_DROPS (linux/sock_diag.h)."""

_LEAST_OCCUPIED: Final = 512
"""No packet occupies less in a receive buffer, in bytes: its sk_buff, its data, and skb_shared_info."""

_IN_DELIVERY: Final = 8
"""Packets that other CPUs may be about to add to a receive buffer, where others wait: one each."""

NOT_ENLARGED: Final = (0, 0)

_libc = ctypes.CDLL(None, use_errno=True)
# struct sockaddr with sa_family AF_UNSPEC: what connect(2) dissolves an association with
_UNSPECIFIED = (ctypes.c_char * 16)()


class Output(Protocol):
    """What packets of a leg are sent with: a socket that is connected to their destination, or a function."""

    def send(self, packet: memoryview, /) -> object:
        """Send one packet. Raises OSError if the kernel refuses it."""


class MediaSocket(socket.SocketType):
    """One UDP port of the relay: a socket of the system, non-blocking, and what the relay knows of it.

    One object, because a relay has thousands of them: Python's own class would be a second one for each.

    Args:
        local: where it is bound, or is to be bound.
        fd: descriptor of an open socket; None: open a new one.

    Attributes:
        address, port: `local`.
        leg: the leg that receives here, the oldest of several; None: no leg does. See `legs`.
        output: of its only leg, if fast readers send what comes (nh.shard.media.pipeline.fast_readers).
        peer: the source that the socket is connected to, None: it gets the packets of all sources.
        beside: the socket that gets the packets of other sources than `peer`; None unless `peer` is set or
            `keeps_peer`. It is not handed over: what it carries is nothing that a call needs.
        keeps_peer: whether the kernel gives this socket no packets of other addresses than its last peer's,
            although it is disconnected. Linux leaves that address in sockets of IPv6 (__udp_disconnect).
        reads_ttl: whether packets are read with nh.shard.media.sockets.loop_guard.receive().
        flow: what forwards in the kernel what arrives here, or None; nh.shard.media.kernel sets it.
        call_id: the call that the socket belongs to.
        older: how many packets may still wait here, at most, from before the socket was connected: of any
            source.
        adopted: whether another process opened it, which may have connected it.
        lost: how many packets the kernel had lost here when that was counted last (`buffers` beside this
            module); -1: another process counted.
        enlarged: how many bytes its receive buffer, and that of `beside`, are larger than the default.
    """

    __slots__ = (
        "address",
        "beside",
        "call_id",
        "enlarged",
        "flow",
        "keeps_peer",
        "leg",
        "older",
        "output",
        "peer",
        "port",
        "rare",
    )

    adopted = Rare(False)
    lost = Rare(0)
    reads_ttl = Rare(False)
    _further_legs = Rare[tuple[Leg, ...]](())  # of forks
    _lost_beside = Rare(0)  # by sockets beside that are closed

    def __init__(self, local: Endpoint, *, fd: int | None = None) -> None:
        if fd is None:
            socket.SocketType.__init__(self, family_of(local), SOCKET_TYPE)
        else:
            socket.SocketType.__init__(self, fileno=fd)
        self.rare: dict[str, Any] | None = None
        self.call_id = b""
        self.enlarged = NOT_ENLARGED
        self.flow: Offload | None = None
        self.address, self.port = local.address, local.port
        self.leg: Leg | None = None
        self.output: Output | None = None
        self.peer: Endpoint | None = None
        self.older = 0
        self.beside: socket.SocketType | None = None
        self.keeps_peer = False

    @property
    def local(self) -> Endpoint:
        """Where it is bound. It is made when it is needed, because no packet needs it."""
        return Endpoint(self.address, self.port)

    @property
    def dscp(self) -> int:
        """DiffServ code point of what it sends, 0 to 63; the kernel knows it, and few ask for it."""
        if self.family == socket.AF_INET6:
            return self.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS) >> 2
        return self.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) >> 2

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The legs that receive here."""
        if self.leg is None:
            return ()
        return (self.leg,) if self.rare is None else (self.leg, *self._further_legs)

    @legs.setter
    def legs(self, legs: tuple[Leg, ...]) -> None:
        self.leg = legs[0] if legs else None
        self._further_legs = legs[1:]

    def join(self, leg: Leg) -> None:
        """Let this leg receive here, beside those that do."""
        if self.leg is None:
            self.leg = leg
        else:
            self._further_legs += (leg,)

    def leave(self, legs: Sequence[Leg]) -> None:
        """Let these legs receive here no more."""
        if self.rare is not None and self._further_legs:
            self.legs = tuple([other for other in self.legs if other not in legs])
        elif self.leg in legs:
            self.leg = None

    @property
    def has_protocols(self) -> bool:
        """Whether STUN and DTLS are for the relay (nh.shard.media.protocols)."""
        return any(leg.ice is not None or leg.dtls is not None for leg in self.legs)

    @property
    def connected(self) -> bool:
        """Whether the kernel gives this socket the packets of one source only."""
        return self.peer is not None

    @property
    def is_open_to_all(self) -> bool:
        """Whether this socket alone gets the packets of all sources, as when it was opened."""
        return self.peer is None and self.beside is None and not self.keeps_peer

    def read_ttl(self, wanted: bool) -> None:
        """Choose whether the TTL of packets is read from now on."""
        if wanted == self.reads_ttl:
            return
        if wanted:
            enable_ttl(self)
            if self.beside is not None:
                enable_ttl(self.beside)
        self.reads_ttl = wanted

    def connect_to(self, peer: Endpoint) -> bool:
        """Let the kernel give this socket the packets of `peer` only, and those of others to `beside`.

        Returns:
            Whether the kernel agreed: it needs a route to the peer. To port 0 it would agree, and give this
                socket the packets of all ports of the address.
        """
        if not peer.port:
            return False
        try:
            # connect(2) replaces the peer of a socket, with no moment in between
            self.connect(socket_address(peer))
        except OSError:
            return False
        self.peer = peer
        self.keeps_peer = is_ipv6(self.address)
        self.older = _most_waiting(self)
        return True

    def disconnect(self, *, certain: bool = True) -> None:
        """Get packets of any source again (connect(2) with AF_UNSPEC); the port stays bound.

        Args:
            certain: False: another process may have connected the socket meanwhile.
        """
        if self.peer is not None or not certain:
            _libc.connect(self.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))
            self.peer = None
            self.older = 0

    def close_beside(self) -> None:
        """Close `beside`; packets that wait there are lost."""
        if self.beside is not None:
            self._lost_beside += _lost_packets(self.beside)
            self.beside.close()
            self.beside = None

    def lost_packets(self) -> int:
        """How many packets the kernel has lost here, and beside, for lack of room or for wrong checksums."""
        lost = _lost_packets(self) + self._lost_beside
        return lost if self.beside is None else lost + _lost_packets(self.beside)


def _lost_packets(sock: socket.SocketType) -> int:
    info = _memory_info(sock)
    return 0 if info is None else info[_DROPS]


def _most_waiting(sock: socket.SocketType) -> int:
    """How many packets wait in a socket, at most; 0: none."""
    info = _memory_info(sock)
    most = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) if info is None else info[_RECEIVED_BYTES]
    return -(-most // _LEAST_OCCUPIED) + _IN_DELIVERY if most else 0


def _memory_info(sock: socket.SocketType) -> tuple[int, ...] | None:
    """What SO_MEMINFO says; None: the kernel does not have it (before Linux 4.12)."""
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError as exc:
        if exc.errno != errno.ENOPROTOOPT:
            raise
        return None
    return _MEMINFO.unpack(info)


def socket_of(leg: Leg) -> MediaSocket:
    """The socket where a leg receives; in a shard all of them are media sockets."""
    assert isinstance(leg.socket, MediaSocket)
    return leg.socket


def sockets_of(legs: Iterable[Leg]) -> dict[MediaSocket, None]:
    """All sockets of legs, each once: several of one leg where ICE offers its end a choice."""
    found: dict[Any, None] = {}  # in a shard all of them are media sockets
    for leg in legs:
        found[leg.socket] = None
        if leg.rare is not None and leg.candidates:
            found.update(dict.fromkeys(leg.candidates))
    return found


def connected_socket_of(leg: Leg) -> MediaSocket:
    """The one of its sockets that is connected: `leg.socket`, until a check of this batch has moved it."""
    return next(each for each in sockets_of([leg]) if each.connected)
