"""A system that says no, to nh and its shards, as files in $TEST_FAULTS say; Python imports this first.

It is for what only a whole host can be made to run out of (memory for sockets, watches), and for clocks that
only a host can set. What nh asks of the system is answered in the system's stead; nh itself is as it is.

    socket      the name of an errno: what socket(2) says to who wants a UDP socket
    watch       the same of epoll_ctl(2), in shards
    watch_rpc   the same in the supervisor
    clock_s     seconds that the clock on the wall is ahead
    boot_id     what /proc says of the boot
"""

import errno
import os
import pathlib
import select
import selectors
import socket
import sys
import time

_FAULTS = os.environ.get("TEST_FAULTS", "")
_read_text = pathlib.Path.read_text
_time = time.time


def _said(fault: str) -> str:
    try:
        with open(f"{_FAULTS}/{fault}", encoding="ascii") as file:  # noqa: PTH123  # Path is what is changed here
            return file.read()
    except FileNotFoundError:
        return ""


def _refuse(fault: str) -> None:
    if name := _said(fault):
        number = getattr(errno, name)
        raise OSError(number, os.strerror(number))


def _refuse_socket(kind: int, fileno: int | None) -> None:
    if fileno is None and kind & 0xF == socket.SOCK_DGRAM:
        _refuse("socket")


class Socket(socket.socket):
    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        _refuse_socket(type, fileno)
        super().__init__(family, type, proto, fileno)


class SocketType(socket.SocketType):
    """What media sockets are."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        _refuse_socket(type, fileno)
        super().__init__(family, type, proto, fileno)


class Epoll:
    """select.epoll, which cannot be derived from; `fault` is what stands in the way of watching."""

    fault = "watch" if "nh.shard" in sys.orig_argv else "watch_rpc"

    def __init__(self) -> None:
        self._epoll = select_epoll()
        for name in ("close", "fileno", "modify", "poll", "unregister"):
            setattr(self, name, getattr(self._epoll, name))

    def register(self, fd: int, eventmask: int) -> None:
        _refuse(self.fault)
        self._epoll.register(fd, eventmask)


def read_text(path: pathlib.Path, encoding: str | None = None, errors: str | None = None) -> str:
    if str(path) == "/proc/sys/kernel/random/boot_id" and (said := _said("boot_id")):
        return said
    return _read_text(path, encoding, errors)


if _FAULTS:
    select_epoll = select.epoll
    socket.socket = Socket  # type: ignore[misc]
    socket.SocketType = SocketType  # type: ignore[assignment]
    select.epoll = Epoll  # type: ignore[assignment,misc]
    selectors.EpollSelector._selector_cls = Epoll  # type: ignore[attr-defined]  # it has the other already
    pathlib.Path.read_text = read_text  # type: ignore[assignment]
    time.time = lambda: _time() + float(_said("clock_s") or 0)
