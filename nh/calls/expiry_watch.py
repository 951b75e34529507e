"""Which calls to look at for something that has expired, without a look at each call each time.

Packets only postpone the expiry of a call, so one that is not near is asked again before it is due. Those
that are near, a third of all where media expire after 30 s, wait in the order of their times. What a command
or expiry itself has changed is looked at next.
"""

import heapq
import operator
from collections.abc import Mapping
from itertools import compress
from typing import Final, Protocol, TypeVar

AHEAD_S: Final = 10.0
"""Time between two looks at all calls; each finds those whose next expiry is due before the next one."""

_next_expiry: Final = operator.attrgetter("next_expiry")


class Expiring(Protocol):
    """A call, as far as expiry is concerned."""

    @property
    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing of it can expire."""


C = TypeVar("C", bound=Expiring)


class ExpiryWatch:
    """The calls of one table that are near their next expiry."""

    def __init__(self) -> None:
        self._changed: dict[bytes, None] = {}  # since the last look
        self._near: list[tuple[float, bytes]] = []  # a heap; one that has changed is there twice
        self._next_look = 0.0  # at all calls

    def add(self, call_id: bytes) -> None:
        """A call is new, or its `next_expiry` may be earlier than before."""
        self._changed[call_id] = None

    def look_at_all(self) -> None:
        """The `next_expiry` of any call may be earlier than before."""
        self._next_look = 0.0

    def find_due(self, calls: Mapping[bytes, C], *, now: float) -> list[C]:
        """The calls in which something can have expired.

        Args:
            calls: all calls by call-id.
            now: monotonic seconds.
        """
        if now >= self._next_look:
            self._look_at_all(calls, now + AHEAD_S)
        else:
            for call_id in self._changed:
                if (call := calls.get(call_id)) is not None and call.next_expiry < self._next_look:
                    heapq.heappush(self._near, (call.next_expiry, call_id))
        due: dict[bytes, C] = {}
        while self._near and self._near[0][0] <= now:
            _, call_id = heapq.heappop(self._near)
            if (call := calls.get(call_id)) is not None and call.next_expiry <= now:
                due[call_id] = call
        self._changed = dict.fromkeys(due)  # what is done with them changes when they are due next
        return list(due.values())

    def _look_at_all(self, calls: Mapping[bytes, C], next_look: float) -> None:
        """Find those that are near: without a step in Python for each call, as there may be ten thousand."""
        self._next_look = next_look
        times = [*map(_next_expiry, calls.values())]
        self._near = list(compress(zip(times, calls, strict=True), map(next_look.__gt__, times)))
        heapq.heapify(self._near)
