"""Any packets in any order: the meter never fails, and counts what the kernel's program counts."""

import dataclasses
import struct
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.rtp.meter import MAX_STREAMS, RtpMeter
from nh.calls.rtp.stream import WINDOW
from nh.calls.rtp.stream_state import StreamFields
from tests.calls.rtp import CLOCKS, DTMF, OPUS, PCMU, rtp_packet

NONE: Final = 0x10000


@dataclasses.dataclass
class KernelStream:
    """`struct stream`, and the rules for it as the design of the in-kernel path words them, in integers."""

    ssrc: int
    highest: int
    payload_type: int
    seen: int = 1
    packets: int = 1
    lost: int = 0
    reordered: int = 0
    duplicates: int = 0
    bad_next: int = NONE
    arrival_ns: int = 0
    jitter_ns: int = 0
    timestamp: int = 0

    def count(self, seq: int) -> bool:
        d = (seq - self.highest) & 0xFFFF
        if d == 0:
            self.duplicates += 1
            return False
        if d < 3000:
            self.lost += d - 1 if self.seen & 1 else 0
            self.seen = (self.seen << d | 1) & (2**64 - 1) if d < 64 else 1
            self.highest = seq
        elif d > 65536 - 64:
            bit = 1 << (65536 - d)
            if self.seen & bit:
                self.duplicates += 1
                return False
            self.seen |= bit
            self.reordered += 1
            if self.lost:
                self.lost -= 1
        elif seq == self.bad_next:
            self.highest, self.seen, self.bad_next = seq, 1, NONE
        else:
            self.bad_next = (seq + 1) & 0xFFFF
            return False
        return True

    def clock(self, ts: int, now_ns: int, clock_hz: int) -> None:
        if self.arrival_ns:
            ticks = (ts - self.timestamp) & 0xFFFFFFFF
            ticks -= 2**32 if ticks >= 2**31 else 0
            d_ns = abs(now_ns - self.arrival_ns - ticks * 1_000_000_000 // clock_hz)
            if d_ns < 2**32:
                self.jitter_ns += d_ns - ((self.jitter_ns + 8) >> 4)
        self.arrival_ns = now_ns
        self.timestamp = ts


class KernelMeter:
    """`struct reading` and what the kernel's program does to it, with the payload type from the start."""

    def __init__(self) -> None:
        self.streams: list[KernelStream] = []
        self.next_stream = 0
        self.payload_type = self.clock_hz = 0

    def measure(self, packet: bytes, now_ns: int) -> None:
        if len(packet) < 12 or packet[0] >> 6 != 2 or 192 <= packet[1] <= 223:
            return
        seq, ts, ssrc = struct.unpack_from("!HII", packet, 2)
        pt = packet[1] & 0x7F
        if pt in CLOCKS and (pt, CLOCKS[pt]) != (self.payload_type, self.clock_hz):
            self.payload_type, self.clock_hz = pt, CLOCKS[pt]
            for stream in self.streams:
                stream.arrival_ns = 0
        telling, stream = self._count(ssrc, seq, pt)
        if telling and pt == self.payload_type and self.clock_hz:
            stream.clock(ts, now_ns, self.clock_hz)

    def _count(self, ssrc: int, seq: int, pt: int) -> tuple[bool, KernelStream]:
        for stream in self.streams:
            if stream.ssrc == ssrc:
                stream.packets += 1
                stream.payload_type = pt
                return stream.count(seq), stream
        stream = KernelStream(ssrc, seq, pt)
        self.streams[self.next_stream : self.next_stream + 1] = [stream]
        self.next_stream = (self.next_stream + 1) % MAX_STREAMS
        return True, stream


def held_against(meter: RtpMeter, kernel: KernelMeter) -> None:
    """Both say the same."""
    assert meter.next_stream == kernel.next_stream
    used = [fields for fields in meter.to_fields() if fields.used]
    assert len(used) == len(kernel.streams)
    for fields, expected in zip(used, kernel.streams, strict=True):
        values = dataclasses.asdict(expected)
        for name in ("arrival_ns", "jitter_ns"):
            # floats beside integers that are rounded at each step: sixteenths of a nanosecond
            assert getattr(fields, name) == pytest.approx(values.pop(name), rel=1e-6, abs=10_000), name
        assert {name: getattr(fields, name) for name in values} == values


# mostly the next packet, as it is; sometimes anything
steps = st.one_of(
    st.just(1),
    st.sampled_from([0, 1, 1, 2, 3, -1, -2, -63, -64, 63, 64, 65, 2999, 3000, 30_000]),
    st.integers(0, 65_535),
)
arrivals = st.tuples(
    steps,
    st.sampled_from([1, 1, 1, 1, 2, 3, 4, 5, 6]),  # SSRC
    st.sampled_from([PCMU, PCMU, PCMU, OPUS, DTMF, 96]),
    st.sampled_from([160, 160, 160, 0, -160, 12_345, 2**31, 2**32 - 160]),  # ticks
    st.sampled_from([20, 20, 20, 0, 1, 35, 5000]),  # milliseconds
    st.booleans(),  # marker
)
anything = st.binary(max_size=40) | st.binary(min_size=1, max_size=30).map(lambda data: b"\x80" + data)


@given(
    st.sampled_from([0, 1000, 65_500, 65_535]),
    st.lists(arrivals | anything, max_size=150),
    st.sets(st.integers(0, 149), max_size=5),
)
def test_any_packets_count_as_in_the_kernel_and_a_handover_changes_nothing(
    first: int, packets: list[tuple[int, int, int, int, int, bool] | bytes], handovers: set[int]
) -> None:
    meter, kernel = RtpMeter(CLOCKS), KernelMeter()
    sequences = dict.fromkeys(range(1, 7), first)
    timestamp, now_ms = 2**32 - 3000, 1_000_000
    for number, arrival in enumerate(packets):
        if isinstance(arrival, bytes):
            packet = arrival
        else:
            step, ssrc, payload_type, ticks, later_ms, marker = arrival
            sequences[ssrc] += step
            timestamp += ticks
            now_ms += later_ms
            packet = rtp_packet(
                sequences[ssrc], timestamp, ssrc=ssrc, payload_type=payload_type, marker=marker
            )
        meter.measure(packet, len(packet), now_ms / 1000)
        kernel.measure(packet, now_ms * 1_000_000)
        if number in handovers:
            fields = meter.to_fields()
            assert len(fields) == MAX_STREAMS
            meter.take_fields(meter.next_stream, fields)
            assert meter.to_fields() == fields
        held_against(meter, kernel)


@given(st.integers(0, 65_535), st.permutations(range(WINDOW - 1)), st.integers(0, 200))
def test_whatever_the_order_within_the_window_nothing_is_lost(
    first: int, order: list[int], before: int
) -> None:
    meter = RtpMeter(CLOCKS)
    for number in [*range(before + 1), *(before + 1 + number for number in order)]:
        packet = rtp_packet(first + number, number * 160)
        meter.measure(packet, len(packet), number * 0.02)
    (stream,) = meter.streams
    assert (stream.packets, stream.lost, stream.duplicates) == (before + WINDOW, 0, 0)


@given(st.lists(st.integers(0, 60), max_size=200))
def test_within_the_window_every_packet_is_new_or_a_duplicate_or_lost(numbers: list[int]) -> None:
    meter = RtpMeter(CLOCKS)
    for number in [0, *numbers]:
        packet = rtp_packet(number, number * 160)
        meter.measure(packet, len(packet), number * 0.02)
    (stream,) = meter.streams
    came = {0, *numbers}
    assert stream.packets == 1 + len(numbers)
    assert stream.duplicates == 1 + len(numbers) - len(came)
    assert stream.lost == max(came) + 1 - len(came)
    assert stream.expected == max(came) + 1


@given(st.lists(st.tuples(st.binary(max_size=24), st.floats(0, 1e7)), max_size=60))
def test_any_bytes_at_any_time_are_survived(packets: list[tuple[bytes, float]]) -> None:
    meter = RtpMeter(CLOCKS)
    for packet, now in packets:
        meter.measure(packet, len(packet), now)
    assert len(meter.streams) <= MAX_STREAMS
    for fields in meter.to_fields():
        assert all(value >= 0 for value in fields)
        assert isinstance(fields, StreamFields)
