"""What the kernel says of RTP streams: lost, reordered and duplicate packets, restarts, SSRCs, jitter."""

import time

import pytest

from nh.calls.rtp.stream_state import NO_BAD_NEXT, StreamFields
from nh.fastpath.layout import NO_STREAM, FlowCounters
from tests.fastpath.flows import IPV4, IPV6
from tests.fastpath.frames import rtp
from tests.fastpath.kernel_relay import KernelRelay, Verdict
from tests.fastpath.talk import Talk

pytestmark = pytest.mark.kernel


@pytest.fixture(params=[IPV4, IPV6], ids=["v4", "v6"])
def talk(kernel_relay: KernelRelay, request: pytest.FixtureRequest) -> Talk:
    return Talk(kernel_relay, request.param)


def test_a_stream_begins_with_its_first_packet(talk: Talk) -> None:
    before_ns = time.monotonic_ns()
    talk.say(rtp(1000, ssrc=0xDEADBEEF, timestamp=0xCAFEBABE))
    (stream, *others) = talk.counters.streams
    assert before_ns <= stream.arrival_ns <= time.monotonic_ns()
    assert stream == StreamFields(
        seen=1,
        arrival_ns=stream.arrival_ns,
        jitter_ns=0,
        ssrc=0xDEADBEEF,
        timestamp=0xCAFEBABE,
        packets=1,
        lost=0,
        reordered=0,
        duplicates=0,
        bad_next=NO_BAD_NEXT,
        highest=1000,
        payload_type=0,
        used=1,
    )
    assert others == [NO_STREAM] * 3


def test_the_marker_is_no_part_of_the_payload_type(talk: Talk) -> None:
    talk.say(rtp(1, payload_type=0x80 | 101))
    assert talk.counters.streams[0].payload_type == 101


def test_packets_in_order_are_neither_lost_nor_late(talk: Talk) -> None:
    stream = talk.sequence(65534, 65535, 0, 1)
    assert (stream.packets, stream.lost, stream.reordered, stream.duplicates) == (4, 0, 0, 0)
    assert (stream.highest, stream.seen) == (1, 0b1111)


def test_gaps_are_lost_packets(talk: Talk) -> None:
    stream = talk.sequence(65530, 65533, 2)
    assert (stream.lost, stream.highest) == (2 + 4, 2)


def test_a_late_packet_is_not_lost(talk: Talk) -> None:
    stream = talk.sequence(1, 3, 2)
    assert (stream.lost, stream.reordered, stream.highest, stream.seen) == (0, 1, 3, 0b111)


def test_a_packet_that_comes_twice_is_a_duplicate(talk: Talk) -> None:
    stream = talk.sequence(1, 2, 3, 3, 1)
    assert (stream.duplicates, stream.reordered, stream.packets) == (2, 0, 5)


def test_a_late_packet_that_comes_twice_is_a_duplicate_once(talk: Talk) -> None:
    stream = talk.sequence(1, 3, 2, 2)
    assert (stream.reordered, stream.duplicates, stream.lost) == (1, 1, 0)


def test_losses_never_fall_below_none(talk: Talk) -> None:
    """Packets from before the first one come late: nothing was counted as lost for them."""
    stream = talk.sequence(100, 99, 98)
    assert (stream.lost, stream.reordered) == (0, 2)


@pytest.mark.parametrize(("behind", "late"), [(63, 1), (64, 0)])
def test_63_packets_back_is_as_late_as_a_packet_is_known(talk: Talk, behind: int, late: int) -> None:
    assert talk.sequence(1000, 1000 - behind).reordered == late


@pytest.mark.parametrize(
    ("ahead", "seen"), [(1, 0b111), (62, 3 << 62 | 1), (63, 1 << 63 | 1), (64, 1), (2999, 1)]
)
def test_a_gap_moves_what_was_seen_back(talk: Talk, ahead: int, seen: int) -> None:
    stream = talk.sequence(64999, 65000, 65000 + ahead)
    assert (stream.seen, stream.lost) == (seen, ahead - 1)


def test_a_gap_is_no_loss_where_it_is_not_known_what_came_in_between(kernel_relay: KernelRelay) -> None:
    """As after RtpStream.resume()."""
    talk = Talk(kernel_relay, IPV4)
    talk.sequence(998, 1000)
    counters = talk.counters
    resumed = counters.streams[0]._replace(seen=0b100)
    kernel_relay.set_counters(3, counters._replace(streams=(resumed, *counters.streams[1:])))
    stream = talk.sequence(1000, 1500, 1501, 1503)
    assert (stream.packets, stream.lost, stream.duplicates) == (2 + 4, 1 + 1, 1)


