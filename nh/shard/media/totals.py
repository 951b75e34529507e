"""Traffic totals of a shard: packets and bytes, and drops by reason.

Each leg counts what it receives; the totals are the sums over all legs, ended ones included. Drops are rare
and are counted where they happen.
"""

from typing import Final

from nh.calls.drop import Drop

_NOT_ADMITTED: Final = tuple(reason for reason in Drop if not reason.admitted)
"""Drops of packets that no leg counts. The size of what a socket lost is unknown."""

_NOT_PASSED_ON: Final = tuple(reason for reason in Drop if reason.admitted)
"""Drops of packets that a leg had admitted."""


class TrafficTotals:
    """Totals since the start.

    Attributes:
        received_packets, received_bytes: admitted at sockets.
        kernel_packets, kernel_bytes: forwarded inside the kernel.
        drops, dropped_bytes: by Drop. Packets that no leg admitted are in no other total.
    """

    __slots__ = (
        "dropped_bytes",
        "drops",
        "kernel_bytes",
        "kernel_packets",
        "received_bytes",
        "received_packets",
    )

    def __init__(self) -> None:
        self.received_packets = 0
        self.received_bytes = 0
        self.kernel_packets = 0
        self.kernel_bytes = 0
        self.drops = [0] * len(Drop)
        self.dropped_bytes = [0] * len(Drop)

    def drop(self, reason: Drop, size_bytes: int, packets: int = 1) -> None:
        """Count packets that were not passed on, and their bytes together."""
        self.drops[reason] += packets
        self.dropped_bytes[reason] += size_bytes

    @property
    def packets_in(self) -> int:
        """Everything that arrived at media ports."""
        arrived = self.received_packets + self.kernel_packets
        return arrived + sum(self.drops[reason] for reason in _NOT_ADMITTED)

    @property
    def bytes_in(self) -> int:
        """The payload of packets_in."""
        dropped = self.dropped_bytes
        arrived = self.received_bytes + self.kernel_bytes
        return arrived + sum(dropped[reason] for reason in _NOT_ADMITTED)

    @property
    def packets_out(self) -> int:
        """Everything that was passed on."""
        arrived = self.received_packets + self.kernel_packets
        return arrived - sum(self.drops[reason] for reason in _NOT_PASSED_ON)

    @property
    def bytes_out(self) -> int:
        """The payload of packets_out."""
        arrived = self.received_bytes + self.kernel_bytes
        return arrived - sum(self.dropped_bytes[reason] for reason in _NOT_PASSED_ON)
