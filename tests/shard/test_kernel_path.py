"""Which directions the kernel relays, when they come back, and that calls see nothing of either."""

import contextlib
import errno
import itertools
import os
import select
import socket
import time
from collections.abc import Iterator

import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Endpoint, Media, Side
from nh.calls.rtp.meter import RtpMeter
from nh.calls.rtp.quality import INTERVAL_PACKETS
from nh.commands import TransactionKey
from nh.errors import KernelTableFull
from nh.fastpath import bpf, layout
from nh.fastpath.flows import FlowTable
from nh.fastpath.loader import LoadedProgram
from nh.fastpath.moving_flows import MovingFlows
from nh.results import LegDetail
from nh.shard.media.kernel import path as kernel_path
from nh.shard.media.kernel.flow import MAX_ATTEMPTS, KernelFlow
from nh.shard.media.kernel.path import FULL
from nh.shard.media.plane import ROUND_S
from tests.calls.rtp import PCMA, PCMU, rtp_packet
from tests.kernel_paths import new_kernel_path
from tests.shard.conftest import MakeKernelPath, MakeNg, MakePeer, MakeTestbed
from tests.shard.ng_testbed import NgTalk, NgTestbed, line, rtcp
from tests.shard.testbed import PACKET, V4, V6, Conversation, RelayTestbed, Where, shuts_out
from tests.sip.sdp import MediaLine
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import eventually
from tools.rtp import RtpPacket

pytestmark = pytest.mark.kernel

MALLORY = "127.0.0.66"


@pytest.fixture
def make_kernel_path(kernel_program: LoadedProgram) -> MakeKernelPath:
    """Every relay here has the path in the kernel."""
    return lambda: new_kernel_path(kernel_program)


def legs(testbed: RelayTestbed, call: Conversation) -> list[LegDetail]:
    """All directions of the newest session."""
    session = testbed.show(call.key).sessions[-1]
    return [leg for pair in session.pairs for leg in (pair.from_, pair.to)]


def why_not(testbed: RelayTestbed, call: Conversation, side: Side = Side.FROM, component: int = RTP) -> str:
    leg = testbed.leg(call.key, side, component)
    assert not leg.kernel
    return leg.user_space_because


def kernel_packets(testbed: RelayTestbed) -> int:
    return testbed.stats().kernel_packets


# --- into the kernel --------------------------------------------------------------------------------


def test_every_direction_moves_once_its_source_is_latched(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    assert [leg.user_space_because for leg in legs(testbed, call)] == ["its source is not latched yet"] * 4
    testbed.converse(alice, bob, call)
    assert [leg.kernel for leg in legs(testbed, call)] == [True] * 4
    assert kernel_packets(testbed) == 0
    for _ in range(5):
        testbed.converse(alice, bob, call)
    assert [(leg.packets, leg.kernel_packets) for leg in legs(testbed, call)] == [(6, 5)] * 4
    assert testbed.stats().kernel_flows == 4


def test_totals_match_packet_for_packet_over_both_paths_and_after_the_end(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    for _ in range(10):
        testbed.converse(alice, bob, call)
    assert testbed.bye(call.key) == 1
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out, stats.kernel_packets) == (40, 40, 36)
    assert (stats.bytes_in, stats.bytes_out) == (40 * len(PACKET), 40 * len(PACKET))
    assert stats.kernel_bytes == 36 * len(PACKET)
    assert stats.kernel_flows == 0


def test_a_source_that_fits_less_well_moves_when_its_window_is_over(
    make_testbed: MakeTestbed, make_peer: MakePeer, bob: MediaPeer
) -> None:
    testbed = make_testbed(latch_window_s=60)
    alice = make_peer("127.0.0.11")
    call = testbed.call(Media("192.168.1.99", alice.port, 2, "RTP/AVP", "audio"), bob)
    testbed.passes(alice, call.for_caller, bob)
    assert why_not(testbed, call) == "its source is not latched yet"
    [session] = testbed.relay.table.get_call(call.key.call_id).running
    session.legs[0].window_ends = time.monotonic()
    testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).kernel, "the direction is in the kernel")
    testbed.passes(alice, call.for_caller, bob)
    assert testbed.leg(call.key, Side.FROM).kernel_packets == 1


