"""An RTP stream: the packets of one SSRC as they arrive, with loss, reordering, duplicates and jitter.

Loss, reordering and duplicates come from sequence numbers (RFC 3550 A.1), jitter from timestamps (RFC 3550
6.4.1 and A.8). The kernel program counts by the same rules; `to_fields` and `from_fields` convert a stream
between the two. No I/O. RtpMeter knows which payload types have a clock.
"""

import functools
from typing import Final

from nh.calls.rtp.quality import unpack
from nh.calls.rtp.stream_state import NO_BAD_NEXT, StreamFields, StreamReports, StreamState

MAX_DROPOUT: Final = 3000
"""A sequence number this far ahead is a jump, not a gap (RFC 3550 A.1: a minute at 50 packets/s)."""

WINDOW: Final = 64
"""Number of latest sequence numbers that are remembered; a packet from before them is a jump, too."""

MAX_TRANSIT_S: Final = 2**32 / 1e9
"""Larger differences of transit times are not jitter: the sender's clock jumped, or it was silent."""

MAX_DRIFT_S: Final = 30.0
"""How far the timestamps of a stream that goes on may be from the time that has passed: senders stop their
clocks in a pause."""

_WINDOW_MASK: Final = 2**WINDOW - 1
_U32: Final = 2**32 - 1
_JITTER_UNITS: Final = 16e9
_NO_HEAD: Final = -1


@functools.lru_cache(maxsize=256)  # most streams of a relay have one of a few
def _without_marker(head: int) -> int:
    """The first 16 bits of a header, without the marker bit."""
    return head & 0xFF7F


