"""RTP statistics through real sockets: packets lost, doubled and reordered, in every reader."""

import dataclasses
import struct
import time
from collections.abc import Sequence

import msgspec
import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media, Side
from nh.calls.media_state import SILENT_S
from nh.calls.rtcp_reports import MAX_READ
from nh.calls.rtp.payload_types import PayloadFormat
from nh.calls.settings import RelaySettings
from nh.commands import Query, ShowCall
from nh.fastpath.counter_range import CounterRange
from nh.fastpath.layout import FlowCounters
from nh.results import CallDetail, StreamDetail
from nh.verdict import judge_call
from tests.calls.rtp import DTMF, OPUS, PCMA, PCMU, rtp_packet
from tests.rtcp import receiver_report, report_block, sender_report
from tests.shard.conftest import MakeNg, MakePeer, MakeTestbed
from tests.shard.ng_testbed import CALL, NgTestbed, line
from tests.shard.testbed import V4, Conversation, RelayTestbed, Where, audio
from tools.harness.media_peer import RTCP, RTP, MediaPeer

SENDER_REPORT = struct.pack("!BBHII", 0x80, 200, 6, 0xDEADBEEF, 1) + bytes(16)


def send(
    testbed: RelayTestbed, sender: MediaPeer, call: Conversation, receiver: MediaPeer, *packets: bytes
) -> None:
    """Send to the relay what it is to receive, and wait for each packet at the receiver."""
    for packet in packets:
        sender.send_raw(packet, call.for_caller)
        assert testbed.receive(receiver)[0] == packet


def speech(*numbers: int, ssrc: int = 0xDEADBEEF) -> list[bytes]:
    return [rtp_packet(number, 160 * number, ssrc=ssrc) for number in numbers]


def streams(testbed: RelayTestbed, call: Conversation, side: Side = Side.FROM) -> Sequence[StreamDetail]:
    return testbed.leg(call.key, side).streams


def counts(stream: StreamDetail) -> tuple[int, int, int, int]:
    return stream.packets, stream.lost, stream.reordered, stream.duplicates


@dataclasses.dataclass
class Participants:
    """A call and its two phones."""

    testbed: RelayTestbed
    alice: MediaPeer
    bob: MediaPeer
    call: Conversation

    def send(self, *packets: bytes) -> None:
        send(self.testbed, self.alice, self.call, self.bob, packets[0])
        # reading the streams finds a new payload type; from then on the kernel measures its jitter
        _ = self.streams
        send(self.testbed, self.alice, self.call, self.bob, *packets[1:])

    @property
    def streams(self) -> Sequence[StreamDetail]:
        return streams(self.testbed, self.call)


@pytest.fixture(params=["latching", "connected"])
def ends(request: pytest.FixtureRequest, make_testbed: MakeTestbed, make_peer: MakePeer) -> Participants:
    """The caller's source latches at the end of its window, or with the first packet."""
    alice, bob = make_peer(), make_peer()
    connected = request.param == "connected"
    testbed = make_testbed(policy=SourcePolicy.FIRST if connected else SourcePolicy.HANDOVER)
    handshake = msgspec.structs.replace(audio(alice), handshakes=("dtls",))
    ends = Participants(testbed, alice, bob, testbed.call(handshake, bob))
    alice.send_raw(bytes([22, 0xFE, 0xFF]) + bytes(10), ends.call.for_caller)  # it is measured by no stream
    testbed.receive(bob)
    assert testbed.leg(ends.call.key, Side.FROM).latched is connected
    return ends


def test_what_is_lost_doubled_and_swapped_is_counted(ends: Participants) -> None:
    ends.send(*speech(0, 1, 2, 3, 3, 6, 5, 7, 9))
    (stream,) = ends.streams
    assert counts(stream) == (9, 2, 1, 1)
    assert (stream.ssrc, stream.payload_type, stream.encoding) == (0xDEADBEEF, PCMU, "PCMU")
    assert stream.loss_ratio == pytest.approx(2 / 10)
    assert stream.jitter_ms is not None
    assert stream.mos is None, "too few packets"


