"""The meter of a leg: separates RTP from other packets, and its streams from one another by SSRC.

It is called for every packet. It measures jitter on one payload type at a time: the latest that has a clock.
The kernel program follows the same rules, but user space sets its payload type. No I/O; times are arguments.
"""

import functools
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Annotated, Final

import msgspec

from nh.calls.one_or_many import OneOrMany
from nh.calls.rtp.payload_types import MAX_CLOCK_HZ
from nh.calls.rtp.quality import INTERVAL_PACKETS, add_interval, end_to_end
from nh.calls.rtp.stream import MAX_TRANSIT_S, RtpStream
from nh.calls.rtp.stream_state import StreamFields, StreamState
from nh.rtp.packet import RTP_HEADER_BYTES

MAX_STREAMS: Final = 4
"""Most streams of a leg; a further SSRC replaces the stream that began first."""

# first 16 bits, sequence number, timestamp, SSRC (RFC 3550 5.1)
_read_header: Final = Struct("!HHII").unpack_from

# no packet has its `head`
_NO_STREAM: Final = RtpStream(0, 0, 0)


class MeterClock(msgspec.Struct, frozen=True, gc=False):
    """What jitter is measured by.

    Attributes:
        payload_type: that of the packets on which it is measured.
        hz: the RTP clock rate; 0: it is not measured yet.
        tick_s: length of one unit of the timestamps in seconds; 0: unknown.
    """

    payload_type: int
    hz: int
    tick_s: float


@functools.lru_cache(maxsize=256)  # all meters of a codec have the same
def _clock_of(payload_type: int, hz: int) -> MeterClock:
    return MeterClock(payload_type, hz, 1 / hz if hz else 0.0)


_NO_CLOCK: Final = _clock_of(0, 0)


class MeterState(msgspec.Struct, array_like=True, frozen=True):
    """The state of a RtpMeter without the meaning of payload types, for snapshots."""

    payload_type: Annotated[int, msgspec.Meta(ge=0, le=127)]
    clock_hz: Annotated[int, msgspec.Meta(ge=0, le=MAX_CLOCK_HZ)]
    next_stream: Annotated[int, msgspec.Meta(ge=0, lt=MAX_STREAMS)]
    streams: Annotated[list[StreamState], msgspec.Meta(max_length=MAX_STREAMS)]
    next_sample: Annotated[int, msgspec.Meta(ge=0)] = INTERVAL_PACKETS
    deaf_reports: Annotated[int, msgspec.Meta(ge=0)] = 0
    reported_packets: Annotated[int, msgspec.Meta(ge=0)] = 0


