"""What the contract says about RTP statistics, written down as plainly as possible, without jitter's time."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RtpPacket:
    ssrc: int
    sequence: int
    timestamp: int
    payload_type: int


@dataclasses.dataclass
class ModelStream:
    """One stream; `received` are offsets of packets that arrived, from the highest backwards."""

    ssrc: int
    highest: int
    payload_type: int
    received: set[int] = dataclasses.field(default_factory=lambda: {0})
    packets: int = 1
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    bad_next: int | None = None
    reference: int | None = None

    def meet(self, packet: RtpPacket) -> bool:
        """Counts a packet that is not the first; returns whether it tells anything of timing."""
        self.packets += 1
        self.payload_type = packet.payload_type
        ahead = (packet.sequence - self.highest) % 65536
        behind = 65536 - ahead
        if 0 < ahead < 3000:
            self.lost += ahead - 1
            self._become_highest(packet.sequence, {offset + ahead for offset in self.received} | {0})
        elif ahead == 0 or (behind < 64 and behind in self.received):
            self.duplicates += 1
            return False
        elif behind < 64:
            self.received.add(behind)
            self.reordered += 1
            self.lost = max(self.lost - 1, 0)
        elif packet.sequence == self.bad_next:
            self._become_highest(packet.sequence, {0})
            self.bad_next = None
        else:
            self.bad_next = (packet.sequence + 1) % 65536
            return False
        return True

    def _become_highest(self, sequence: int, received: set[int]) -> None:
        self.highest = sequence
        self.received = {offset for offset in received if offset < 64}


class ModelCounters:
    """The four streams of a direction."""

    def __init__(self, metered_payload_type: int | None) -> None:
        self._metered = metered_payload_type
        self.places: list[ModelStream | None] = [None] * 4
        self.next_place = 0

    def meet(self, packet: RtpPacket) -> None:
        stream = next((s for s in self.places if s is not None and s.ssrc == packet.ssrc), None)
        if stream is None:
            stream = ModelStream(packet.ssrc, packet.sequence, packet.payload_type)
            self.places[self.next_place] = stream
            self.next_place = (self.next_place + 1) % 4
        elif not stream.meet(packet):
            return
        if packet.payload_type == self._metered:
            stream.reference = packet.timestamp
