"""When each stream sends: every stream on a clock of its own, all of them spread over the packet time.

A stream's clock ticks at `phase + k * interval` of the monotonic clock, for all k, in every worker and
whenever it started. So the streams of all workers are spread over the interval without talking to each
other. Knows neither sockets nor what is sent; times are nanoseconds, given by the caller.
"""

import heapq
import random
from typing import Final, Generic, TypeVar

_GOLDEN: Final = 0.618_033_988_749_894_9
"""Multiples of the golden ratio, modulo 1, are spread evenly however many there are (Weyl, Knuth 6.4)."""

T = TypeVar("T")


def phase_ns(stream: int, interval_ns: int) -> int:
    """Where in its interval a stream sends.

    Args:
        stream: counts the streams of a run, from 0.
        interval_ns: its packet time.
    """
    return int(stream * _GOLDEN % 1.0 * interval_ns)


def first_tick(now_ns: int, phase: int, interval_ns: int) -> int:
    """The first tick at or after `now_ns` of the clock with this phase and interval."""
    return now_ns + (phase - now_ns) % interval_ns


def report_delay_ns(interval_ns: int, rng: random.Random) -> int:
    """How long until the next RTCP report: half to one and a half intervals (RFC 3550 6.3.1)."""
    return int(interval_ns * rng.uniform(0.5, 1.5))


class Schedule(Generic[T]):
    """What is due when.

    Attributes:
        heap: (when an item is due, its place in the order in which they came, the item), for heapq.
    """

    __slots__ = ("_order", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, T]] = []
        self._order = 0

    def add(self, due_ns: int, item: T) -> None:
        """`item` is due at `due_ns`."""
        self._order += 1
        heapq.heappush(self.heap, (due_ns, self._order, item))
