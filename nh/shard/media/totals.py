"""What a shard's media amount to: totals of packets and bytes, and of what was dropped, by reason.

Legs count what they receive for themselves; these are the sums over all of them, dead ones too. Drops are
rare and are counted where they happen.
"""

from typing import Final

from nh.calls.leg import Drop

_NOT_PASSED_ON: Final = (Drop.NO_TARGET, Drop.SEND_FAILED, Drop.LOOPED)
"""What legs took and dropped."""


class TrafficTotals:
    """Totals since the start.

    `received` counts what legs took at their sockets, `kernel` what was relayed inside the kernel; packets
    with a source mismatch or without a session are in neither.
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

    def drop(self, reason: Drop, size_bytes: int) -> None:
        """One packet that was not passed on."""
        self.drops[reason] += 1
        self.dropped_bytes[reason] += size_bytes

    @property
    def packets_in(self) -> int:
        """Everything that arrived at media ports."""
        arrived = self.received_packets + self.kernel_packets
        return arrived + self.drops[Drop.SOURCE_MISMATCH] + self.drops[Drop.NO_SESSION]

    @property
    def bytes_in(self) -> int:
        """The payload of packets_in."""
        dropped = self.dropped_bytes
        arrived = self.received_bytes + self.kernel_bytes
        return arrived + dropped[Drop.SOURCE_MISMATCH] + dropped[Drop.NO_SESSION]

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