@pytest.mark.parametrize("leap", [3000, 30_000, 65536 - 64])
def test_one_packet_far_off_is_a_stray(talk: Talk, leap: int) -> None:
    stream = talk.sequence(1000, 1000 + leap, 1001)
    assert (stream.lost, stream.highest, stream.packets) == (0, 1001, 3)


def test_two_packets_in_a_row_far_off_are_a_restart(talk: Talk) -> None:
    stream = talk.sequence(1000, 1003, 20_000, 20_001, 20_003)
    assert (stream.highest, stream.lost, stream.bad_next) == (20_003, 2 + 1, NO_BAD_NEXT)
    assert stream.seen == 0b101


def test_a_restart_may_wrap_around(talk: Talk) -> None:
    assert talk.sequence(1000, 65535, 0).highest == 0


def test_two_packets_far_off_from_each_other_are_strays(talk: Talk) -> None:
    stream = talk.sequence(1000, 20_000, 30_000)
    assert (stream.highest, stream.bad_next) == (1000, 30_001)


def test_four_streams_are_told_apart_by_ssrc(talk: Talk) -> None:
    for ssrc in (0, 1, 2, 3, 2):
        talk.say(rtp(10 + ssrc, ssrc=ssrc))
    assert [stream.ssrc for stream in talk.counters.streams] == [0, 1, 2, 3]
    assert [stream.highest for stream in talk.counters.streams] == [10, 11, 12, 13]
    assert talk.counters.streams[2].duplicates == 1


def test_the_fifth_ssrc_takes_the_oldest_ones_place(talk: Talk) -> None:
    for ssrc in (1, 2, 3, 4, 5, 6):
        talk.say(rtp(1, ssrc=ssrc))
    assert [stream.ssrc for stream in talk.counters.streams] == [5, 6, 3, 4]
    assert talk.counters.streams[0].packets == 1
    assert talk.counters.next_stream == 2


NOT_RTP = {
    "nothing": b"",
    "11 bytes": rtp(1)[:11],
    "version 1": b"\x40" + rtp(1)[1:],
    "STUN": b"\x00\x01" + rtp(1)[2:],
    "RTCP, the lowest": b"\x80" + bytes([192]) + rtp(1)[2:],
    "RTCP, a sender report": b"\x80" + bytes([200]) + rtp(1)[2:],
    "RTCP, the highest": b"\x80" + bytes([223]) + rtp(1)[2:],
}


@pytest.mark.parametrize("payload", NOT_RTP.values(), ids=NOT_RTP.keys())
def test_what_is_not_rtp_is_relayed_but_is_no_stream(talk: Talk, payload: bytes) -> None:
    talk.say(payload)
    assert talk.counters.packets == 1
    assert talk.counters.streams == (NO_STREAM,) * 4


@pytest.mark.parametrize("second", [0, 127, 128, 191, 224, 255])
def test_all_other_second_bytes_are_rtp(talk: Talk, second: int) -> None:
    talk.say(rtp(1, size=0)[:1] + bytes([second]) + rtp(1, size=0)[2:])
    assert talk.counters.streams[0].packets == 1


def test_a_flow_that_carries_no_rtp_has_no_streams(kernel_relay: KernelRelay) -> None:
    talk = Talk(kernel_relay, IPV4.but(rtp=False))
    talk.say(rtp(1))
    assert talk.counters.streams == (NO_STREAM,) * 4


RECEIVER_REPORT = b"\x81\xc9\x00\x07" + bytes(28)


@pytest.mark.parametrize(
    "payload",
    [RECEIVER_REPORT, b"\x80\xc0" + bytes(10), b"\x80\xdf" + bytes(10), b"\x80\xc9\0\1" + bytes(4), b""],
)
def test_rtcp_is_left_to_the_socket_where_the_flow_says_so(kernel_relay: KernelRelay, payload: bytes) -> None:
    relayed = IPV4.but(leave_rtcp=True)
    talk = Talk(kernel_relay, relayed)
    talk.say(rtp(1))
    assert kernel_relay.receive(relayed.sent(payload=payload)).verdict is Verdict.LEFT_TO_SOCKETS
    talk.say(rtp(2, size=0))
    assert (talk.counters.packets, talk.counters.streams[0].packets) == (2, 2)


def test_a_flow_without_rtp_leaves_no_rtcp(kernel_relay: KernelRelay) -> None:
    talk = Talk(kernel_relay, IPV4.but(rtp=False, leave_rtcp=True))
    talk.say(RECEIVER_REPORT)
    assert talk.counters.packets == 1


