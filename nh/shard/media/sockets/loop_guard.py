"""The loop guard: what the relay sends to a local port has a decremented TTL, as behind a router.

A call may go through one relay twice, so a local port is a destination like any other. But legs that announce
the relay's ports to each other would pass a packet on for ever, because each pass sends it as a new packet.
Therefore a packet to a local port keeps its TTL (RFC 791 3.2; the hop limit of RFC 8200 3), less one: a
packet in a loop is dropped after MAX_HOPS passes, however many calls and shards the loop has. For all other
packets no TTL is read or set.
"""

import socket
import struct
from collections.abc import Iterable
from typing import Final

from nh.calls.media import Endpoint
from nh.shard.media.sockets.addresses import endpoint_of

MAX_HOPS: Final = 16
"""Most local ports that one packet passes; a sane chain of calls has two or three."""

_IP_RECVTTL: Final = 12  # linux/in.h; the socket module does not have it

_INT: Final = struct.Struct("=i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_INT.size)


class LocalPorts:
    """The media ports of this relay, those of all its shards. Ask with `endpoint in local_ports`.

    Args:
        ranges: (lowest, highest) port of each range, both included.
        addresses: addresses that the relay uses; add() adds one. Other addresses of the host are left out:
            another program may have ports of the same numbers there.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]], addresses: Iterable[str] = ()) -> None:
        self._ranges = tuple(ranges)
        self._addresses = set(addresses)

    def add(self, address: str) -> None:
        """The relay uses this address, too."""
        self._addresses.add(address)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint.address in self._addresses and any(
            low <= endpoint.port <= high for low, high in self._ranges
        )


def enable_ttl(sock: socket.SocketType) -> None:
    """Have the kernel report the TTL of each packet of a UDP socket to receive()."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)


def receive(sock: socket.SocketType, buffer: bytearray) -> tuple[int, Endpoint, int]:
    """Read the next packet into `buffer`.

    Returns:
        Its size in bytes, its source, and its TTL (0: the kernel does not report it).

    Raises:
        OSError: see recvmsg(2).
    """
    size, ancillary, _flags, address = sock.recvmsg_into([buffer], _ANCILLARY_BYTES)
    ttl = next((_INT.unpack(data)[0] for _level, _kind, data in ancillary if len(data) == _INT.size), 0)
    return size, endpoint_of(address), ttl


def send(sock: socket.SocketType, packet: memoryview, destination: Endpoint, ttl: int) -> None:
    """Send a packet with a TTL of 1 to 255.

    Raises:
        OSError: see sendmsg(2).
    """
    if sock.family == socket.AF_INET6:
        option = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(ttl))
    else:
        option = (socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(ttl))
    sock.sendmsg([packet], [option], 0, (destination.address, destination.port))