def test_the_payload_type_is_that_of_the_latest_packet(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    for number, payload_type in enumerate((PCMU, PCMU, PCMA, DTMF, PCMA)):
        send(testbed, alice, call, bob, rtp_packet(number, 160 * number, payload_type=payload_type))
        assert testbed.leg(call.key, Side.FROM).payload_type == payload_type


def test_every_ssrc_is_a_stream(ends: Participants) -> None:
    ends.send(*speech(0, 1, ssrc=1), *speech(7, 9, ssrc=2))
    assert [(each.ssrc, *counts(each)) for each in ends.streams] == [(1, 2, 0, 0, 0), (2, 2, 1, 0, 0)]


def test_rtcp_stun_and_short_packets_on_the_port_are_relayed_and_not_measured(ends: Participants) -> None:
    ends.send(*speech(0), SENDER_REPORT, b"\0\x01\0\x00" + bytes(16), b"\x80", b"", *speech(1))
    assert [counts(each) for each in ends.streams] == [(2, 0, 0, 0)]
    assert ends.testbed.leg(ends.call.key, Side.FROM).packets == 1 + 6


def test_audio_of_a_second_has_a_mos(ends: Participants) -> None:
    ends.send(*speech(*(number for number in range(100) if number % 10)))
    (stream,) = ends.streams
    assert counts(stream) == (90, 9, 0, 0), "a packet lost before the first one is unknown"
    assert stream.mos is not None
    assert 1 <= stream.mos < 4.2


def test_one_way_says_nothing_of_the_other(ends: Participants) -> None:
    ends.send(*speech(0, 1))
    assert streams(ends.testbed, ends.call, Side.TO) == ()


def test_a_leg_has_a_meter_from_its_first_packet_on(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    (session,) = testbed.relay.table.running
    assert [leg.meter for leg in session.legs] == [None] * 4
    testbed.passes(alice, call.for_caller, bob)
    assert [leg.meter is not None for leg in session.legs] == [True, False, False, False]


def test_rtcp_has_no_streams(ends: Participants) -> None:
    ends.testbed.passes(ends.alice, ends.call.for_caller, ends.bob, RTCP, payload=SENDER_REPORT)
    assert ends.testbed.leg(ends.call.key, Side.FROM, RTCP).streams == ()


def test_what_has_nowhere_to_go_was_received_and_is_measured(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice = make_peer()
    call = testbed.call(alice, Media("phone.example.org", 4000, 2, "RTP/AVP", "audio"))
    for packet in speech(0, 1, 3):
        alice.send(packet, call.for_caller)
    testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).packets == 3, "three packets")
    assert [counts(each) for each in streams(testbed, call)] == [(3, 1, 0, 0)]


def test_packets_that_are_not_the_sources_are_not_measured(
    make_testbed: MakeTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(), make_peer(), make_peer("127.0.0.9")
    testbed = make_testbed(policy=SourcePolicy.STRICT)
    call = testbed.call(alice, bob)
    mallory.send(speech(500)[0], call.for_caller)
    send(testbed, alice, call, bob, *speech(0, 1))
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "the drop is counted")
    assert [counts(each) for each in streams(testbed, call)] == [(2, 0, 0, 0)]


def test_a_fax_has_no_streams(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    fax = [Media(peer.address, peer.port, 2, "udptl", "image") for peer in (alice, bob)]
    call = testbed.call(*fax)
    send(testbed, alice, call, bob, *speech(0, 1))
    assert streams(testbed, call) == ()


def test_dynamic_payload_types_have_the_clock_that_was_told(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    formats = (PayloadFormat(OPUS, "opus", 48_000), PayloadFormat(DTMF, "telephone-event", 8000))
    call = testbed.call(msgspec.structs.replace(audio(alice), formats=formats), bob)
    send(
        testbed, alice, call, bob, rtp_packet(0, 0, payload_type=OPUS), rtp_packet(1, 960, payload_type=OPUS)
    )
    (stream,) = streams(testbed, call)
    assert (stream.encoding, stream.jitter_ms is None) == ("opus", False)
    send(testbed, alice, call, bob, rtp_packet(2, 960, payload_type=DTMF))
    (stream,) = streams(testbed, call)
    assert (stream.encoding, stream.packets) == ("telephone-event", 3)


def test_without_a_clock_packets_are_counted_and_jitter_is_not_known(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    send(testbed, alice, call, bob, *(rtp_packet(number, payload_type=96) for number in (0, 1, 3)))
    (stream,) = streams(testbed, call)
    assert (counts(stream), stream.jitter_ms, stream.encoding) == ((3, 1, 0, 0), None, "")


@pytest.mark.parametrize("coalesce_s", [0.0, RelaySettings().coalesce_s])
def test_a_burst_is_counted_whatever_the_pace_of_the_loop(
    make_testbed: MakeTestbed, make_peer: MakePeer, coalesce_s: float
) -> None:
    alice, bob = make_peer(), make_peer()
    testbed = make_testbed(coalesce_s=coalesce_s)
    call = testbed.call(alice, bob)
    for packet in speech(*range(200)):
        alice.send(packet, call.for_caller)
    for _ in range(200):
        testbed.receive(bob)
    assert [counts(each) for each in streams(testbed, call)] == [(200, 0, 0, 0)]


# --- ng ---------------------------------------------------------------------------------------------


def query_streams(ng: NgTestbed, tag: bytes) -> list[StreamDetail]:
    (queried,) = [each for each in ng.query().tags if each.tag == tag]
    return [rtp for medium in queried.media for stream in medium.streams for rtp in stream.rtp]


def test_an_end_that_muxes_rtcp_has_its_rtp_measured(make_ng: MakeNg, make_peer: MakePeer) -> None:
    ng = make_ng()
    alice, bob = make_peer(), make_peer()
    ng.offer([line(alice, "rtcp-mux", "rtpmap:111 opus/48000/2")], mux_demux=True)
    sdp = ng.answer([line(bob, "rtpmap:111 opus/48000/2")], mux_demux=True)
    port = int(sdp.split(b"m=audio ")[1].split()[0])
    for number in (0, 1, 3):
        ng.passes(alice, (V4, port), bob, payload=rtp_packet(number, 960 * number, payload_type=OPUS))
    alice.send(SENDER_REPORT, (V4, port))
    assert ng.receive(bob, RTCP)[0] == SENDER_REPORT
    (stream,) = query_streams(ng, b"alice")
    assert (counts(stream), stream.encoding) == ((3, 1, 0, 0), "opus")
    assert stream.jitter_ms is not None


# --- RTCP that passes -----------------------------------------------------------------------------

A, B = 0xA1, 0xB2


def talks(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, call: Conversation, first: int) -> None:
    """Some packets of either end."""
    for number in range(first, first + 3):
        for sender, to, receiver, ssrc in (
            (alice, call.for_caller, bob, A),
            (bob, call.for_callee, alice, B),
        ):
            sender.send_raw(rtp_packet(number, 160 * number, ssrc=ssrc), to)
            testbed.receive(receiver)


def test_rtcp_tells_round_trips_and_then_goes_through_the_kernel(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    talks(testbed, alice, bob, call, 1)
    in_kernel = testbed.leg(call.key, Side.FROM).kernel
    for sender, to, receiver, packet in (
        (alice, call.for_caller, bob, sender_report(A, 7)),
        (bob, call.for_callee, alice, sender_report(B, 8, report_block(A, lsr=7))),
    ):
        testbed.passes(sender, to, receiver, RTCP, packet)
        leg = testbed.leg(call.key, Side.FROM, component=RTCP)
        assert (leg.kernel, leg.user_space_because) == (
            False,
            "RTCP tells the round trip soon" if in_kernel else "it is turned off",
        )
    testbed.passes(alice, call.for_caller, bob, RTCP, receiver_report(A, report_block(B, lsr=8)))
    testbed.turn_until(
        lambda: testbed.leg(call.key, Side.FROM, component=RTCP).kernel is in_kernel, "RTCP is where RTP is"
    )
    testbed.passes(bob, call.for_callee, alice, RTCP, receiver_report(B))
    assert testbed.leg(call.key, Side.TO, component=RTCP).kernel is in_kernel
    for side in Side:
        (stream,) = streams(testbed, call, side)
        assert stream.round_trip_ms is not None
        assert 0 <= stream.round_trip_ms < 5000


def muxed_call(ng: NgTestbed, alice: MediaPeer, bob: MediaPeer) -> tuple[Where, Where]:
    """A call with RTCP on the ports of RTP, in the kernel if there is one; where Alice and Bob send to."""
    talk = ng.connect([line(alice, "rtcp-mux")], [line(bob, "rtcp-mux")])
    to_alice, to_bob = talk.alice_sends_to[0], talk.bob_sends_to[0]
    for number in (1, 2, 3):
        ng.passes(alice, to_alice, bob, RTP, rtp_packet(number, 160 * number, ssrc=A))
        ng.passes(bob, to_bob, alice, RTP, rtp_packet(number, 160 * number, ssrc=B))
    return to_alice, to_bob


@pytest.mark.parametrize("demuxed", [False, True])
@pytest.mark.parametrize(("direction", "state"), [("sendrecv", "problem"), ("recvonly", "waiting")])
def test_rtcp_alone_on_the_port_of_rtp_is_no_media(
    ng: NgTestbed, make_peer: MakePeer, direction: str, state: str, *, demuxed: bool
) -> None:
    """`nh why` took it for media, and said that all was well."""
    alice, bob = make_peer(), make_peer()
    callee = [line(bob)] if demuxed else [line(bob, "rtcp-mux")]
    talk = ng.connect([line(alice, "rtcp-mux", direction)], callee, mux_demux=demuxed)
    to_alice = talk.alice_sends_to[0]
    for _ in range(3):
        alice.send_raw(sender_report(A, 7), to_alice)
        assert ng.receive(bob, RTCP if demuxed else RTP)[0] == sender_report(A, 7)
    for session in ng.relay.table.get_call(CALL).running:
        session.created -= SILENT_S  # media have had their time to begin
    call = ng.relay.execute(ShowCall(CALL))
    assert isinstance(call, CallDetail)
    verdict = judge_call(call).verdicts[0]
    assert verdict.state == state
    assert "None" not in verdict.found
    if state == "problem":
        assert f"to {to_alice[0]}:{to_alice[1]}" in verdict.found
        assert "the phone reaches nh and sends no media" in verdict.cause


def in_kernel(ng: NgTestbed) -> int:
    return ng.stats().kernel_packets


def test_rtcp_on_the_port_of_rtp_tells_round_trips_and_then_goes_through_the_kernel(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    to_alice, to_bob = muxed_call(ng, alice, bob)
    before = in_kernel(ng)
    ng.passes(alice, to_alice, bob, RTP, sender_report(A, 7))
    ng.passes(bob, to_bob, alice, RTP, sender_report(B, 8, report_block(A, lsr=7)))
    ng.passes(alice, to_alice, bob, RTP, receiver_report(A, report_block(B, lsr=8)))
    assert in_kernel(ng) == before, "user space has read them"
    for tag in (b"alice", b"bob"):
        (stream,) = query_streams(ng, tag)
        assert stream.packets == 3
        assert stream.round_trip_ms is not None
    for sender, to, receiver, report in ((alice, to_alice, bob, A), (bob, to_bob, alice, B)):
        ng.passes(sender, to, receiver, RTP, receiver_report(report))
    assert in_kernel(ng) == before + 2 * bool(before)


def test_rtcp_that_goes_on_to_a_port_of_its_own_does_so_once_the_round_trips_are_known_too(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    """The kernel has no flow from the port of RTP to that of RTCP."""
    alice, bob = make_peer(), make_peer()
    talk = ng.connect([line(alice, "rtcp-mux")], bob, mux_demux=True)
    to_alice, to_bob = talk.alice_sends_to[0], talk.bob_sends_to[0]
    reports = sender_report(A, 7), sender_report(B, 8, report_block(A, lsr=7))
    for number in (1, 2, 3):
        ng.passes(alice, to_alice, bob, RTP, rtp_packet(number, 160 * number, ssrc=A))
        ng.passes(bob, to_bob, alice, RTP, rtp_packet(number, 160 * number, ssrc=B))
    for report in (reports[0], receiver_report(A, report_block(B, lsr=8))):
        alice.send_raw(report, to_alice)
        assert ng.receive(bob, RTCP)[0] == report
        bob.send_raw(reports[1], to_bob, RTCP)
        assert ng.receive(alice)[0] == reports[1]
    for tag in (b"alice", b"bob"):
        (stream,) = query_streams(ng, tag)
        assert stream.round_trip_ms is not None
    ng.offer([line(alice, "rtcp-mux")], to=b"bob", mux_demux=True)
    ng.answer(bob, mux_demux=True)
    for number in (4, 5):
        ng.passes(alice, to_alice, bob, RTP, rtp_packet(number, 160 * number, ssrc=A))
    alice.send_raw(receiver_report(A), to_alice)
    assert ng.receive(bob, RTCP)[0] == receiver_report(A)


def test_a_view_reads_once_what_the_kernel_has_counted_of_an_end(
    ng: NgTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read it, and to take it over, is most of the work of a query."""
    read: list[int] = []
    plain = CounterRange.read

    def counted(counters: CounterRange, index: int) -> FlowCounters:
        read.append(index)
        return plain(counters, index)

    muxed_call(ng, make_peer(), make_peer())
    monkeypatch.setattr(CounterRange, "read", counted)
    flows = 2 * bool(in_kernel(ng))
    for command in (Query(CALL, b""), ShowCall(CALL)):
        read.clear()
        ng.relay.execute(command)
        assert len(set(read)) == len(read) == flows


def test_rtcp_on_the_port_of_rtp_that_tells_nothing_is_read_eight_times(
    ng: NgTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    to_alice, _ = muxed_call(ng, alice, bob)
    before = in_kernel(ng)
    for _ in range(MAX_READ + 3):
        ng.passes(alice, to_alice, bob, RTP, receiver_report(A))
    assert in_kernel(ng) == before + 2 * bool(before)


def test_a_call_of_some_seconds_has_its_worst_and_its_best_interval(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    number = 0
    for lost_each in (0, 10, 0):
        for _ in range(300):
            number += 1
            if not lost_each or number % lost_each:
                alice.send_raw(rtp_packet(number, 160 * number), call.for_caller)
                testbed.receive(bob)
        _ = testbed.leg(call.key, Side.FROM)  # ends the interval
    (stream,) = streams(testbed, call)
    average, lowest, highest = stream.average, stream.lowest, stream.highest
    assert average is not None
    assert lowest is not None
    assert highest is not None
    assert average.samples in (2, 3)  # the relay polls too
    assert 0.05 < lowest.loss_ratio < 0.12
    assert highest.loss_ratio == 0
    assert lowest.mos < average.mos < highest.mos
    assert 0 < lowest.at <= time.time()


def test_the_quality_of_streams_is_counted_when_their_session_ends(ends: Participants) -> None:
    ends.send(*speech(*range(50), *range(51, 101)))  # one of 101 is missing
    send_back = [*speech(1, 2, 3, ssrc=7)]  # too few to say anything
    for packet in send_back:
        ends.bob.send_raw(packet, ends.call.for_callee)
        ends.testbed.receive(ends.alice)
    stats = ends.testbed.relay.stats
    assert sum(stats.stream_loss.counts) == 0, "the session goes on"
    ends.testbed.bye(ends.call.key)
    assert (
        sum(stats.stream_loss.counts)
        == sum(stats.stream_mos.counts)
        == sum(stats.stream_jitter_s.counts)
        == 1
    )
    assert stats.stream_loss.sum == pytest.approx(1 / 101, abs=0.001)
    assert 1 <= stats.stream_mos.sum <= 4.5
