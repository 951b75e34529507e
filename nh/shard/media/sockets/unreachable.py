"""Unreachable ends: what ICMP says of packets that a media socket sent, or the kernel path in its name.

The kernel queues these messages at the socket (IP_RECVERR), whether it is connected or not. While one waits,
the socket is readable in vain, so a reader that gets an error empties the queue.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Final

from nh.calls.media import Endpoint
from nh.shard.media.sockets.addresses import endpoint_of

MAX_MESSAGES: Final = 64
"""Most messages that are read in one go."""

_IP_RECVERR: Final = 11  # linux/in.h, linux/in6.h; the socket module does not have them
_IPV6_RECVERR: Final = 25

_ERROR: Final = struct.Struct("=IBBBBII")  # struct sock_extended_err (linux/errqueue.h)
_ANCILLARY_BYTES: Final = 512
_ICMP, _ICMP6 = 2, 3  # SO_EE_ORIGIN
_UNREACHABLE: Final = {_ICMP: 3, _ICMP6: 1}
"""The type of "destination unreachable" (RFC 792, RFC 4443 3.1)."""
_FRAGMENTATION_NEEDED: Final = 4


def queue_errors(sock: socket.SocketType, *, v6: bool) -> None:
    """Have the kernel queue the messages of ICMP about what a UDP socket, of IPv6 or IPv4, sent."""
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def read_unreachable(sock: socket.SocketType) -> Iterator[Endpoint]:
    """Empty the queue; yields for each "destination unreachable" where its packet had been sent to."""
    for _ in range(MAX_MESSAGES):
        try:
            _, ancillary, _, address = sock.recvmsg(0, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE)
        except OSError:
            return
        if any(map(_is_unreachable, (data for _, _, data in ancillary))):
            yield endpoint_of(address)


def _is_unreachable(data: bytes) -> bool:
    if len(data) < _ERROR.size:
        return False
    _, origin, kind, code, *_ = _ERROR.unpack_from(data)
    return kind == _UNREACHABLE.get(origin) and not (origin == _ICMP and code == _FRAGMENTATION_NEEDED)
