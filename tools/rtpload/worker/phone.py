"""The sockets of a phone: RTP on an even port, RTCP on the odd one above (RFC 3550 11), with arrival times
from the kernel.

The kernel notes when a packet reached the socket, so that its latency does not depend on when this program
gets round to reading it. It also counts, for each socket, what it had to drop because the buffer was full.
"""

import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

from nh.address import socket_family

SO_TIMESTAMPNS: Final = 35
"""Linux's, as struct timespec (SO_TIMESTAMPNS_OLD); Python's socket module has no name for it."""

SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("=9I")
_DROPS: Final = 8
ANCILLARY_BYTES: Final = 64
"""Room for the timestamp and its header."""

RECEIVE_BUFFER_BYTES: Final = 1 << 18
_TRIES: Final = 200
_TIMESPEC: Final = struct.Struct("@ll")


class NoPorts(Exception):
    """No pair of ports is free, or no descriptors are; the message says which."""


def open_pair(address: str, *, rtcp: bool) -> list[socket.socket]:
    """A socket for RTP and, if wanted, one for RTCP, on free ports of `address`. Raises NoPorts."""
    for _ in range(_TRIES):
        media = _open(address, 0)
        port = media.getsockname()[1]
        if port % 2 == 0:
            if not rtcp:
                return [media]
            reports = _try_open(address, port + 1)
            if reports is not None:
                return [media, reports]
        media.close()
    raise NoPorts(
        f"{address} has no pair of free ports left: give the phones more addresses (--phone-address, as"
        " often as wanted; on loopback 127.0.0.2 and so on need no setting up)"
    )


def arrival_ns(ancillary: Sequence[tuple[int, int, bytes]]) -> int | None:
    """When the kernel got a packet, ns of the wall clock, or None if it does not say."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) == _TIMESPEC.size:
            seconds, rest_ns = _TIMESPEC.unpack(data)
            return int(seconds) * 1_000_000_000 + int(rest_ns)
    return None


def wall_clock_offset_ns() -> int:
    """How far the wall clock, the kernel's for arrivals, is ahead of the monotonic one.

    The best of some tries: a process that loses its CPU between two readings gets a wrong one.
    """
    tries = []
    for _ in range(5):
        before_ns, wall_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2))
    return min(tries)[1]


def dropped(sock: socket.socket) -> int:
    """How many packets the kernel dropped because this socket was full; 0 where it does not say."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, _MEMINFO.size)
    except OSError:
        return 0
    return int(_MEMINFO.unpack(data)[_DROPS]) if len(data) == _MEMINFO.size else 0


def _try_open(address: str, port: int) -> socket.socket | None:
    try:
        return _open(address, port)
    except NoPorts:
        return None


def _open(address: str, port: int) -> socket.socket:
    try:
        sock = socket.socket(socket_family(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as exc:
        raise NoPorts(f"a phone's socket cannot be opened: {exc.strerror}") from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((address, port))
    except OSError as exc:
        sock.close()
        raise NoPorts(f"a phone's socket cannot be bound to {address} port {port}: {exc.strerror}") from exc
    return sock
