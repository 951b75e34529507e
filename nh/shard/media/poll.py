"""The hot loop: which media sockets are readable, and whose turn it is.

All media sockets are in one epoll object of their own, and only that is added to the event loop: the
packet path is the same under every loop, and a command waits for one batch of packets at most, however
many sockets are readable.
"""

import logging
import select
import time
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

BATCH: Final = 128
"""Packets served before the event loop has its turn again."""

Reader = Callable[[], object]


class MediaPoll:
    """An epoll object with one reader a descriptor.

    `now` is the monotonic time of the batch that is being served: the only clock reading of the packet path.
    A reader may set other readers, but must not remove descriptors: the batch may still hold them.
    """

    __slots__ = ("_epoll", "_readers", "now")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self.now = time.monotonic()

    def fileno(self) -> int:
        """The descriptor that is readable while a media socket is."""
        return self._epoll.fileno()

    def add(self, fd: int, reader: Reader) -> None:
        """Watch `fd`; `reader` reads one packet whenever there is one."""
        self._epoll.register(fd, select.EPOLLIN)
        self._readers[fd] = reader

    def set_reader(self, fd: int, reader: Reader) -> None:
        """Another reader for a descriptor that is watched."""
        self._readers[fd] = reader

    def remove(self, fd: int) -> None:
        """Watch it no more. Call it before the descriptor is closed."""
        self._epoll.unregister(fd)
        del self._readers[fd]

    def serve(self) -> int:
        """Serve one batch of what is readable now; returns how many sockets that were, BATCH at most."""
        readers = self._readers
        ready = self._epoll.poll(0, BATCH)
        self.now = time.monotonic()
        for fd, _ in ready:
            try:
                readers[fd]()
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                logger.exception("a media socket could not be served")
        return len(ready)

    def close(self) -> None:
        """Let go of the epoll object; the sockets in it stay open."""
        self._epoll.close()