def test_packets_that_wait_when_a_direction_moves_stay_ahead_of_those_that_follow(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    sent = [rtp_packet(number) for number in range(100)]
    for payload in sent[:50]:
        alice.send(payload, call.for_caller)  # wait at the socket, the loop does not turn
    assert testbed.receive(bob)[0] == sent[0]
    for payload in sent[50:]:
        alice.send(payload, call.for_caller)
    assert [testbed.receive(bob)[0] for _ in sent[1:]] == sent[1:]
    assert testbed.leg(call.key, Side.FROM).kernel_packets == 50


# --- and back ---------------------------------------------------------------------------------------


def test_a_re_invite_mid_stream_loses_and_doubles_nothing(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    first = testbed.call(alice, bob)
    testbed.converse(alice, bob, first)
    numbers = itertools.count()
    sent: list[bytes] = []

    def talk(to: Where) -> None:
        for _ in range(20):
            sent.append(b"%05d" % next(numbers))
            alice.send(sent[-1], to)

    talk(first.for_caller)
    again = TransactionKey(first.key.call_id, 2, first.key.id_from, first.key.id_to)
    second = testbed.call(alice, bob, key=again)
    talk(first.for_caller)  # on its way when the re-INVITE took effect
    talk(second.for_caller)
    talk(second.for_caller)
    assert [testbed.receive(bob)[0] for _ in sent] == sent
    assert bob.pending() == []


def test_a_call_on_hold_is_in_the_kernel_again_when_it_is_resumed(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = ng.connect(alice, bob)
    for _ in range(2):
        ng.talk(alice, bob, talk)
    assert kernel_packets(ng) == 4
    ng.offer([MediaLine("0.0.0.0", alice.port)], to=b"bob")
    ng.answer(bob)
    assert ng.stats().kernel_flows == 0 or ng.dropped() == 0
    ng.offer(alice, to=b"bob")
    ng.answer(bob)
    for _ in range(2):
        ng.talk(alice, bob, talk)
    assert kernel_packets(ng) >= 8
    assert ng.stats().kernel_flows == 4


def test_a_new_offer_that_says_the_same_leaves_all_in_the_kernel(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = ng.connect(alice, bob)
    for _ in range(2):
        ng.talk(alice, bob, talk)
    ng.offer(alice, to=b"bob")
    ng.answer(bob)
    before = kernel_packets(ng)
    ng.talk(alice, bob, talk)
    assert kernel_packets(ng) == before + 4


def test_a_flow_follows_the_phone_that_its_nat_moves(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    moved = make_peer()
    call = testbed.call(alice, bob)
    for number in range(10):
        testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(number))
    for number in range(10, 20):
        testbed.passes(moved, call.for_caller, bob, payload=rtp_packet(number))
        testbed.passes(bob, call.for_callee, moved)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.source, leg.kernel, leg.kernel_packets) == (f"{V4}:{moved.port}", True, 9 + 9)


# --- what stays in user space, and why --------------------------------------------------------------


def test_no_other_source_is_relayed_through_the_kernel(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, make_peer: MakePeer
) -> None:
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    mallory = make_peer(MALLORY)
    for stranger in (mallory, make_peer()):
        stranger.send(b"hello", call.for_caller)
    assert shuts_out(call.for_caller, MALLORY)
    testbed.passes(alice, call.for_caller, bob)
    assert bob.pending() == []
    assert kernel_packets(testbed) == 1


def test_an_end_that_is_blocked_is_dropped_in_user_space(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = ng.connect(alice, bob)
    for _ in range(2):
        ng.talk(alice, bob, talk)
    ng.block(b"alice")
    alice.send(PACKET, talk.alice_sends_to[0])
    ng.turn_until(lambda: ng.stats().drop_no_target == 1, "the packet is dropped")
    assert bob.pending() == []
    ng.block(b"alice", blocked=False)
    ng.talk(alice, bob, talk)
    assert kernel_packets(ng) == 4 + 4, "nothing had to latch again"


def test_rtcp_that_has_to_be_told_from_rtp_is_told_in_user_space(
    ng: NgTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    talk = ng.connect([line(alice, "rtcp-mux")], bob, mux_demux=True)
    (address, to_bob), to_alice = talk.alice_sends_to[0], talk.bob_sends_to[0]
    for _ in range(3):
        assert ng.passes(alice, (address, to_bob), bob) == to_alice
        assert ng.passes(bob, to_alice, alice) == (address, to_bob)
    for _ in range(12):  # more than are read where none has to be told apart
        alice.send_raw(rtcp(), (address, to_bob))
        assert ng.receive(bob, RTP + 1) == (rtcp(), (to_alice[0], to_alice[1] + 1))
        bob.send_raw(rtcp(), to_alice, RTP + 1)
        assert ng.receive(alice) == (rtcp(), (address, to_bob))
    assert kernel_packets(ng) >= 2 + 2
    assert ng.stats().packets_out == ng.stats().packets_in == 6 + 24


def test_what_goes_from_one_ip_version_to_the_other_stays_in_user_space(
    testbed: RelayTestbed, alice: MediaPeer, make_peer: MakePeer, ipv6: None
) -> None:
    bob = make_peer(V6)
    call = testbed.call(alice, bob, to_callee=V6)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    assert why_not(testbed, call) == "it goes from one IP version to the other"
    assert kernel_packets(testbed) == 0


def test_an_end_met_at_the_other_ip_version_with_its_source_of_before_stays_in_user_space(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, ipv6: None
) -> None:
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    assert [leg.kernel for leg in legs(testbed, call)] == [True] * 4
    key = TransactionKey(call.key.call_id, 2, call.key.id_from, call.key.id_to)
    moved = testbed.call(alice, bob, key=key, to_callee=V6)
    assert [(leg.latched, leg.kernel, leg.user_space_because) for leg in legs(testbed, moved)] == [
        (True, False, "it goes from one IP version to the other")
    ] * 4
    testbed.relay.update_stats()  # which also writes the markers of flows


def test_ipv6_is_relayed_in_the_kernel(testbed: RelayTestbed, make_peer: MakePeer, ipv6: None) -> None:
    alice, bob = make_peer(V6), make_peer(V6)
    call = testbed.call(alice, bob, to_callee=V6, to_caller=V6)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    assert [leg.kernel_packets for leg in legs(testbed, call)] == [1] * 4


@pytest.mark.parametrize("policy", [SourcePolicy.HANDOVER, SourcePolicy.ASYMMETRIC])
def test_a_policy_that_never_latches_stays_in_user_space(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer, policy: SourcePolicy
) -> None:
    testbed = make_testbed(policy=policy)
    call = testbed.call(alice, bob)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    assert why_not(testbed, call) == "its policy never latches"


def test_a_full_table_leaves_further_directions_in_user_space_until_there_is_room(
    ports: range, kernel_program: LoadedProgram, make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    testbed = RelayTestbed(ports, kernel=new_kernel_path(kernel_program, flows=4))
    with contextlib.closing(testbed):
        first, second = (make_peer(), make_peer()), (make_peer(), make_peer())
        one = testbed.call(*first)
        testbed.converse(*first, one)
        other = testbed.call(*second)
        for _ in range(2):
            testbed.converse(*second, other)
        assert [why_not(testbed, other, side) for side in Side] == [FULL, FULL]
        assert (testbed.stats().kernel_flows, testbed.stats().kernel_table_full) == (4, 4)
        assert len([text for text in caplog.messages if "raise kernel_flows" in text]) == 1
        testbed.bye(one.key)
        testbed.turn_until(
            lambda: all(leg.kernel for leg in legs(testbed, other)), "the others have the room"
        )
        testbed.converse(*second, other)
        assert testbed.stats().kernel_packets == 4


# --- what operators see -----------------------------------------------------------------------------


def test_a_call_in_the_kernel_does_not_expire_while_packets_come(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed = make_testbed(silent_s=60)
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    known_to_user_space = time.monotonic()
    testbed.passes(alice, call.for_caller, bob)
    testbed.relay.expire(now=known_to_user_space + 60)
    assert (testbed.stats().expired_silent, kernel_packets(testbed)) == (0, 1)
    testbed.passes(alice, call.for_caller, bob)
    testbed.relay.expire(now=time.monotonic() + 60)
    assert (testbed.stats().expired_silent, testbed.stats().kernel_flows) == (1, 0)


def test_streams_are_measured_on_across_both_paths(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed = make_testbed()
    call = testbed.call(alice, bob)
    sequence = [10, 11, 14, 13, 13, 20]

    def send(number: int) -> None:
        testbed.passes(alice, call.for_caller, bob, payload=RtpPacket(77, number, 0).encode())

    send(sequence[0])  # in user space
    for number in sequence[1:4]:
        send(number)
    for number in sequence[4:]:
        send(number)
    (stream,) = testbed.leg(call.key, Side.FROM).streams
    assert (stream.ssrc, stream.payload_type, stream.packets) == (77, 0, 6)
    assert (stream.lost, stream.reordered, stream.duplicates) == (1 + 5, 1, 1)
    assert kernel_packets(testbed) == 5


def offloaded_call(testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer) -> Conversation:
    """A call of which the kernel relays what Alice sends, behind the packets 0 and 1."""
    call = testbed.call(alice, bob)
    for number in range(2):
        testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(number))
    return call


@contextlib.contextmanager
def forwarded_during(
    function: str, testbed: RelayTestbed, call: Conversation, talk: tuple[MediaPeer, MediaPeer], *numbers: int
) -> Iterator[list[int]]:
    """The kernel forwards one of these packets of Alice each time that the meter's function runs."""
    alice, bob = talk
    left, plain = list(numbers), getattr(RtpMeter, function)

    def slowly(*args: object) -> object:
        if left:
            alice.send(rtp_packet(left.pop(0)), call.for_caller)
            bob.receive()
        return plain(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RtpMeter, function, slowly)
        yield left


def send_beside_flow(sender: MediaPeer, packet: bytes, to: Where) -> None:
    """Send a packet that the kernel leaves to the relay's socket: it would not outlive another hop."""
    sock = sender.sockets[RTP]
    hops = sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
    sender.send(packet, to)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)


def test_what_the_kernel_counts_while_the_shard_measures_a_packet_beside_it_is_measured_too(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = offloaded_call(testbed, alice, bob)
    with forwarded_during("measure", testbed, call, (alice, bob), 3) as left:
        send_beside_flow(alice, rtp_packet(2), call.for_caller)
        assert testbed.receive(bob)[0] == rtp_packet(2)
    assert not left
    assert kernel_packets(testbed) == 2
    (stream,) = testbed.leg(call.key, Side.FROM).streams
    assert (stream.packets, stream.lost, stream.duplicates) == (4, 0, 0)


def test_a_kernel_that_counts_faster_than_the_shard_measures_does_not_hold_it_up(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = offloaded_call(testbed, alice, bob)
    with forwarded_during("measure", testbed, call, (alice, bob), *range(3, 100)) as left:
        send_beside_flow(alice, rtp_packet(2), call.for_caller)
        assert testbed.receive(bob)[0] == rtp_packet(2)
    assert len(left) == 97 - MAX_ATTEMPTS
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.packets, leg.kernel_packets) == (3 + MAX_ATTEMPTS, 1 + MAX_ATTEMPTS)
    assert [stream.packets for stream in leg.streams] == [leg.packets - 1], "the last attempt missed a packet"


def test_what_the_kernel_counts_while_another_payload_type_is_chosen_is_measured_too(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = offloaded_call(testbed, alice, bob)
    testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(2, payload_type=PCMA))
    with forwarded_during("choose_payload_type", testbed, call, (alice, bob), 3) as left:
        testbed.stats()
        testbed.leg(call.key, Side.FROM)
    assert not left
    (stream,) = testbed.leg(call.key, Side.FROM).streams
    assert (stream.packets, stream.lost) == (4, 0)


def test_an_interval_of_quality_ends_although_no_one_looks_at_the_call(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed = make_testbed()
    call = testbed.call(alice, bob)
    for number in range(INTERVAL_PACKETS + 1):
        alice.send(RtpPacket(77, number, 160 * number).encode(), call.for_caller)
        testbed.receive(bob)
    meter = testbed.relay.table.get_call(call.key.call_id).running[0].legs[0].meter
    assert meter is not None
    testbed.turn_until(lambda: meter.streams[0].quality, "the interval has a sample")


def test_flows_have_turns_of_their_own_only_while_much_is_looked_at(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_path, "FEW_LOOKS_A_SECOND", 0)
    call, plane = testbed.call(alice, bob), testbed.relay.plane
    testbed.converse(alice, bob, call)
    assert plane.kernel is not None
    plane.watch(since_s=ROUND_S, now=time.monotonic())  # routes of the host may have changed meanwhile
    assert not plane.kernel.has_to_poll, "no interval of quality has ended"
    for number in range(INTERVAL_PACKETS):
        alice.send(RtpPacket(77, number, 160 * number).encode(), call.for_caller)
    eventually(lambda: kernel_packets(testbed) == INTERVAL_PACKETS, "the kernel has forwarded all")
    plane.watch(since_s=ROUND_S, now=time.monotonic())
    assert plane.kernel.has_to_poll
    plane.watch(since_s=ROUND_S, now=time.monotonic())
    assert not plane.kernel.has_to_poll
    plane.kernel.routes_changed()
    assert plane.kernel.has_to_poll, "the routes of all directions are looked up"
    plane.watch(since_s=ROUND_S, now=time.monotonic())
    assert not plane.kernel.has_to_poll


def test_flows_that_ask_for_it_all_at_once_are_looked_at_in_several_turns(
    testbed: RelayTestbed, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a pause of the shard, or in a new process: media in user space wait for each turn."""
    monkeypatch.setattr(kernel_path, "FEW_LOOKS_A_SECOND", 0)
    looked_at: list[KernelFlow] = []

    def look(flow: KernelFlow, *, now: float) -> None:
        looked_at.append(flow)

    monkeypatch.setattr(KernelFlow, "look", look)
    callers: list[tuple[MediaPeer, Where]] = []
    for _ in range(3):
        caller, callee = make_peer(), make_peer()
        call = testbed.call(caller, callee)
        testbed.converse(caller, callee, call)
        callers.append((caller, call.for_caller))
    for number in range(INTERVAL_PACKETS):
        for caller, to in callers:
            caller.send(RtpPacket(77, number, 160 * number).encode(), to)
    eventually(lambda: kernel_packets(testbed) == 3 * INTERVAL_PACKETS, "the kernel has forwarded all")
    plane = testbed.relay.plane
    for turn in range(3):
        plane.watch(since_s=ROUND_S, now=time.monotonic())
        assert len(set(looked_at)) == len(looked_at) == turn + 1
        assert plane.has_to_watch


def test_packets_bear_the_code_point_of_their_socket(
    make_testbed: MakeTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    testbed = make_testbed(dscp=46)
    call = testbed.call(alice, bob)
    sock = bob.sockets[RTP]
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    seen = []
    for _ in range(2):
        alice.send(PACKET, call.for_caller)
        testbed.turn_until(lambda: select.select([sock], [], [], 0)[0], "the packet is there")
        _, ancillary, _, _ = sock.recvmsg(2048, 64)
        seen.append(ancillary[0][2][0])
    assert seen == [46 << 2] * 2
    assert kernel_packets(testbed) == 1


# --- nothing is left --------------------------------------------------------------------------------


def entries_in(program: LoadedProgram) -> list[bytes]:
    """Flows and markers: at housekeeping, a direction whose opposite is not in the kernel gets a marker."""
    return [value for _, value in bpf.elements(program.flows_fd, layout.KEY.size, layout.FLOW.size)]


def flows_in(program: LoadedProgram) -> int:
    """Flows alone: on a busy host, housekeeping comes between two directions of a call."""
    return sum(layout.owner_of(value).mtu_bytes > 0 for value in entries_in(program))


def test_nothing_is_left_in_the_kernel_behind_the_calls(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, kernel_program: LoadedProgram
) -> None:
    # of relays that other tests have killed
    before, flows = set(entries_in(kernel_program)), flows_in(kernel_program)
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    assert flows_in(kernel_program) == flows + 4
    testbed.bye(call.key)
    assert set(entries_in(kernel_program)) == before


def test_flows_that_another_process_is_to_go_on_with_stay_as_they_are(
    testbed: RelayTestbed, make_peer: MakePeer, kernel_program: LoadedProgram
) -> None:
    kernel = testbed.relay.plane.kernel
    assert kernel is not None
    alice, bob, carol, dave = (make_peer() for _ in range(4))
    latched = testbed.call(alice, bob)
    testbed.passes(alice, latched.for_caller, bob)
    kernel.sweep()  # the housekeeping of a busy host: the one direction that is there has a marker
    testbed.converse(alice, bob, latched)
    kernel.hold()
    new = testbed.call(carol, dave)
    testbed.converse(carol, dave, new)
    testbed.converse(carol, dave, new)
    assert not any(leg.kernel for leg in legs(testbed, new)), "no flow begins"
    testbed.bye(latched.key)
    testbed.relay.update_stats()
    assert flows_in(kernel_program) == 4, "none ends"
    kernel.release()
    testbed.relay.plane.activate()
    assert [leg.kernel for leg in legs(testbed, new)] == [True] * 4
    testbed.bye(new.key)
    assert entries_in(kernel_program) == []
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out) == (13, 13)


def no_room(*_: object) -> None:
    raise KernelTableFull("the table of flows is full", errno=errno.E2BIG)


@pytest.mark.parametrize("has_room", [True, False])
def test_flows_that_another_process_has_removed_and_leaves_are_written_again(
    has_room: bool,
    testbed: RelayTestbed,
    alice: MediaPeer,
    bob: MediaPeer,
    kernel_program: LoadedProgram,
) -> None:
    kernel = testbed.relay.plane.kernel
    assert kernel is not None
    call = testbed.call(alice, bob)
    for _ in range(3):
        testbed.converse(alice, bob, call)
    kernel.hold()
    others = MovingFlows(os.dup(kernel_program.flows_fd), os.dup(kernel_program.counters_fd))
    with contextlib.closing(others):
        taken = [
            others.take(Endpoint(address, port + component))
            for address, port in (call.for_caller, call.for_callee)
            for component in (RTP, RTCP)
        ]
    assert [counters.packets for counters in taken if counters is not None] == [2] * 4
    testbed.converse(alice, bob, call)
    kernel.release()
    with pytest.MonkeyPatch.context() as patch:
        if not has_room:
            patch.setattr(bpf, "update", no_room)
        testbed.relay.plane.activate()
        assert {leg.user_space_because for leg in legs(testbed, call)} == {"" if has_room else FULL}
    testbed.turn_until(lambda: testbed.stats().kernel_flows == 4, "all directions are in the kernel")
    assert flows_in(kernel_program) == 4
    testbed.converse(alice, bob, call)
    assert [(leg.packets, leg.kernel_packets) for leg in legs(testbed, call)] == [(5, 3)] * 4
    stats = testbed.stats()
    assert (stats.packets_in, stats.packets_out, stats.kernel_packets) == (20, 20, 12)


def test_a_codec_that_changes_meanwhile_is_measured_when_the_flows_are_the_process_s_again(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, kernel_program: LoadedProgram
) -> None:
    def entries() -> dict[bytes, bytes]:
        return dict(bpf.elements(kernel_program.flows_fd, layout.KEY.size, layout.FLOW.size))

    def say(payload_type: int, sequence: int) -> None:
        packet = rtp_packet(sequence, sequence * 160, payload_type=payload_type)
        testbed.passes(alice, call.for_caller, bob, payload=packet)
        testbed.stats()

    kernel = testbed.relay.plane.kernel
    assert kernel is not None
    call = testbed.call(alice, bob)
    for sequence in range(3):
        say(PCMU, sequence)
    testbed.leg(call.key, Side.FROM)
    before = entries()
    kernel.hold()
    say(PCMA, 3)
    testbed.leg(call.key, Side.FROM)
    assert entries() == before
    kernel.release()
    testbed.relay.plane.activate()
    say(PCMA, 4)
    (stream,) = testbed.leg(call.key, Side.FROM).streams
    assert (stream.payload_type, stream.packets) == (PCMA, 5)
    assert entries() != before


def test_a_restarted_shard_removes_the_flows_of_the_killed_one_and_no_others(
    kernel_program: LoadedProgram,
) -> None:
    def table(shard: int) -> FlowTable:
        return FlowTable(
            kernel_program.flows_fd, kernel_program.counters_fd, shard=shard, first_index=2 * shard, indexes=2
        )

    def fill(flows: FlowTable, port: int) -> None:
        end = Endpoint(V4, port)
        way = layout.FlowEntry(
            end,
            end,
            end,
            ifindex=0,
            counter_index=flows.counters.take_index(),
            mtu_bytes=1500,
            shard=flows.shard,
        )
        flows.add(end, way)

    killed, neighbour = table(0), table(1)
    fill(killed, 1000)
    fill(neighbour, 1002)
    successor = table(0)
    assert flows_in(kernel_program) == 1
    fill(successor, 1000)
    neighbour.close()
    successor.close()
    assert flows_in(kernel_program) == 0


def test_where_an_answer_takes_no_offered_key_the_kernel_relays(
    make_ng: MakeNg, alice: MediaPeer, bob: MediaPeer
) -> None:
    """OSRTP (RFC 8643): the call became plain."""
    ng = make_ng()
    offer = ng.offer(alice, osrtp_offer=True)
    assert b"a=crypto:" in offer
    talk = NgTalk(ng.answer(bob), offer)
    for _ in range(3):
        ng.talk(alice, bob, talk)
    assert ng.stats().kernel_packets == 8
