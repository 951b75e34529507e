"""Streams of two counters, one after the other, are those that one counter of all packets has."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.rtp.joined_streams import MeasuredStreams, join_streams
from nh.calls.rtp.meter import MAX_STREAMS, RtpMeter
from nh.calls.rtp.stream_state import StreamFields
from tests.calls.rtp import CLOCKS, PCMU, SSRC, rtp_packet

FIRST_S = 100.0
PACKET_S = 0.02

Packets = Sequence[tuple[int, int]]
"""SSRC and sequence number of each."""


def measured(meter: RtpMeter) -> MeasuredStreams:
    return MeasuredStreams(meter.next_stream, meter.to_fields())


def measure(packets: Packets, begin: MeasuredStreams | None = None, *, at: int = 0) -> MeasuredStreams:
    """What a counter makes of packets that come in time, the first of them as number `at` of all."""
    meter = RtpMeter(CLOCKS)
    meter.choose_payload_type(PCMU)
    if begin is not None:
        meter.take_fields(*begin)
    for number, (ssrc, sequence) in enumerate(packets, at):
        packet = rtp_packet(sequence, sequence * 160, ssrc=ssrc)
        meter.measure(packet, len(packet), FIRST_S + PACKET_S * number)
    return measured(meter)


def joined(before: Packets, earlier: Packets, later: Packets) -> MeasuredStreams:
    begin = measure(before)
    at = len(before)
    return join_streams(begin, measure(earlier, begin, at=at), measure(later, begin, at=at + len(earlier)))


def counts(streams: MeasuredStreams) -> list[tuple[int, ...]]:
    """All but the jitter, whose reference packet is another one."""
    return [
        (each.ssrc, each.highest, each.packets, each.lost, each.reordered, each.duplicates, each.seen)
        for each in streams.streams
        if each.used
    ]


def run(begin: int, end: int, *, ssrc: int = SSRC) -> list[tuple[int, int]]:
    return [(ssrc, sequence) for sequence in range(begin, end)]


@pytest.mark.parametrize(
    ("before", "earlier", "later"),
    [
        pytest.param(run(0, 10), run(10, 300), run(300, 310), id="far apart"),
        pytest.param(run(0, 10), [], run(10, 20), id="nothing earlier"),
        pytest.param(run(0, 10), run(10, 20), [], id="nothing later"),
        pytest.param([], run(7, 20), run(20, 30), id="a stream that begins meanwhile"),
        pytest.param([], run(7, 20), run(23, 30), id="with a loss in between"),
        pytest.param(run(0, 3), run(5, 20), run(24, 30), id="losses on both sides"),
        pytest.param(run(65_530, 65_535), run(65_535, 65_545), run(65_545, 65_550), id="numbers that wrap"),
        pytest.param(run(0, 9), run(9, 20), [*run(20, 30), *run(25, 27)], id="duplicates"),
        pytest.param(run(0, 9), [*run(9, 12), *run(13, 20)], [*run(20, 25), *run(12, 13)], id="a late one"),
        pytest.param(run(0, 9), run(9, 20), [*run(40_000, 40_001), *run(20, 25)], id="a stray"),
        pytest.param(run(0, 9), run(9, 20), run(40_000, 40_010), id="a sender that begins anew later"),
        pytest.param(run(0, 9), run(9, 20), run(0, 20, ssrc=7), id="another stream later"),
        pytest.param(run(0, 9), run(0, 20, ssrc=7), run(20, 30, ssrc=7), id="another stream earlier"),
        pytest.param(
            [packet for ssrc in range(MAX_STREAMS) for packet in run(0, 3, ssrc=ssrc)],
            run(0, 3, ssrc=77),
            run(0, 3, ssrc=78),
            id="more streams than there are places",
        ),
    ],
)
def test_nothing_is_lost_or_counted_twice(before: Packets, earlier: Packets, later: Packets) -> None:
    assert counts(joined(before, earlier, later)) == counts(measure([*before, *earlier, *later]))


def test_a_stream_in_time_has_no_jitter_and_goes_on_from_its_latest_packet() -> None:
    (stream, *_) = joined(run(0, 10), run(10, 300), run(300, 310)).streams
    (whole, *_) = measure(run(0, 310)).streams
    assert stream.jitter_ns < 1000
    assert (stream.arrival_ns, stream.timestamp) == (whole.arrival_ns, whole.timestamp)


def test_a_sender_that_begins_anew_earlier_loses_nothing() -> None:
    """The later counter took the first packet of the new numbers for a stray: it is not among those seen."""
    packets = run(0, 9), run(40_000, 40_010), run(40_010, 40_020)
    assert [each[:-1] for each in counts(joined(*packets))] == [(SSRC, 40_019, 29, 0, 0, 0)]


gaps = st.lists(st.integers(0, 3), max_size=150)


def resumed(streams: MeasuredStreams) -> MeasuredStreams:
    meter = RtpMeter(CLOCKS)
    meter.take_fields(*streams)
    meter.resume()
    return measured(meter)


@given(
    st.integers(0, 0xFFFF),
    st.tuples(gaps, gaps, gaps),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.booleans(),
)
def test_joined_streams_are_those_of_one_counter(
    first: int, parts: tuple[list[int], list[int], list[int]], between: tuple[int, int], killed: bool
) -> None:
    """Losses and repetitions anywhere, except that no packet comes to both counters.

    A process that was killed may have had more packets than what both counters begin with.
    """
    before, earlier, later = parts
    steps = [first, *before, between[0], *earlier, between[1], *later]
    packets = [(SSRC, sequence & 0xFFFF) for sequence in itertools.accumulate(steps)]
    cut, end = len(before) + 1, len(before) + len(earlier) + 2
    begin = measure(packets[:cut])
    if killed:
        begin = resumed(begin)
    one, other = measure(packets[cut:end], begin, at=cut), measure(packets[end:], begin, at=end)
    assert counts(join_streams(begin, one, other)) == counts(measure(packets[cut:], begin, at=cut))


def test_unused_places_stay_behind_the_others() -> None:
    streams = joined(run(0, 3), run(0, 3, ssrc=7), run(0, 3, ssrc=8))
    assert [each.ssrc for each in streams.streams[:3]] == [SSRC, 7, 8]
    assert streams.streams[3:] == (StreamFields(),) * (MAX_STREAMS - 3)
    assert streams.next_stream == 3
