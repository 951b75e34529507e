"""Hops: what the relay passes on to a port of its own has one hop less left, as behind a router.

A call may go through one relay twice, so an own port is a destination like any other. But legs that announce
the relay's ports to each other would pass a packet on for ever, because each pass sends it as a new one. So
a packet to an own port takes its hop limit along (TTL, RFC 791 3.2; RFC 8200 3), less one: packets of a loop
soon have none left, however many calls and shards it goes through, and those of a chain never notice. Others
are sent as ever: nothing is read or set for them.
"""

import socket
import struct
from collections.abc import Iterable
from typing import Final

from nh.calls.media import Endpoint

MAX_HOPS: Final = 16
"""Most own ports that one packet goes through; a sane chain of calls has two or three."""

_IP_RECVTTL: Final = 12  # linux/in.h; the socket module does not have it

_INT: Final = struct.Struct("=i")
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_INT.size)


class LocalPorts:
    """The media ports of this relay, those of all its shards. To be asked with `in`.

    Arguments:
        ranges: (lowest, highest) port of each range, both included.
        addresses: where they may be; add() adds one. Not all of the host's: another program's ports on one of
            those are nobody's own, though their numbers may lie in a range.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]], addresses: Iterable[str] = ()) -> None:
        self._ranges = tuple(ranges)
        self._addresses = set(addresses)

    def add(self, address: str) -> None:
        """There are, or may be, ports on this address."""
        self._addresses.add(address)

    def __contains__(self, endpoint: Endpoint) -> bool:
        return endpoint.address in self._addresses and any(
            low <= endpoint.port <= high for low, high in self._ranges
        )


def tell_hops(sock: socket.socket) -> None:
    """Let receive() learn the hop limits of a UDP socket's packets."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)


def receive(sock: socket.socket, buffer: bytearray) -> tuple[int, Endpoint, int]:
    """The next packet: its size, its source, and its hop limit (0 if the kernel does not tell).

    Raises OSError as recvmsg(2) does.
    """
    size, ancillary, _flags, address = sock.recvmsg_into([buffer], _ANCILLARY_BYTES)
    hops = next((_INT.unpack(data)[0] for _level, _kind, data in ancillary if len(data) == _INT.size), 0)
    return size, Endpoint(address[0], address[1]), hops


def send(sock: socket.socket, packet: memoryview, destination: Endpoint, hops: int) -> None:
    """Send a packet with a hop limit, 1 to 255. Raises OSError as sendmsg(2) does."""
    if sock.family == socket.AF_INET6:
        limit = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, _INT.pack(hops))
    else:
        limit = (socket.IPPROTO_IP, socket.IP_TTL, _INT.pack(hops))
    sock.sendmsg([packet], [limit], 0, (destination.address, destination.port))
