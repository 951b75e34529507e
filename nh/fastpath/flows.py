"""The flows of one shard: what the kernel relays for it, and what the kernel has counted for each flow.

All shards share two maps, `flows` and `counters`. Each shard owns a range of the counters map and reads it
through shared memory, without a system call. The module knows the layout of a flow (nh.fastpath.layout), not
the reason for one.
"""

import contextlib
import errno
import math
import mmap
from array import array
from collections.abc import Iterator
from typing import Final, Protocol

from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable, KernelTableFull
from nh.fastpath import bpf, layout
from nh.fastpath.layout import COUNTERS_BYTES, TOTALS_BYTES, FlowCounters

_STRIDE: Final = COUNTERS_BYTES // 8
_NEVER: Final = 2**64 - 1
_EMPTY: Final = bytes(COUNTERS_BYTES)


class FlowWatcher(Protocol):
    """Who wants to look at a flow after some packets."""

    def look(self, *, now: float) -> None:
        """Look at the flow (monotonic seconds)."""


class FlowTable:
    """The flows of one shard.

    Args:
        flows_fd, counters_fd: descriptors of the maps; they stay open as long as the table is used.
        shard: number of the shard, 0 to 65535.
        first_index, indexes: the shard's range of the counters map: one entry for the carry-over, then one
            for each flow.
        carry_over: packets and bytes that the totals begin with.
        successor: True: keep the flows and counters that a predecessor left, for adopt_stale_flow();
            False: remove them.

    Attributes:
        held: whether another process is to go on with the flows, so that their users change none.

    Raises:
        KernelPathUnavailable: the kernel refuses; so for every method.
    """

    def __init__(
        self,
        flows_fd: int,
        counters_fd: int,
        *,
        shard: int,
        first_index: int,
        indexes: int,
        carry_over: tuple[int, int] = (0, 0),
        successor: bool = False,
    ) -> None:
        self.shard = shard
        self.held = False
        self._flows_fd = flows_fd
        self._memory = mmap.mmap(counters_fd, COUNTERS_BYTES * (first_index + indexes))
        self._words = memoryview(self._memory).cast("Q")
        self._first = first_index
        self._end = first_index + 1  # behind the highest index that was ever used
        self._indexes = range(first_index + 1, first_index + indexes)
        self._free = list(reversed(self._indexes))
        self._share = indexes - 1
        self._due = array("Q", [_NEVER]) * indexes
        self._watchers: list[FlowWatcher | None] = []  # by index, as far as any was in use
        self._next_look = 0
        self._flows: dict[bytes, tuple[Endpoint, layout.FlowEntry]] = {}
        self._markers: dict[bytes, bytes] = {}  # the key of each, and that of its flow
        self._to_mark: dict[bytes, None] = {}  # keys of flows
        self._left: dict[bytes, bytes] = {}
        if successor:
            self.find_stale_flows()
        else:
            self._clear()
            self._memory[first_index * COUNTERS_BYTES :] = bytes(indexes * COUNTERS_BYTES)
            self.add_carry_over(*carry_over)

    def __len__(self) -> int:
        """How many flows there are."""
        return len(self._flows)

    @property
    def room(self) -> int:
        """How many more flows can be added."""
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

    def take_index(self) -> int:
        """Reserve a counter index for one flow; its counters are zero. Raises KernelTableFull."""
        if not self._free:
            raise KernelTableFull("all counter indexes of the shard are in use", errno=errno.E2BIG)
        index = self._free.pop()
        self._end = max(self._end, index + 1)
        return index

    def free_index(self, index: int) -> None:
        """Release the index of a flow that has ended; its counters go into the carry-over."""
        place = index - self._first
        self._due[place] = _NEVER
        if place < len(self._watchers):
            self._watchers[place] = None
        self._clear_index(index)
        self._free.append(index)

    def add(self, local: Endpoint, flow: layout.FlowEntry) -> None:
        """Let the kernel relay what arrives at `local`. Raises KernelTableFull."""
        key = layout.pack_key(local)
        if len(self._flows) + len(self._markers) >= self._share and self._markers:
            self._remove_marker(next(iter(self._markers)))
        bpf.update(self._flows_fd, key, layout.pack_flow(flow), bpf.Update.NEW)
        self._flows[key] = local, flow
        self._mark_later(key, layout.pack_key(flow.out))

    def replace(self, local: Endpoint, flow: layout.FlowEntry) -> None:
        """Change what the kernel does with packets for `local`."""
        key = layout.pack_key(local)
        bpf.update(self._flows_fd, key, layout.pack_flow(flow), bpf.Update.REPLACE)
        _, before = self._flows[key]
        self._flows[key] = local, flow
        if (before.out, before.target) != (flow.out, flow.target):
            self._unmark(key, before)
            self._mark_later(key, layout.pack_key(before.out), layout.pack_key(flow.out))

    def remove(self, local: Endpoint) -> None:
        """Leave packets for `local` to the socket; a packet in flight may still be counted."""
        key = layout.pack_key(local)
        bpf.delete(self._flows_fd, key)
        _, flow = self._flows.pop(key)
        self._unmark(key, flow)
        self._mark_later(layout.pack_key(flow.out))

    # --- markers: which flow the packets that leave by a port came by --------------------------------------

    def update_markers(self) -> None:
        """Mark the flows that need it since the last call; to be called once or twice a second.

        The directions of a call begin, and end, one after the other: in between, few flows need a marker.
        """
        keys, self._to_mark = self._to_mark, {}
        for key in keys:
            self._mark(key)

    def _mark_later(self, *keys: bytes) -> None:
        self._to_mark.update(dict.fromkeys(keys))

    def _mark(self, key: bytes) -> None:
        """Let the program find a flow by where its packets go to, where no opposite flow does so.

        A marker is a flow that takes no packet. With none, a router's "packet too big" is noticed later.

        Args:
            key: of the flow, if there is one.
        """
        if key not in self._flows:
            return
        local, flow = self._flows[key]
        opposite = self._flows.get(layout.pack_key(flow.out))
        if opposite is not None and opposite[1].out == local:
            self._unmark(key, flow)
            return
        marker = layout.pack_marker_key(flow.out, flow.target)
        if marker in self._markers or len(self._flows) + len(self._markers) >= self._share:
            return
        leads = layout.FlowEntry(
            source=flow.target,
            out=local,
            target=flow.source,
            ifindex=0,
            counter_index=0,
            mtu_bytes=0,
            shard=self.shard,
        )
        with contextlib.suppress(KernelPathUnavailable):
            bpf.update(self._flows_fd, marker, layout.pack_flow(leads), bpf.Update.NEW)
            self._markers[marker] = key

    def _unmark(self, key: bytes, flow: layout.FlowEntry) -> None:
        """Remove the marker of a flow, if it has one."""
        marker = layout.pack_marker_key(flow.out, flow.target)
        if self._markers.get(marker) == key:
            self._remove_marker(marker)

    def _remove_marker(self, marker: bytes) -> None:
        with contextlib.suppress(KernelPathUnavailable):
            bpf.delete(self._flows_fd, marker)
            del self._markers[marker]

    # --- a predecessor's flows ------------------------------------------------------------------------

    def find_stale_flows(self) -> None:
        """Find the flows that a predecessor left; before any flow is added or adopted.

        A predecessor that relays begins and ends flows: once it has stopped, find them again.
        """
        self._left = {}
        taken: set[int] = set()
        for key, value, owner in self._own_flows():
            if owner.mtu_bytes:
                self._left[key] = value
                taken.add(owner.counter_index)
            else:
                bpf.delete(self._flows_fd, key)
        self._free = [index for index in reversed(self._indexes) if index not in taken]
        for index in self._free:  # flows that had ended, but whose counters were not cleared yet
            self._clear_index(index)
        self._end = max(taken.intersection(self._indexes), default=self._first) + 1

    def has_stale_flow(self, local: Endpoint) -> bool:
        """Whether a predecessor left a flow at `local` that is not adopted yet."""
        return bool(self._left) and layout.pack_key(local) in self._left

    def adopt_stale_flow(self, local: Endpoint) -> layout.FlowEntry | None:
        """Take over the flow that a predecessor left at `local`; None: there is none."""
        left = self._left.pop(layout.pack_key(local), None)
        if left is None:
            return None
        flow = layout.unpack_flow(left)
        self._flows[layout.pack_key(local)] = local, flow
        self._mark_later(layout.pack_key(local), layout.pack_key(flow.out))
        return flow

    def remove_stale_flows(self) -> None:
        """Remove the flows of the predecessor that were not adopted."""
        for key, value in self._left.items():
            bpf.delete(self._flows_fd, key)
            self.free_index(layout.unpack_flow(value).counter_index)
        self._left = {}

    def _clear_index(self, index: int) -> None:
        counters = slice(index * COUNTERS_BYTES, (index + 1) * COUNTERS_BYTES)
        if self._memory[counters] == _EMPTY:
            return
        packets, size, _ = self.totals_of(index)
        self.add_carry_over(packets, size)
        self._memory[counters] = _EMPTY

    def add_carry_over(self, packets: int, size_bytes: int) -> None:
        """Add packets and bytes of ended flows to the totals."""
        # in the map's memory, so that a successor finds it
        self._words[self._first * _STRIDE] += packets
        self._words[self._first * _STRIDE + 1] += size_bytes

    # --- counters ---------------------------------------------------------------------------------

    def totals_of(self, index: int) -> tuple[int, int, int]:
        """Packets, bytes and the time of the last packet (monotonic nanoseconds) of one flow."""
        words, at = self._words, index * _STRIDE
        return words[at], words[at + 1], words[at + 2]

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

    def counters(self, index: int) -> FlowCounters:
        """Everything that is counted for one flow."""
        return layout.unpack_counters(self._memory[index * COUNTERS_BYTES : (index + 1) * COUNTERS_BYTES])

    def latest_payload_type(self, index: int) -> int | None:
        """The RTP payload type that came last; None if no RTP came."""
        return layout.latest_payload_type(self._memory, index)

    def write_streams(self, index: int, counters: FlowCounters) -> None:
        """Let the kernel go on from the streams in `counters`; the totals stay as they are."""
        start = index * COUNTERS_BYTES + TOTALS_BYTES
        self._memory[start : (index + 1) * COUNTERS_BYTES] = layout.pack_counters(counters)[TOTALS_BYTES:]

    def close(self) -> None:
        """Remove all flows and let go of the memory, whether or not the former can be done."""
        try:
            self._clear()
        finally:
            self._words.release()
            self._memory.close()

    def _clear(self) -> None:
        for key, _, _ in self._own_flows():
            bpf.delete(self._flows_fd, key)
        self._flows = {}
        self._markers = {}
        self._to_mark = {}

    def _own_flows(self) -> Iterator[tuple[bytes, bytes, layout.Owner]]:
        """Keys and values of this shard's flows, and of their markers."""
        for key, value in list(bpf.elements(self._flows_fd, layout.KEY.size, layout.FLOW.size)):
            owner = layout.owner_of(value)
            if owner.shard == self.shard:
                yield key, value, owner
