"""Which clients are connected, and which of them has been idle the longest.

A client is busy while a request of it is under way, else idle since its last activity; besides, it may have
sent part of a frame. Every step is O(1), as there may be thousands of clients and each may do nothing for
hours. Knows no sockets; times are passed in.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

ClientT = TypeVar("ClientT")


class IdleTracker(Generic[ClientT]):
    """The clients of a frontend. Times are monotonic seconds and never go back."""

    def __init__(self) -> None:
        self._busy: set[ClientT] = set()
        # both in the order of their times: what is overdue is at the front
        self._idle: OrderedDict[ClientT, float] = OrderedDict()
        self._partial: OrderedDict[ClientT, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    @property
    def busy(self) -> int:
        """How many are busy."""
        return len(self._busy)

    def __iter__(self) -> Iterator[ClientT]:
        yield from list(self._busy)
        yield from list(self._idle)

    def add(self, client: ClientT, now: float) -> None:
        """Add a client that has connected."""
        self._idle[client] = now

    def discard(self, client: ClientT) -> None:
        """Remove a client. No effect if it is unknown."""
        self._busy.discard(client)
        self._idle.pop(client, None)
        self._partial.pop(client, None)

    def active(self, client: ClientT, now: float) -> None:
        """Note that the client sent or read bytes."""
        if client in self._idle:
            self._idle[client] = now
            self._idle.move_to_end(client)

    def begin(self, client: ClientT) -> None:
        """Note that the client's first request is under way."""
        self._idle.pop(client, None)
        self._busy.add(client)

    def end(self, client: ClientT, now: float) -> None:
        """Note that the client's last request has its reply."""
        self._busy.discard(client)
        self._idle[client] = now

    def partial_frame(self, client: ClientT, now: float) -> None:
        """Note that the client has sent part of a frame; its time counts from the first such call."""
        self._partial.setdefault(client, now)

    def complete_frame(self, client: ClientT) -> None:
        """Note that the frame is complete."""
        self._partial.pop(client, None)

    def find_longest_idle(self, preferred: Callable[[ClientT], bool] | None = None) -> ClientT | None:
        """The client that has been idle for the longest time; None if all are busy.

        Args:
            preferred: chooses among the idle ones; one that it does not choose is found if it chooses none.
        """
        if preferred is not None and (found := next(filter(preferred, self._idle), None)) is not None:
            return found
        return next(iter(self._idle), None)

    def overdue(self, now: float, *, idle_s: float, partial_frame_s: float) -> list[ClientT]:
        """The clients that are idle longer than `idle_s`, or within a frame longer than `partial_frame_s`."""
        found: dict[ClientT, None] = {}
        for since, limit_s in ((self._idle, idle_s), (self._partial, partial_frame_s)):
            for client, at in since.items():
                if now - at <= limit_s:
                    break
                found[client] = None
        return list(found)
