"""A shard's flows: what it has moved into the kernel, and what the kernel counts for them.

The table of flows and the readings are maps that all shards share; each shard has readings of its own, slots,
and reads them through memory that it shares with the kernel, without a system call. The module knows what a
flow looks like (nh.fastpath.layout), not why there is one.
"""

import errno
import mmap
from collections.abc import Iterator
from typing import Final

from nh.calls.media import Endpoint
from nh.errors import KernelTableFull
from nh.fastpath import bpf, layout
from nh.fastpath.layout import COUNTERS_BYTES, READING_BYTES, Reading

_STRIDE: Final = READING_BYTES // 8
_EMPTY: Final = bytes(READING_BYTES)


class FlowTable:
    """The flows of one shard.

    Arguments:
        flows_fd, readings_fd: the maps, which stay open for as long as this is used.
        shard: whose flows, 0 to 65535.
        first_slot, slots: which readings are the shard's: one for what is past, and one for each flow.
        past: packets and bytes that count as relayed before.
        successor: whether a predecessor's flows are to be taken over (adopt_stale_flow), with its
        counters; else they are removed.

    All methods raise KernelPathUnavailable where the kernel refuses.
    """

    def __init__(
        self,
        flows_fd: int,
        readings_fd: int,
        *,
        shard: int,
        first_slot: int,
        slots: int,
        past: tuple[int, int] = (0, 0),
        successor: bool = False,
    ) -> None:
        self.shard = shard
        self._flows_fd = flows_fd
        self._memory = mmap.mmap(readings_fd, READING_BYTES * (first_slot + slots))
        self._words = memoryview(self._memory).cast("Q")
        self._first = first_slot
        self._end = first_slot + 1  # behind the highest slot that was ever used
        self._free = list(range(first_slot + slots - 1, first_slot, -1))
        self._size = 0
        self._left: dict[bytes, bytes] = {}
        if successor:
            self._find_left()
        else:
            self._clear()
            self._memory[first_slot * READING_BYTES :] = bytes(slots * READING_BYTES)
            self.add_past(*past)

    def __len__(self) -> int:
        """How many flows there are."""
        return self._size

    @property
    def room(self) -> int:
        """How many more flows find a slot."""
        return len(self._free)

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all flows that there ever were."""
        first, end = self._first * _STRIDE, self._end * _STRIDE
        return sum(self._words[first:end:_STRIDE]), sum(self._words[first + 1 : end : _STRIDE])

    def take_slot(self) -> int:
        """A slot for the readings of one flow, all zero. Raises KernelTableFull."""
        if not self._free:
            raise KernelTableFull("all slots of the shard are taken", errno=errno.E2BIG)
        slot = self._free.pop()
        self._end = max(self._end, slot + 1)
        return slot

    def free_slot(self, slot: int) -> None:
        """Give a slot back that no flow uses any more; its counters go into the totals."""
        self._clear_slot(slot)
        self._free.append(slot)

    def add(self, local: Endpoint, flow: layout.Flow) -> None:
        """Let the kernel relay what arrives at `local`. Raises KernelTableFull."""
        bpf.update(self._flows_fd, layout.pack_key(local), layout.pack_flow(flow), bpf.Update.NEW)
        self._size += 1

    def replace(self, local: Endpoint, flow: layout.Flow) -> None:
        """Let it relay in another way."""
        bpf.update(self._flows_fd, layout.pack_key(local), layout.pack_flow(flow), bpf.Update.REPLACE)

    def remove(self, local: Endpoint) -> None:
        """Leave to the socket what arrives at `local`; a packet that is on its way may still be counted."""
        bpf.delete(self._flows_fd, layout.pack_key(local))
        self._size -= 1

    # --- a predecessor's flows ------------------------------------------------------------------------

    def adopt_stale_flow(self, local: Endpoint) -> layout.Flow | None:
        """The flow at `local` that a predecessor left, which is ours from now on; None if there is none."""
        left = self._left.pop(layout.pack_key(local), None)
        if left is None:
            return None
        self._size += 1
        return layout.unpack_flow(left)

    def remove_stale_flows(self) -> None:
        """Remove what a predecessor left and nobody took."""
        for key, value in self._left.items():
            bpf.delete(self._flows_fd, key)
            self.free_slot(layout.unpack_flow(value).slot)
        self._left = {}

    def _find_left(self) -> None:
        ours = set(self._free)
        self._left = dict(self._own_flows())
        taken = {layout.unpack_flow(value).slot for value in self._left.values()} & ours
        self._end = max(taken | {self._first}) + 1
        # what had ended, and was not cleared away yet
        for slot in ours - taken:
            self._clear_slot(slot)
        self._free = sorted(ours - taken, reverse=True)

    def _clear_slot(self, slot: int) -> None:
        packets, size, _ = self.counters(slot)
        self.add_past(packets, size)
        self._memory[slot * READING_BYTES : (slot + 1) * READING_BYTES] = _EMPTY

    def add_past(self, packets: int, size_bytes: int) -> None:
        """Count what was relayed before into the totals."""
        # in the map's memory, so that a successor finds it
        self._words[self._first * _STRIDE] += packets
        self._words[self._first * _STRIDE + 1] += size_bytes

    # --- readings ---------------------------------------------------------------------------------

    def counters(self, slot: int) -> tuple[int, int, int]:
        """Packets, bytes and the time of the last packet (monotonic nanoseconds) of one flow."""
        at = slot * _STRIDE
        packets, size, last_seen_ns = self._words[at : at + 3]
        return packets, size, last_seen_ns

    def reading(self, slot: int) -> Reading:
        """Everything that is counted for one flow."""
        return layout.unpack_reading(self._memory[slot * READING_BYTES : (slot + 1) * READING_BYTES])

    def latest_payload_type(self, slot: int) -> int | None:
        """The RTP payload type that came last; None if no RTP came."""
        return layout.latest_payload_type(self._memory, slot)

    def write_streams(self, slot: int, reading: Reading) -> None:
        """Let the kernel go on from the streams of `reading`; its counters stay as they are."""
        start = slot * READING_BYTES + COUNTERS_BYTES
        self._memory[start : (slot + 1) * READING_BYTES] = layout.pack_reading(reading)[COUNTERS_BYTES:]

    def close(self) -> None:
        """Remove all flows and let go of the memory, whether or not the former can be done."""
        try:
            self._clear()
        finally:
            self._words.release()
            self._memory.close()

    def _clear(self) -> None:
        for key, _ in self._own_flows():
            bpf.delete(self._flows_fd, key)
        self._size = 0

    def _own_flows(self) -> Iterator[tuple[bytes, bytes]]:
        for key in list(self._keys()):
            value = bpf.lookup(self._flows_fd, key, layout.FLOW.size)
            if value is not None and layout.shard_of(value) == self.shard:
                yield key, value

    def _keys(self) -> Iterator[bytes]:
        # of a table that others change: some keys may come twice, none of ours is left out
        key = bpf.next_key(self._flows_fd, None, layout.KEY.size)
        while key is not None:
            yield key
            key = bpf.next_key(self._flows_fd, key, layout.KEY.size)
