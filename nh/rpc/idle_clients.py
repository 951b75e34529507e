"""Which RPC clients there are, and which of them has been idle the longest.

A client is busy while a request of its is under way, else idle since its last activity; besides that
it may have sent a part of a frame. All steps are O(1): there may be thousands of clients, and any of them may
do nothing for hours. The module knows nothing of sockets; times are handed in.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

ClientT = TypeVar("ClientT")


class IdleTracker(Generic[ClientT]):
    """The clients of a frontend. Times are monotonic seconds and never go back."""

    def __init__(self) -> None:
        self._busy: set[ClientT] = set()
        # both in the order of their times: what is overdue is at the front
        self._idle: OrderedDict[ClientT, float] = OrderedDict()
        self._torn: OrderedDict[ClientT, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._busy) + len(self._idle)

    def __iter__(self) -> Iterator[ClientT]:
        yield from list(self._busy)
        yield from list(self._idle)

    def add(self, client: ClientT, now: float) -> None:
        """A client came."""
        self._idle[client] = now

    def discard(self, client: ClientT) -> None:
        """A client left. No effect if it is not known."""
        self._busy.discard(client)
        self._idle.pop(client, None)
        self._torn.pop(client, None)

    def active(self, client: ClientT, now: float) -> None:
        """Bytes came from the client, or it took some."""
        if client in self._idle:
            self._idle[client] = now
            self._idle.move_to_end(client)

    def begin(self, client: ClientT) -> None:
        """The first of its requests is under way."""
        self._idle.pop(client, None)
        self._busy.add(client)

    def end(self, client: ClientT, now: float) -> None:
        """All of its requests are answered."""
        self._busy.discard(client)
        self._idle[client] = now

    def torn(self, client: ClientT, now: float) -> None:
        """It has sent a part of a frame; counted from the first time that this is said."""
        self._torn.setdefault(client, now)

    def whole(self, client: ClientT) -> None:
        """The frame is complete."""
        self._torn.pop(client, None)

    def find_longest_idle(self) -> ClientT | None:
        """Who has done nothing for the longest time, None if all are busy."""
        return next(iter(self._idle), None)

    def overdue(self, now: float, *, idle_s: float, torn_s: float) -> list[ClientT]:
        """Who has been idle for more than `idle_s` seconds, or within a frame for more than `torn_s`."""
        found: dict[ClientT, None] = {}
        for since, limit_s in ((self._idle, idle_s), (self._torn, torn_s)):
            for client, at in since.items():
                if now - at <= limit_s:
                    break
                found[client] = None
        return list(found)
