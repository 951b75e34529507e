"""What a shard's media amount to: totals of packets and bytes, and of what was dropped, by reason.

Legs count what they receive for themselves; these are the sums over all of them, dead ones too. Drops are
rare and are counted where they happen.
"""

from typing import Final

from nh.calls.leg import Drop

_NOT_PASSED_ON: Final = (Drop.NO_TARGET, Drop.SEND_FAILED, Drop.LOOPED)
"""What legs took and dropped."""


class Traffic:
    """Totals since the start. `received` counts what legs took; foreign and stray packets are not in it."""

    __slots__ = ("dropped_bytes", "drops", "received_bytes", "received_packets")

    def __init__(self) -> None:
        self.received_packets = 0
        self.received_bytes = 0
        self.drops = [0] * len(Drop)
        self.dropped_bytes = [0] * len(Drop)

    def drop(self, reason: Drop, size_bytes: int) -> None:
        """One packet that was not passed on."""
        self.drops[reason] += 1
        self.dropped_bytes[reason] += size_bytes

    @property
    def packets_in(self) -> int:
        """Everything that arrived at media sockets."""
        return self.received_packets + self.drops[Drop.FOREIGN_SOURCE] + self.drops[Drop.NOT_ACTIVE]

    @property
    def bytes_in(self) -> int:
        """The payload of packets_in."""
        dropped = self.dropped_bytes
        return self.received_bytes + dropped[Drop.FOREIGN_SOURCE] + dropped[Drop.NOT_ACTIVE]

    @property
    def packets_out(self) -> int:
        """Everything that was passed on."""
        return self.received_packets - sum(self.drops[reason] for reason in _NOT_PASSED_ON)

    @property
    def bytes_out(self) -> int:
        """The payload of packets_out."""
        return self.received_bytes - sum(self.dropped_bytes[reason] for reason in _NOT_PASSED_ON)