class RtpStream:
    """One SSRC from its first packet on.

    Nearly every packet is the next one, with a payload type that jitter is measured on. RtpMeter handles
    these itself: it recognizes them by `head` and `due` and updates `due`, `arrival`, `timestamp` and
    `jitter_s`. The rest of the state follows when it is needed (`_catch_up`).

    Args:
        ssrc: 0 to 2**32 - 1.
        sequence: sequence number of the first packet.
        payload_type: of the first packet.

    Attributes:
        payload_type: of the latest packet.
        packets: received packets, including duplicates.
        lost: packets that did not arrive; one that arrives late is subtracted again.
        reordered: packets that arrived after one with a later sequence number.
        duplicates: packets that arrived again.
        jitter_s: interarrival jitter, seconds.
        arrival: monotonic seconds of the reference packet for the next transit time; None: there is none.
        timestamp: RTP timestamp of the reference packet.
        head: first 16 bits of the header of an expected packet, without the marker bit.
        due: sequence number of the next expected packet.
        quality: packed nh.calls.rtp.quality.Quality; b"" before the first interval.
        reports: what RTCP says of it; None: nothing yet.
    """

    __slots__ = (
        "_bad_next",
        "_highest",
        "_packets",
        "_seen",
        "arrival",
        "due",
        "duplicates",
        "head",
        "jitter_s",
        "lost",
        "payload_type",
        "quality",
        "reordered",
        "reports",
        "ssrc",
        "timestamp",
    )

    def __init__(self, ssrc: int, sequence: int, payload_type: int) -> None:
        self.ssrc = ssrc
        self.payload_type = payload_type
        self.lost = 0
        self.reordered = 0
        self.duplicates = 0
        self.jitter_s = 0.0
        self.arrival: float | None = None
        self.timestamp = 0
        self.head = _NO_HEAD
        self.due = 0
        self.quality = b""
        self.reports: StreamReports | None = None
        self._packets = 1
        self._highest = sequence
        self._seen = 1
        self._bad_next = NO_BAD_NEXT

    @property
    def packets(self) -> int:
        """Received packets, including duplicates."""
        run = 0 if self.head == _NO_HEAD else self.due - self._highest - 1
        return self._packets + run

    @property
    def expected(self) -> int:
        """Packets that were sent, as far as is known: each received one once, and the lost ones."""
        return self.packets - self.duplicates + self.lost

    @property
    def round_trip_s(self) -> float | None:
        """See StreamReports."""
        return None if self.reports is None else self.reports.round_trip_s

    @property
    def reported(self) -> tuple[int, int] | None:
        """`highest` and `lost` of StreamReports; None: the end that receives the stream said nothing."""
        reports = self.reports
        return None if reports is None or reports.highest is None else (reports.highest, reports.lost)

    def find_reports(self) -> StreamReports:
        """What RTCP says of it, made at the first call."""
        if self.reports is None:
            self.reports = StreamReports()
        return self.reports

    def goes_on(self, sequence: int, timestamp: int, now: float, tick_s: float) -> bool:
        """Whether a packet may be a later one of this stream, by its sequence number and timestamp.

        Args:
            sequence: 0 to 65535.
            timestamp: 0 to 2**32 - 1.
            now: monotonic seconds of its arrival.
            tick_s: length of one unit of the timestamp; 0: unknown.
        """
        self._catch_up()
        if not 0 < (sequence - self._highest) & 0xFFFF < MAX_DROPOUT:
            return False
        if self.arrival is None or not tick_s:
            return True
        ticks = ((timestamp - self.timestamp + 0x80000000) & _U32) - 0x80000000
        return abs(now - self.arrival - ticks * tick_s) <= MAX_DRIFT_S

    def is_late(self, sequence: int) -> bool:
        """Whether a packet with this sequence number is one of this stream that came already, or late."""
        self._catch_up()
        return (self._highest - sequence) & 0xFFFF < MAX_DROPOUT

    def receive(self, sequence: int, payload_type: int) -> bool:
        """Count one packet.

        Args:
            sequence: 0 to 65535.
            payload_type: 0 to 127.

        Returns:
            Whether its transit time counts for the jitter.
        """
        self._catch_up()
        self.head = _NO_HEAD
        self._packets += 1
        self.payload_type = payload_type
        ahead = (sequence - self._highest) & 0xFFFF
        if ahead == 0:
            self.duplicates += 1
            return False
        if ahead < MAX_DROPOUT:
            if self._seen & 1:
                self.lost += ahead - 1
            self._seen = (self._seen << ahead | 1) & _WINDOW_MASK
            self._highest = sequence
            return True
        if ahead > 0x10000 - WINDOW:
            return self._receive_late(1 << (0x10000 - ahead))
        return self._receive_far(sequence)

    def clock(self, timestamp: int, now: float, tick_s: float) -> None:
        """Update the jitter by a packet's transit time (RFC 3550 A.8).

        Args:
            timestamp: 0 to 2**32 - 1.
            now: monotonic seconds of its arrival.
            tick_s: length of one unit of the timestamp.
        """
        if self.arrival is not None:
            ticks = ((timestamp - self.timestamp + 0x80000000) & _U32) - 0x80000000
            apart = abs(now - self.arrival - ticks * tick_s)
            if apart < MAX_TRANSIT_S:
                self.jitter_s += (apart - self.jitter_s) / 16
        self.arrival = now
        self.timestamp = timestamp

    def expect(self, head: int) -> None:
        """Let RtpMeter handle the following packets itself while they are in sequence.

        Args:
            head: the first 16 bits of the header of the latest packet; the marker bit is ignored.
        """
        self._catch_up()
        self.head = _without_marker(head)
        # 65536 matches no packet: the wrap-around goes through receive()
        self.due = self._highest + 1

    def forget_reference(self) -> None:
        """Drop the reference for the next transit time: the clock rate changed."""
        self._catch_up()
        self.head = _NO_HEAD
        self.arrival = None

    def resume(self) -> None:
        """Take no gap before the next packet for loss: others may have come since this state was noted."""
        self._catch_up()
        self.head = _NO_HEAD
        self._seen &= ~1

    def to_fields(self) -> StreamFields:
        """The stream in the kernel program's form; counters keep their lowest 32 bits."""
        self._catch_up()
        return StreamFields(
            # by place: words cost a third of it
            self._seen,
            0 if self.arrival is None else round(self.arrival * 1e9),
            round(self.jitter_s * _JITTER_UNITS),
            self.ssrc,
            self.timestamp,
            self._packets & _U32,
            self.lost & _U32,
            self.reordered & _U32,
            self.duplicates & _U32,
            self._bad_next,
            self._highest,
            self.payload_type,
            1,
        )

    @classmethod
    def from_fields(cls, fields: StreamFields, before: "RtpStream | None" = None) -> "RtpStream":
        """The stream that the kernel program had; `fields.used` is 1.

        Args:
            fields: of the kernel program.
            before: the same SSRC as user space knew it, with what the kernel program does not know.
        """
        stream = cls(fields.ssrc, fields.highest, fields.payload_type)
        if before is not None:
            stream.quality = before.quality
            stream.reports = before.reports
        stream.arrival = fields.arrival_ns / 1e9 if fields.arrival_ns else None
        stream.timestamp = fields.timestamp
        stream.jitter_s = fields.jitter_ns / _JITTER_UNITS
        stream.lost = fields.lost
        stream.reordered = fields.reordered
        stream.duplicates = fields.duplicates
        stream._packets = fields.packets
        stream._seen = fields.seen
        stream._bad_next = fields.bad_next
        return stream

    def to_state(self) -> StreamState:
        """The state, for snapshots."""
        self._catch_up()
        return StreamState(
            self.ssrc,
            self._highest,
            self.payload_type,
            self._packets,
            self.lost,
            self.reordered,
            self.duplicates,
            self._seen,
            self._bad_next,
            self.jitter_s,
            self.arrival,
            self.timestamp,
            self.quality,
            self.round_trip_s,
            self.reported,
        )

    @classmethod
    def from_state(cls, state: StreamState, *, shift_s: float) -> "RtpStream":
        """A stream with this state; `shift_s` is added to its times."""
        stream = cls(state.ssrc, state.highest, state.payload_type)
        stream.arrival = None if state.arrival is None else state.arrival + shift_s
        stream.timestamp = state.timestamp
        stream.jitter_s = state.jitter_s
        stream.lost = state.lost
        stream.reordered = state.reordered
        stream.duplicates = state.duplicates
        stream._packets = state.packets
        stream._seen = state.seen & _WINDOW_MASK
        stream._bad_next = state.bad_next
        quality = unpack(state.quality, shift_s=shift_s)
        stream.quality = quality.pack() if quality is not None else b""
        if state.round_trip_s is not None or state.reported is not None:
            highest, lost = state.reported or (None, 0)
            stream.reports = StreamReports(round_trip_s=state.round_trip_s, highest=highest, lost=lost)
        return stream

    def _catch_up(self) -> None:
        """Count the packets that RtpMeter handled itself: all up to the one before `due`, without a gap."""
        run = 0 if self.head == _NO_HEAD else self.due - self._highest - 1
        if run:
            self._packets += run
            self._highest = self.due - 1
            self._seen = (self._seen << run | (1 << run) - 1) & _WINDOW_MASK if run < WINDOW else _WINDOW_MASK

    def _receive_late(self, bit: int) -> bool:
        if self._seen & bit:
            self.duplicates += 1
            return False
        self._seen |= bit
        self.reordered += 1
        # a packet from before the first one, or from before a jump, was not counted as lost
        if self.lost:
            self.lost -= 1
        return True

    def _receive_far(self, sequence: int) -> bool:
        """A jump: one such packet is ignored, two in a row are a restart (RFC 3550 A.1)."""
        if sequence != self._bad_next:
            self._bad_next = (sequence + 1) & 0xFFFF
            return False
        self._bad_next = NO_BAD_NEXT
        self._highest = sequence
        self._seen = 1
        return True
