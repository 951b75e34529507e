"""Which calls to look at for something that has expired, without a look at each call each time.

Packets only postpone the expiry of a call, so one that is not near is asked again before it is due. What a
command has changed is looked at next.
"""

from collections.abc import Mapping
from typing import Final, Protocol, TypeVar

AHEAD_S: Final = 10.0
"""Time between two looks at all calls; each finds those whose next expiry is due before the next one."""


class Expiring(Protocol):
    """A call, as far as expiry is concerned."""

    @property
    def next_expiry(self) -> float:
        """Monotonic seconds before which nothing of it can expire."""


C = TypeVar("C", bound=Expiring)


class ExpiryWatch:
    """The calls of one table that are near their next expiry."""

    def __init__(self) -> None:
        self._near: dict[bytes, None] = {}
        self._next_look = 0.0  # at all calls

    def add(self, call_id: bytes) -> None:
        """A call is new, or its `next_expiry` may be earlier than before."""
        self._near[call_id] = None

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
            self._next_look = now + AHEAD_S
            near = list(calls)
        else:
            near = [call_id for call_id in self._near if call_id in calls]
        self._near = {call_id: None for call_id in near if calls[call_id].next_expiry < self._next_look}
        return [call for call_id in self._near if (call := calls[call_id]).next_expiry <= now]
