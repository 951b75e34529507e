"""Opens the sockets of ng: for each address one for UDP and one for TCP, on the same port.

As with all RPC, addresses that are not loopback need the operator's word: ng has no authentication, and the
sender of a datagram can be forged.
"""

import contextlib
import errno
import socket
from collections.abc import Iterable
from typing import Final

from nh.address import TcpAddress
from nh.errors import ConfigError
from nh.ipc.inherited import NOTHING_INHERITED, InheritedFds
from nh.rpc.listeners import Listener, open_listeners

RECEIVE_BYTES: Final = 1024 * 1024
"""Room in the kernel for datagrams that wait (at most net.core.rmem_max)."""

_TCP: Final = "ng-tcp"
_UDP: Final = "ng-udp"

_ATTEMPTS: Final = 16
"""How often a free port is looked for that is free for UDP, too."""


class NgListener:
    """The two sockets of one address.

    Arguments:
        udp: bound.
        tcp: see Listener.
    """

    def __init__(self, udp: socket.socket, tcp: Listener) -> None:
        self.udp = udp
        self.tcp = tcp

    def __str__(self) -> str:
        return str(self.tcp.address)

    @property
    def inherited(self) -> list[tuple[tuple[str, str], socket.socket]]:
        """What the two are to an InheritedFds."""
        kind, address = self.tcp.inherited
        return [((kind, address), self.tcp.sock), ((_UDP, address), self.udp)]

    def close(self) -> None:
        """Listen no more."""
        self.udp.close()
        self.tcp.close()


def open_ng_listeners(
    addresses: Iterable[TcpAddress], *, public: bool, inherited: InheritedFds = NOTHING_INHERITED
) -> list[NgListener]:
    """Listen on every address; on none if one of them fails.

    Arguments:
        addresses: where; port 0 takes one that is free for both.
        public: allow addresses that are not loopback.
        inherited: sockets that are bound already, and are used as they are.

    Raises ConfigError saying which address, why, and what would do.
    """
    with contextlib.ExitStack() as opened:
        listeners = []
        for address in addresses:
            listener = _open(address, public, inherited)
            opened.callback(listener.close)
            listeners.append(listener)
        opened.pop_all()
        return listeners


def _open(address: TcpAddress, public: bool, inherited: InheritedFds) -> NgListener:
    udp = inherited.take_listener(_UDP, str(address))
    for attempt in range(_ATTEMPTS):
        (tcp,) = open_listeners([address], mode=0, public=public, inherited=inherited, tcp_kind=_TCP)
        try:
            return NgListener(udp or _open_udp(tcp.sock), tcp)
        except OSError as exc:
            tcp.close()
            if address.port or exc.errno != errno.EADDRINUSE or attempt == _ATTEMPTS - 1:
                raise ConfigError(f"ng address {address}: UDP: {exc.strerror}; choose another port") from exc
    raise AssertionError  # the last attempt has returned or raised


def _open_udp(tcp: socket.socket) -> socket.socket:
    """A UDP socket where `tcp` listens."""
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
