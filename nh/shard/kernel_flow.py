"""One direction that the kernel relays: which leg it counts for, and what it has counted.

It implements nh.calls.leg.Offload. It knows readings, not how they come about.
"""

from nh.calls.leg import Leg
from nh.fastpath.flows import FlowTable

_NS: int = 1_000_000_000


class Flow:
    """What the kernel relays in the stead of one media socket.

    Arguments:
        table: where its readings are.
        leg: whose packets it relays.
        slot: which readings are its own.

    `value` is what the kernel was told last.
    """

    __slots__ = ("_bytes", "_packets", "_table", "last_seen", "leg", "slot", "value")

    def __init__(self, table: FlowTable, leg: Leg, slot: int) -> None:
        self._table = table
        self._packets = 0
        self._bytes = 0
        self.leg = leg
        self.slot = slot
        self.value = b""
        self.last_seen = 0.0

    def collect(self) -> None:
        """See Offload."""
        packets, size, last_seen_ns = self._table.read(self.slot)
        if packets == self._packets:
            return
        leg = self.leg
        leg.packets += packets - self._packets
        leg.offloaded += packets - self._packets
        leg.bytes += size - self._bytes
        self._packets, self._bytes = packets, size
        self.last_seen = last_seen_ns / _NS