class RtpMeter:
    """The RTP streams that arrive on one leg.

    Args:
        clocks: RTP clock rates in Hz by payload type, without those that have no clock.

    Attributes:
        streams: the latest MAX_STREAMS.
        next_stream: index in `streams` of the next new one.
        clock: what jitter is measured by.
        next_sample: packets of the leg at which the next interval of quality ends.
        deaf_reports: how many of the latest reports of RTCP, one after the other, say that the end that is
            sent these streams has received nothing of them, although some came meanwhile
            (nh.calls.rtp.reports).
        reported_packets: packets of all streams at the latest report that said something of them.
    """

    __slots__ = (
        "_clocks",
        "_current",
        "_streams",
        "clock",
        "deaf_reports",
        "next_sample",
        "next_stream",
        "reported_packets",
    )

    streams = OneOrMany[RtpStream]()
    _streams: RtpStream | tuple[RtpStream, ...]

    def __init__(self, clocks: Mapping[int, int]) -> None:
        self.streams = ()
        self.next_stream = 0
        self.clock = _NO_CLOCK
        self.next_sample = INTERVAL_PACKETS
        self.deaf_reports = 0
        self.reported_packets = 0
        self._clocks = clocks
        self._current = _NO_STREAM

    @property
    def latest(self) -> RtpStream | None:
        """The stream whose packets arrived last, as far as their times are known; else the newest."""
        streams = self._streams
        if not isinstance(streams, tuple):
            return streams
        if not streams:
            return None
        newest = streams[(self.next_stream - 1) % len(streams)]
        return max((newest, *streams), key=lambda stream: stream.arrival or 0.0)

    def find_stream(self, ssrc: int) -> RtpStream | None:
        """The stream of an SSRC, None if it is none of `streams`."""
        streams = self._streams
        if not isinstance(streams, tuple):
            return streams if streams.ssrc == ssrc else None
        for stream in streams:
            if stream.ssrc == ssrc:
                return stream
        return None

    def measure(self, buffer: bytes | bytearray | memoryview, size: int, now: float) -> bool:
        """Measure a packet. Others than RTP are ignored: RTCP, STUN, DTLS (RFC 5761 4, RFC 7983 7).

        Args:
            buffer: begins with the packet.
            size: length of the packet in bytes.
            now: monotonic seconds of its arrival.

        Returns:
            Whether it is RTCP, whose reports may be read (nh.calls.rtcp_reports).
        """
        if size < RTP_HEADER_BYTES:
            return False
        head, sequence, timestamp, ssrc = _read_header(buffer)
        stream = self._current
        if sequence == stream.due and ssrc == stream.ssrc and head == stream.head:
            # the expected packet, as nearly all are: RtpStream.receive() and clock(), inlined
            stream.due = sequence + 1
            # `arrival` is set whenever `head` is; a check would cost time for each packet
            apart = now - stream.arrival - (timestamp - stream.timestamp) * self.clock.tick_s  # type: ignore[operator]
            if apart < 0.0:
                apart = -apart
            if apart < MAX_TRANSIT_S:
                stream.jitter_s += (apart - stream.jitter_s) * 0.0625
                stream.arrival = now
                stream.timestamp = timestamp
            else:  # the timestamps started again, too
                stream.clock(timestamp, now, self.clock.tick_s)
        elif head >> 14 == 2:
            if 192 <= head & 0xFF <= 223:
                return True
            self._measure_any(head, sequence, timestamp, ssrc, now)
        return False

    def has_clock(self, payload_type: int) -> bool:
        """Whether jitter can be measured on packets of this payload type."""
        return bool(self._clocks.get(payload_type, 0))

    def choose_payload_type(self, payload_type: int) -> bool:
        """Measure jitter on packets of this payload type from now on, if it has a clock.

        All streams lose the reference for their next transit time. measure() calls this as needed.

        Returns:
            Whether that is a change.
        """
        hz = self._clocks.get(payload_type, 0)
        if not hz or (payload_type == self.clock.payload_type and hz == self.clock.hz):
            return False
        self._set_clock(payload_type, hz)
        return True

    def set_clocks(self, clocks: Mapping[int, int]) -> None:
        """Apply newly agreed clock rates."""
        self._clocks = clocks
        clock = self.clock
        hz = clocks.get(clock.payload_type, 0)
        if clock.hz and hz != clock.hz:
            self._set_clock(clock.payload_type, hz)

    def to_fields(self) -> tuple[StreamFields, ...]:
        """The streams in the kernel program's form: MAX_STREAMS, unused ones last."""
        used = [stream.to_fields() for stream in self.streams]
        return (*used, *[StreamFields()] * (MAX_STREAMS - len(used)))

    def take_fields(self, next_stream: int, fields: Sequence[StreamFields]) -> None:
        """Replace the streams by the kernel program's.

        Args:
            next_stream: 0 to MAX_STREAMS - 1.
            fields: at most MAX_STREAMS, unused ones last.
        """
        before = {stream.ssrc: stream for stream in self.streams}
        used = [each for each in fields if each.used]
        self.streams = tuple([RtpStream.from_fields(each, before.get(each.ssrc)) for each in used])
        self.next_stream = next_stream
        self._current = _NO_STREAM

    def go_on_from(self, fields: StreamFields) -> None:
        """Go on from a later state of a stream that is known, or of the first one (`fields.used` is 1)."""
        self._current = _NO_STREAM
        if not self.streams:
            self.streams = (RtpStream.from_fields(fields),)
            self.next_stream = 1
        else:
            self.streams = tuple(
                [
                    RtpStream.from_fields(fields, each) if each.ssrc == fields.ssrc else each
                    for each in self.streams
                ]
            )
        self.choose_payload_type(fields.payload_type)

    def resume(self) -> None:
        """Take no gap before the next packet of each stream for loss; see RtpStream.resume()."""
        self._current = _NO_STREAM
        for stream in self.streams:
            stream.resume()

    def sample(self, encodings: Mapping[int, str], opposite: "RtpMeter | None", now: float) -> None:
        """End an interval of quality.

        Args:
            encodings: encoding names by payload type.
            opposite: the meter of the opposite direction.
            now: monotonic seconds.
        """
        other = opposite.latest if opposite is not None else None
        far_s = other.round_trip_s if other is not None else None
        for stream in self.streams:
            if stream.arrival is None:
                continue
            stream.quality = add_interval(
                stream.quality,
                encoding=encodings.get(stream.payload_type, ""),
                expected=stream.expected,
                lost=stream.lost,
                jitter_s=stream.jitter_s,
                round_trip_s=end_to_end(stream.round_trip_s, far_s),
                now=now,
            )

    def to_state(self) -> MeterState:
        """The state, for snapshots."""
        return MeterState(
            self.clock.payload_type,
            self.clock.hz,
            self.next_stream,
            [stream.to_state() for stream in self.streams],
            self.next_sample,
            self.deaf_reports,
            self.reported_packets,
        )

    @classmethod
    def from_state(cls, state: MeterState, clocks: Mapping[int, int], *, shift_s: float) -> "RtpMeter":
        """A meter with this state; `shift_s` is added to its times."""
        meter = cls(clocks)
        meter.clock = _clock_of(state.payload_type, state.clock_hz)
        meter.next_stream, meter.next_sample = state.next_stream, state.next_sample
        meter.deaf_reports, meter.reported_packets = state.deaf_reports, state.reported_packets
        meter.streams = tuple([RtpStream.from_state(each, shift_s=shift_s) for each in state.streams])
        return meter

    def _measure_any(self, head: int, sequence: int, timestamp: int, ssrc: int, now: float) -> None:
        payload_type = head & 0x7F
        stream = self.find_stream(ssrc)
        if stream is None:
            stream = self._begin_stream(ssrc, sequence, payload_type)
            has_transit = True
        else:
            has_transit = stream.receive(sequence, payload_type)
        self._current = stream
        if payload_type != self.clock.payload_type or not self.clock.hz:
            self.choose_payload_type(payload_type)
        clock = self.clock
        if payload_type != clock.payload_type or not clock.hz:
            return
        if has_transit:
            stream.clock(timestamp, now, clock.tick_s)
        if stream.arrival is not None:
            stream.expect(head)

    def _begin_stream(self, ssrc: int, sequence: int, payload_type: int) -> RtpStream:
        stream, before = RtpStream(ssrc, sequence, payload_type), self.streams
        if len(before) < MAX_STREAMS:
            self.streams = (*before, stream)
        else:
            at = self.next_stream
            self.streams = (*before[:at], stream, *before[at + 1 :])
        self.next_stream = (self.next_stream + 1) % MAX_STREAMS
        return stream

    def _set_clock(self, payload_type: int, hz: int) -> None:
        self.clock = _clock_of(payload_type, hz)
        for stream in self.streams:
            stream.forget_reference()
