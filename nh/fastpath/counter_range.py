"""One shard's range of the counters map: which entries its flows have, and what the kernel has counted there.

The shard reads and writes the map through shared memory, without a system call. The first entry of the range
is the carry-over: what flows that have ended forwarded. It lies in the map, so that a successor finds it.
"""

import errno
import math
import mmap
from array import array
from typing import Final, Protocol

from nh.errors import KernelTableFull
from nh.fastpath import layout
from nh.fastpath.layout import COUNTERS_BYTES, TOTALS_BYTES, FlowCounters

_STRIDE: Final = COUNTERS_BYTES // 8
_NEVER: Final = 2**64 - 1
_EMPTY: Final = bytes(COUNTERS_BYTES)


class FlowWatcher(Protocol):
    """Who wants to look at a flow after some packets."""

    def look(self, *, now: float) -> None:
        """Look at the flow (monotonic seconds)."""


class CounterRange:
    """The entries of one shard, each for one flow. Close it.

    Args:
        counters_fd: descriptor of the map.
        first: index of the carry-over; the flows' entries follow.
        size: how many entries there are, the carry-over included; 2 or more.
    """

    def __init__(self, counters_fd: int, first: int, size: int) -> None:
        self._memory = mmap.mmap(counters_fd, COUNTERS_BYTES * (first + size))
        self._words = memoryview(self._memory).cast("Q")
        self._first = first
        self._end = first + 1  # behind the highest index that was ever used
        self._indexes = range(first + 1, first + size)
        self._free = list(reversed(self._indexes))
        self._due = array("Q", [_NEVER]) * size
        self._watchers: list[FlowWatcher | None] = []  # by index, as far as any was in use
        self._next_look = 0

    @property
    def room(self) -> int:
        """How many entries are free."""
        return len(self._free)

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all flows that there ever were."""
        first, end = self._first * _STRIDE, self._end * _STRIDE
        return sum(self._words[first:end:_STRIDE]), sum(self._words[first + 1 : end : _STRIDE])

    @property
    def too_big_messages(self) -> int:
        """How many times a router said that a packet of this host was too big for it; it wraps around."""
        return layout.too_big_messages(self._memory)

    # --- which entries are in use -----------------------------------------------------------------

    def clear(self, carry_over: tuple[int, int]) -> None:
        """Begin anew, without the counters of a predecessor; before any entry is in use.

        Args:
            carry_over: packets and bytes that the totals begin with.
        """
        self._memory[self._first * COUNTERS_BYTES :] = bytes((len(self._indexes) + 1) * COUNTERS_BYTES)
        self.add_carry_over(*carry_over)

    def continue_from(self, taken: set[int]) -> None:
        """Go on from the counters of a predecessor; before any entry is in use.

        Args:
            taken: indexes of the flows that it left.
        """
        self._free = [index for index in reversed(self._indexes) if index not in taken]
        for index in self._free:  # flows that had ended, but whose counters were not cleared yet
            self._clear_index(index)
        self._end = max(taken.intersection(self._indexes), default=self._first) + 1

    def take_index(self) -> int:
        """Reserve the entry of one flow; its counters are zero.

        Raises:
            KernelTableFull: none is free.
        """
        if not self._free:
            raise KernelTableFull("all counter indexes of the shard are in use", errno=errno.E2BIG)
        index = self._free.pop()
        self._end = max(self._end, index + 1)
        return index

    def free_index(self, index: int) -> None:
        """Release the entry of a flow that has ended; its counters go into the carry-over."""
        place = index - self._first
        self._due[place] = _NEVER
        if place < len(self._watchers):
            self._watchers[place] = None
        self._clear_index(index)
        self._free.append(index)

    def add_carry_over(self, packets: int, size_bytes: int) -> None:
        """Add packets and bytes of ended flows to the totals."""
        self._words[self._first * _STRIDE] += packets
        self._words[self._first * _STRIDE + 1] += size_bytes

    def _clear_index(self, index: int) -> None:
        counters = slice(index * COUNTERS_BYTES, (index + 1) * COUNTERS_BYTES)
        if self._memory[counters] == _EMPTY:
            return
        packets, size, _ = self.totals_of(index)
        self.add_carry_over(packets, size)
        self._memory[counters] = _EMPTY

    # --- what is counted --------------------------------------------------------------------------

    def totals_of(self, index: int) -> tuple[int, int, int]:
        """Packets, bytes and the time of the last packet (monotonic nanoseconds) of one flow."""
        words, at = self._words, index * _STRIDE
        return words[at], words[at + 1], words[at + 2]

    def read(self, index: int) -> FlowCounters:
        """Everything that is counted for one flow."""
        return layout.unpack_counters(self.copy(index))

    def copy(self, index: int) -> bytes:
        """The same as bytes; see nh.fastpath.layout.unpack_counters."""
        return self._memory[index * COUNTERS_BYTES : (index + 1) * COUNTERS_BYTES]

    def latest_payload_type(self, index: int) -> int | None:
        """The RTP payload type that came last; None if no RTP came."""
        return layout.latest_payload_type(self._memory, index)

    def write_streams(self, index: int, counters: FlowCounters) -> None:
        """Let the kernel go on from the streams in `counters`; the totals stay as they are."""
        start = index * COUNTERS_BYTES + TOTALS_BYTES
        self._memory[start : (index + 1) * COUNTERS_BYTES] = layout.pack_counters(counters)[TOTALS_BYTES:]

    def replace_streams(self, index: int, before: bytes, counters: FlowCounters) -> bool:
        """Let the kernel go on from the streams in `counters`, unless it has counted a packet meanwhile.

        A packet that it counts between the comparison and the write, within a microsecond, is overwritten.

        Args:
            index: of the flow.
            before: what copy() returned when the change began; its streams became those in `counters`.
            counters: the totals stay as they are.

        Returns:
            Whether the streams are written.
        """
        memory, begin, end = self._memory, index * COUNTERS_BYTES, (index + 1) * COUNTERS_BYTES
        streams = layout.pack_counters(counters)[TOTALS_BYTES:]
        if memory[begin:end] != before:
            return False
        memory[begin + TOTALS_BYTES : end] = streams
        return True

    # --- which flows are looked at ----------------------------------------------------------------

    def look_at(self, index: int, packets: int, watcher: FlowWatcher) -> None:
        """Have find_due() return the watcher once the flow has forwarded so many packets."""
        place = index - self._first
        self._due[place] = packets
        self._watchers += [None] * (place + 1 - len(self._watchers))
        self._watchers[place] = watcher

    def find_due(self, share: float) -> list[FlowWatcher]:
        """The next part of a round over all flows: those that look_at() asked for.

        A flow costs a comparison in a list, and no object of its own is touched.

        Args:
            share: the part of all flows that is looked at, 0 to 1.
        """
        used = self._end - self._first
        begin = self._next_look if self._next_look < used else 0
        end = self._next_look = min(used, begin + math.ceil(used * share))
        at = self._first + begin
        packets = self._words[at * _STRIDE : (self._first + end) * _STRIDE : _STRIDE].tolist()
        due = zip(packets, self._due[begin:end], strict=True)
        found = [place for place, (count, wanted) in enumerate(due, begin) if count >= wanted]
        return [watcher for place in found if (watcher := self._watchers[place]) is not None]

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._memory.close()
