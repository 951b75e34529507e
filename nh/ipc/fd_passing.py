"""File descriptors that go with a record over a Unix socket (SCM_RIGHTS, unix(7))."""

import array
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from nh.errors import ChannelFull

MAX_FDS: Final = 200
"""Most descriptors with one record; the kernel's limit is 253 (SCM_MAX_FD)."""

_FD_BYTES: Final = array.array("i").itemsize
ANCILLARY_BYTES: Final = socket.CMSG_SPACE(MAX_FDS * _FD_BYTES)
"""Room that recvmsg(2) needs for the descriptors of one record."""

T = TypeVar("T")


def batches(items: Sequence[T]) -> Iterator[tuple[T, ...]]:
    """Split descriptors, or what goes with them, into batches for one record each: up to MAX_FDS."""
    for at in range(0, len(items), MAX_FDS):
        yield tuple(items[at : at + MAX_FDS])


def received_fds(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors among ancillary messages of recvmsg(2)."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % _FD_BYTES])
    return found.tolist()


def duplicate(fds: Sequence[int]) -> list[int]:
    """Duplicate descriptors. Raises ChannelFull if this process has no room for them."""
    copies: list[int] = []
    try:
        for fd in fds:
            copies.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))
    except OSError as exc:
        close_all(copies)
        raise ChannelFull(f"descriptors cannot be kept while they wait: {exc.strerror}") from exc
    return copies


def close_all(fds: list[int]) -> None:
    """Close descriptors, and empty the list."""
    while fds:
        os.close(fds.pop())