def test_a_reading_that_was_scribbled_over_harms_nothing(kernel_relay: KernelRelay) -> None:
    """Its memory is mapped by others."""
    talk = Talk(kernel_relay, IPV4)
    kernel_relay.set_counters(3, FlowCounters(next_stream=0xFFFFFFFE))
    talk.say(rtp(1))
    assert (talk.counters.streams[2].packets, talk.counters.next_stream) == (1, 3)


def jitter_s(stream: StreamFields) -> float:
    return stream.jitter_ns / 16 / 1e9


def distance_s(talk: Talk, payload: bytes, *, media_s: float) -> float:
    """How far the time between two packets is from that between their media: Alice says the second one.

    The kernel says when each came, because a busy host may let any time pass between the two.
    """
    before_ns = talk.counters.streams[0].arrival_ns
    talk.say(payload)
    return abs((talk.counters.streams[0].arrival_ns - before_ns) / 1e9 - media_s)


def test_jitter_grows_by_a_sixteenth_of_the_distance(talk: Talk) -> None:
    talk.say(rtp(1, timestamp=0))
    distance = distance_s(talk, rtp(2, timestamp=8000), media_s=1)
    assert jitter_s(talk.counters.streams[0]) == pytest.approx(distance / 16)


@pytest.mark.parametrize(
    ("first", "second", "media_s"), [(8000, 0, -1), (0xFFFFFFFF, 7999, 1), (4000, 0xFFFFFFFF - 3999, -1)]
)
def test_timestamps_wrap_and_run_backwards(talk: Talk, first: int, second: int, media_s: float) -> None:
    talk.say(rtp(1, timestamp=first))
    distance = distance_s(talk, rtp(2, timestamp=second), media_s=media_s)
    assert jitter_s(talk.counters.streams[0]) == pytest.approx(distance / 16)


def met_before(kernel_relay: KernelRelay, *, seconds_ago: float, jitter_s: float = 0) -> None:
    """As if packet 1 had come some time ago, with timestamp 80000."""
    (stream, *others) = kernel_relay.counters(3).streams
    before = stream._replace(
        arrival_ns=time.monotonic_ns() - int(seconds_ago * 1e9),
        jitter_ns=int(jitter_s * 16e9),
        timestamp=80_000,
    )
    kernel_relay.set_counters(3, kernel_relay.counters(3)._replace(streams=(before, *others)))


@pytest.mark.parametrize(("timestamp", "media_s"), [(80_000, 0), (88_000, 1), (96_000, 2), (72_000, -1)])
def test_the_distance_is_between_the_time_that_passed_and_the_medias(
    kernel_relay: KernelRelay, timestamp: int, media_s: float
) -> None:
    talk = Talk(kernel_relay, IPV4)
    talk.say(rtp(1))
    met_before(kernel_relay, seconds_ago=1)
    distance = distance_s(talk, rtp(2, timestamp=timestamp), media_s=media_s)
    assert jitter_s(talk.counters.streams[0]) == pytest.approx(distance / 16)


def test_jitter_fades_by_a_sixteenth_when_packets_come_on_time(kernel_relay: KernelRelay) -> None:
    talk = Talk(kernel_relay, IPV4)
    talk.say(rtp(1))
    met_before(kernel_relay, seconds_ago=1, jitter_s=1.6)
    late = distance_s(talk, rtp(2, timestamp=88_000), media_s=1)
    assert jitter_s(talk.counters.streams[0]) == pytest.approx(1.5 + late / 16)


def test_a_leap_of_more_than_four_seconds_is_no_jitter(talk: Talk) -> None:
    talk.say(rtp(1, timestamp=0))
    talk.say(rtp(2, timestamp=8000 * 5))
    stream = talk.counters.streams[0]
    assert (stream.jitter_ns, stream.timestamp) == (0, 8000 * 5)


def test_only_the_payload_type_whose_clock_is_known_is_metered(talk: Talk) -> None:
    talk.say(rtp(1, timestamp=0))
    talk.say(rtp(2, timestamp=8000, payload_type=101))
    stream = talk.counters.streams[0]
    assert (stream.jitter_ns, stream.timestamp, stream.payload_type) == (0, 0, 101)


def test_without_a_clock_there_is_no_jitter(kernel_relay: KernelRelay) -> None:
    talk = Talk(kernel_relay, IPV4.but(clock_hz=0))
    talk.sequence(1, 2)
    assert (talk.counters.streams[0].arrival_ns, talk.counters.streams[0].jitter_ns) == (0, 0)


def test_duplicates_and_strays_say_nothing_of_timing(talk: Talk) -> None:
    talk.sequence(1, 1, 20_000)
    assert talk.counters.streams[0].timestamp == 160
