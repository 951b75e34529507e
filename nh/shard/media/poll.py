"""The hot loop: serves readable media sockets, one packet each, in batches.

All media sockets are in one epoll object of their own, and only that object is added to the event loop. So
the packet path is the same under every event loop, and a command waits for one batch of packets at most,
however many sockets are readable.
"""

import logging
import select
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from nh.logs.throttle import RateLimitedLogger

logger = logging.getLogger(__name__)

BATCH: Final = 64
"""Most packets served before the event loop has its turn again: most of a millisecond."""

BATCH_S: Final = 0.001
"""A batch that takes longer ends before all is served: a packet may take ten times as long as others do, on a
busy host or because of what has to be done for it."""

LOOK: Final = 8
"""Packets between two looks at the time."""

FAILURES_S: Final = 10.0
"""Time between two lines of sockets that a bug keeps from being served."""

Subject = TypeVar("Subject")

Reader = Callable[[Subject], object]
"""Reads and handles one packet of a subject, which is a MediaSocket in a relay."""


class MediaPoll:
    """An epoll object with a reader and its subject for each descriptor.

    Thousands of sockets share a reader: what differs from one to the next is in its subject. A reader may set
    other readers. It must not remove descriptors: the batch may still hold them.

    Attributes:
        now: monotonic seconds of the current batch: what packets count with.
        out_of_time: whether the last batch has ended before all of it was served.
    """

    __slots__ = (
        "_after_batch",
        "_epoll",
        "_failures",
        "_left",
        "_readers",
        "_subjects",
        "now",
        "out_of_time",
    )

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: list[Reader[Any]] = []  # by descriptor
        self._subjects: list[Any] = []
        self._left: list[tuple[int, int]] = []  # readable, and not served by the last batch
        self._after_batch: list[Callable[[], object]] = []
        # each packet of a socket may meet the bug
        self._failures = RateLimitedLogger(logger, time.monotonic, FAILURES_S)
        self.now = time.monotonic()
        self.out_of_time = False

    def fileno(self) -> int:
        """The descriptor that is readable while a media socket is."""
        return self._epoll.fileno()

    def add(self, fd: int, reader: Reader[Subject], subject: Subject) -> None:
        """Watch `fd`; `reader` is called with `subject` while it is readable."""
        self._epoll.register(fd, select.EPOLLIN)
        if (more := fd + 1 - len(self._readers)) > 0:
            self._readers += [_no_reader] * more
            self._subjects += [None] * more
        self._readers[fd], self._subjects[fd] = reader, subject

    def get_reader(self, fd: int) -> Reader[Any]:
        """The reader of a watched descriptor."""
        return self._readers[fd]

    def set_reader(self, fd: int, reader: Reader[Any]) -> None:
        """Replace the reader of a watched descriptor; its subject stays."""
        self._readers[fd] = reader

    def remove(self, fd: int) -> None:
        """Stop watching. To be called before the descriptor is closed."""
        self._epoll.unregister(fd)
        self._readers[fd], self._subjects[fd] = _no_reader, None

    def call_after_batch(self, callback: Callable[[], object]) -> None:
        """Call `callback` once, after the last packet of the current batch. To be called by readers."""
        self._after_batch.append(callback)

    def serve(self, most: int = BATCH) -> int:
        """Serve one batch.

        It begins with what the last one has left: epoll(7) would report the same sockets first, again and
        again while they are flooded, and the others never.

        Args:
            most: most packets.

        Returns:
            How many packets were served, at most `most`.
        """
        ready = self._left[:most] or self._epoll.poll(0, most)
        self._left = self._left[most:]
        self.now = begun = time.monotonic()  # what waits may be served within a reader, which sets `now` anew
        self.out_of_time = False
        served = 0
        while True:
            some = ready[served : served + LOOK]
            self._serve(some)
            served += len(some)
            if served == len(ready):
                break
            if time.monotonic() - begun > BATCH_S:
                self.out_of_time = True
                self._left = ready[served:] + self._left
                break
        while self._after_batch:
            self._after_batch.pop()()
        return served

    def _serve(self, ready: list[tuple[int, int]]) -> None:
        readers, subjects = self._readers, self._subjects
        for fd, _ in ready:
            try:
                readers[fd](subjects[fd])
            except Exception:
                # a bug that one socket meets must not keep the others from being served
                self._failures.log(
                    logging.ERROR,
                    "media socket (fd %d) could not be served: its packet is lost",
                    fd,
                    exc_info=True,
                )

    def close(self) -> None:
        """Close the epoll object; the sockets in it stay open."""
        self._epoll.close()


def _no_reader(_: object) -> None:
    """What a descriptor has that is not watched."""
