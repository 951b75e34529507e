"""A shard's flows: what it has moved into the kernel, and what the kernel counts for them.

The table of flows and the readings are maps that all shards share; each shard has readings of its own, slots, and
reads them through memory that it shares with the kernel, without a system call. The module knows what a flow looks
like (nh.fastpath.layout), not why there is one.
"""

import contextlib
import mmap
from typing import Final

from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable
from nh.fastpath import bpf, layout

_WORD_BYTES: Final = 8
_STRIDE: Final = layout.READING_BYTES // _WORD_BYTES
_EMPTY: Final = bytes(layout.READING_BYTES)


class FlowTable:
    """The flows of one shard.

    Arguments:
        flows_fd, readings_fd: the maps, which stay open for as long as this is used.
        shard: whose flows, 0 to 65535.
        first_slot, slots: which readings are the shard's.

    What a predecessor of the same number left in the maps is removed.
    """

    def __init__(self, flows_fd: int, readings_fd: int, *, shard: int, first_slot: int, slots: int) -> None:
        self.shard = shard
        self._flows_fd = flows_fd
        self._first = first_slot
        self._memory = mmap.mmap(readings_fd, layout.READING_BYTES * (first_slot + slots))
        self._words = memoryview(self._memory).cast("Q")
        self._free = list(range(first_slot + slots - 1, first_slot - 1, -1))
        self._end = first_slot  # behind the highest slot that was ever used
        self._past_packets = 0
        self._past_bytes = 0
        self._size = 0
        self._clear()

    def __len__(self) -> int:
        """How many flows there are."""
        return self._size

    @property
    def room(self) -> bool:
        """Whether one more flow finds a slot."""
        return bool(self._free)

    def take_slot(self) -> int:
        """A slot for the readings of one flow, empty. Raises KernelPathUnavailable if all are taken."""
        if not self._free:
            raise KernelPathUnavailable("the table of flows in the kernel is full; raise kernel_flows")
        slot = self._free.pop()
        self._end = max(self._end, slot + 1)
        return slot

    def free_slot(self, slot: int) -> None:
        """Give a slot back; its counters go into the totals."""
        packets, size, _ = self.read(slot)
        self._past_packets += packets
        self._past_bytes += size
        self.write(slot, _EMPTY)
        self._free.append(slot)

    def put(self, local: Endpoint, value: bytes, *, new: bool) -> None:
        """Let the kernel relay what arrives at `local`, by `value` (layout.pack_flow).

        Raises KernelPathUnavailable if the kernel does not take it.
        """
        try:
            bpf.update_element(self._flows_fd, layout.pack_key(local), value)
        except OSError as exc:
            raise KernelPathUnavailable(f"the kernel does not take the flow at {local}: {exc.strerror}") from exc
        self._size += new

    def remove(self, local: Endpoint) -> None:
        """Leave to the socket what arrives at `local`; a packet that is on its way may still be counted."""
        with contextlib.suppress(FileNotFoundError):
            bpf.delete_element(self._flows_fd, layout.pack_key(local))
        self._size -= 1

    def read(self, slot: int) -> tuple[int, int, int]:
        """Packets, bytes and the time of the last packet (monotonic nanoseconds) of one flow."""
        start = slot * _STRIDE
        packets, size, last_seen_ns = self._words[start : start + 3].tolist()
        return packets, size, last_seen_ns

    def reading(self, slot: int) -> bytes:
        """Everything that the kernel counts for one flow, as layout.unpack_reading takes it."""
        start = slot * layout.READING_BYTES
        return self._memory[start : start + layout.READING_BYTES]

    def write(self, slot: int, reading: bytes) -> None:
        """Set what the kernel goes on from."""
        start = slot * layout.READING_BYTES
        self._memory[start : start + layout.READING_BYTES] = reading

    @property
    def totals(self) -> tuple[int, int]:
        """Packets and bytes of all flows that there ever were."""
        first, end = self._first * _STRIDE, self._end * _STRIDE
        return (
            self._past_packets + sum(self._words[first:end:_STRIDE]),
            self._past_bytes + sum(self._words[first + 1 : end : _STRIDE]),
        )

    def close(self) -> None:
        """Remove all flows and let go of the memory."""
        self._clear()
        self._words.release()
        self._memory.close()

    def _clear(self) -> None:
        """Remove the shard's flows, and begin its readings anew."""
        for key in list(bpf.keys(self._flows_fd, layout.KEY_BYTES)):
            value = bpf.find_element(self._flows_fd, key, layout.FLOW_BYTES)
            if value is not None and layout.shard_of(value) == self.shard:
                with contextlib.suppress(FileNotFoundError):
                    bpf.delete_element(self._flows_fd, key)
        start, end = self._first * layout.READING_BYTES, len(self._memory)
        self._memory[start:end] = bytes(end - start)
        self._size = 0
