"""The call-ids of a table in order, for the pages of one list after another.

A page that sorted all calls anew would make a list cost the square of the calls. So the order is made for the
first page, in steps, and the pages that follow find their place in it.
"""

import bisect
import heapq
import itertools
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

from nh.calls.table import CallTable

KEEP_S: Final = 10.0
"""An order is used for so long. A client that pauses longer within a list has it made anew."""

RUN: Final = 256
"""Call-ids that one step sorts, or merges."""


class IdIndex:
    """The order of the call-ids of one relay, made when a list begins.

    Args:
        table: the calls.
        clock: monotonic seconds.
    """

    def __init__(self, table: CallTable, clock: Callable[[], float] = time.monotonic) -> None:
        self._table = table
        self._clock = clock
        self._ids: Sequence[bytes] | None = None
        self._made = 0.0

    def following(self, after: bytes) -> Generator[None, None, tuple[Sequence[bytes], int]]:
        """Make the order if a list begins or the order is too old; in steps.

        Args:
            after: b"" begins a list.

        Returns:
            All call-ids in order, and the index of the first one after `after`. Those of calls that began
            since may be missing, those of calls that ended since may be there.
        """
        ids = self._ids
        if ids is None or not after or self._clock() - self._made > KEEP_S:
            made = self._clock()
            ids = yield from _sorted_in_steps(list(self._table.call_ids))
            self._ids, self._made = ids, made
        return ids, bisect.bisect_right(ids, after)

    def forget(self) -> None:
        """Free the order: no list is being read."""
        self._ids = None


def _sorted_in_steps(ids: list[bytes]) -> Generator[None, None, list[bytes]]:
    runs: list[list[bytes]] = []
    for first in range(0, len(ids), RUN):
        yield
        runs.append(sorted(ids[first : first + RUN]))
    merging = heapq.merge(*runs)
    merged: list[bytes] = []
    while part := list(itertools.islice(merging, RUN)):
        yield
        merged += part
    return merged
