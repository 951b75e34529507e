"""The kernel's notifications about links, addresses and routes, read in batches: a storm costs little.

After the first notification the socket is not read for a pause; then it is emptied, and the batch handed on.
The receive buffer bounds a batch: the kernel drops the rest, and the batch still says that something changed.
While notifications keep coming, the pause grows: a router with a full BGP table has thousands of changes a
second, and after each batch a shard looks up all its routes again.
"""

import errno
import socket
from collections.abc import Callable

from nh.fastpath.netlink.messages import RECEIVE_BYTES, open_socket
from nh.loop import Loop, Timer

PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
MAX_DATAGRAMS = 1024
"""Most that are read at once; the rest is read after the next pause."""

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1

OnEvents = Callable[[list[bytes]], None]


class Events:
    """A subscription to netlink multicast groups in the network namespace of the calling thread.

    Args:
        loop: calls back.
        groups: numbers RTNLGRP_… (linux/rtnetlink.h).
        on_events: gets the datagrams that came, in order. Some may be missing, all of them at worst.
        buffer_bytes: receive buffer, small if only the fact of a change counts; None: the default.

    Raises:
        OSError: the socket cannot be had.
    """

    def __init__(
        self, loop: Loop, groups: tuple[int, ...], on_events: OnEvents, *, buffer_bytes: int | None = None
    ) -> None:
        self._loop = loop
        self._on_events = on_events
        self._pause_s = PAUSE_S
        self._read_at = -MAX_PAUSE_S
        self._timer: Timer | None = None
        self._socket = open_socket()
        try:
            self._subscribe(groups, buffer_bytes)
            loop.add_reader(self._socket.fileno(), self._begin)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Nothing is called any more; no effect if closed before."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _subscribe(self, groups: tuple[int, ...], buffer_bytes: int | None) -> None:
        if buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def _begin(self) -> None:
        # without a reader there is no turn of the loop for each event of a storm
        self._loop.remove_reader(self._socket.fileno())
        again_soon = self._loop.now() - self._read_at < self._pause_s
        self._pause_s = min(MAX_PAUSE_S, self._pause_s * 2) if again_soon else PAUSE_S
        self._timer = self._loop.call_later(self._pause_s, self._finish)

    def _finish(self) -> None:
        self._timer = None
        datagrams = self._read()
        self._read_at = self._loop.now()
        # first: what is called may close this, or fail
        try:
            self._loop.add_reader(self._socket.fileno(), self._begin)
        except OSError:  # this user has no epoll watch left (max_user_watches)
            self._timer = self._loop.call_later(MAX_PAUSE_S, self._finish)
        self._on_events(datagrams)

    def _read(self) -> list[bytes]:
        datagrams: list[bytes] = []
        for _ in range(MAX_DATAGRAMS):
            try:
                datagrams.append(self._socket.recv(RECEIVE_BYTES))
            except OSError as error:  # EAGAIN: all are read; ENOMEM: what waits comes with the next batch
                if error.errno != errno.ENOBUFS:
                    break
        return datagrams
