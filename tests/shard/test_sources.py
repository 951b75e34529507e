"""Source latching with real packets: legs latch, admit a better source, shut others out, and relatch."""

import contextlib
import random
import select
import socket
import time
from collections.abc import Callable

import msgspec
import pytest

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media, Side
from nh.calls.settings import RelaySettings
from nh.commands import TransactionKey
from nh.shard.media import in_turns
from nh.shard.media.in_turns import MIN_A_TURN
from nh.shard.media.sockets import opening
from nh.shard.media.sockets.media_socket import socket_of
from tests.calls.rtp import SSRC, rtp_packet
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.testbed import PACKET, PACKETS, V4, V6, Conversation, RelayTestbed, audio, shuts_out
from tools.harness.media_peer import RTCP, RTP, MediaPeer

ALICE = "127.0.0.11"
BOB = "127.0.0.22"
MALLORY = "127.0.0.66"


def drops(testbed: RelayTestbed, call: Conversation, component: int = RTP) -> int:
    """Packets with a source mismatch at the port that the caller sends to."""
    return testbed.leg(call.key, Side.FROM, component).dropped.get("source_mismatch", 0)


def elsewhere(peer: MediaPeer) -> Media:
    """What a phone behind a NAT announces: an address that packets do not come from."""
    return Media("192.168.1.99", peer.port, 2, "RTP/AVP", "audio")


@pytest.mark.parametrize("address", ["239.255.77.77", "255.255.255.255"])
def test_who_announces_an_address_of_many_is_sent_to_when_it_has_sent(
    testbed: RelayTestbed, make_peer: MakePeer, address: str
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(Media(address, alice.port, 2, "RTP/AVP", "audio"), bob)
    bob.send(PACKET, call.for_callee)
    testbed.turn_until(lambda: testbed.stats().drop_no_target == 1, "there is no address to send to")
    assert testbed.stats().media_multicast == 1
    testbed.passes(alice, call.for_caller, bob)
    testbed.passes(bob, call.for_callee, alice)


@pytest.fixture(params=[True, False], ids=["connected", "no descriptor left to connect"])
def connected_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Latched sockets are connected, or not, for lack of the descriptors beside them."""
    if not request.param:
        monkeypatch.setattr(opening, "BESIDE_SHARE", 0.0)


# --- latching ---------------------------------------------------------------------------------------


def test_an_exact_match_latches_at_once_and_the_kernel_shuts_others_out(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    testbed.passes(alice, call.for_caller, bob)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.source, leg.latched) == (f"{ALICE}:{alice.port}", True)
    assert shuts_out(call.for_caller, MALLORY)
    assert shuts_out(call.for_caller, ALICE), "another port of Alice's does not match, too"
    testbed.converse(alice, bob, call)
    assert bob.pending() == []


@pytest.mark.usefixtures("connected_or_not", "ipv6")
@pytest.mark.parametrize("address", [V4, V6])
def test_what_a_latched_source_sends_is_counted_and_measured(
    make_testbed: MakeTestbed, make_peer: MakePeer, address: str
) -> None:
    alice, bob = make_peer(address), make_peer(address)
    testbed = make_testbed()
    call = testbed.call(alice, bob, to_callee=address, to_caller=address)
    for number in range(5):
        packet = rtp_packet(number, number * 160)
        testbed.passes(alice, call.for_caller, bob, payload=packet)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.packets, leg.latched, leg.dropped) == (5, True, {})
    assert [(stream.packets, stream.lost) for stream in leg.streams] == [(5, 0)]
    assert testbed.stats().packets_in == 5


def test_rtcp_latches_by_itself_after_rtp(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    testbed.passes(alice, call.for_caller, bob, RTP)
    assert not testbed.leg(call.key, Side.FROM, RTCP).latched
    testbed.passes(alice, call.for_caller, bob, RTCP)
    assert testbed.leg(call.key, Side.FROM, RTCP).source == f"{ALICE}:{alice.port + 1}"
    assert testbed.leg(call.key, Side.FROM, RTCP).latched


def test_rtcp_from_another_host_is_learned_beside_rtp(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, monitor, bob = make_peer(ALICE), make_peer("127.0.0.12"), make_peer(BOB)
    call = testbed.call(elsewhere(alice), bob)
    testbed.passes(alice, call.for_caller, bob, RTP)
    testbed.passes(monitor, call.for_caller, bob, RTCP)
    testbed.passes(bob, call.for_callee, monitor, RTCP)
    testbed.passes(bob, call.for_callee, alice, RTP)


def test_a_phone_behind_a_nat_is_answered_where_its_packets_come_from(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(elsewhere(alice), bob)
    testbed.converse(alice, bob, call)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.announced, leg.source) == (f"192.168.1.99:{alice.port}", f"{ALICE}:{alice.port}")
    assert not leg.latched


def test_a_better_source_takes_over_within_the_window_and_replies_follow_it(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, same_ip, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    for better in (same_ip, alice):
        testbed.passes(better, call.for_caller, bob)
        testbed.passes(bob, call.for_callee, better)
    assert testbed.leg(call.key, Side.FROM).latched
    assert drops(testbed, call) == 0


def test_a_stranger_who_speaks_first_gets_nothing_where_the_sdp_says_where_the_phone_is(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    for number in range(10):
        mallory.send(b"listen to me", call.for_caller)
        testbed.turn_until(lambda n=number: drops(testbed, call) == n + 1, "it is dropped")  # type: ignore[misc]
    testbed.passes(bob, call.for_callee, alice)
    testbed.converse(alice, bob, call)
    assert mallory.pending() == []


@pytest.mark.usefixtures("connected_or_not")
def test_a_third_party_is_dropped_and_counted_from_its_first_packet_on(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(elsewhere(alice), bob)
    testbed.passes(alice, call.for_caller, bob)  # the same port, at best
    for number in (1, 2, 3):
        mallory.send(b"listen to me", call.for_caller)
        testbed.turn_until(lambda n=number: drops(testbed, call) == n, "it is counted")  # type: ignore[misc]
    assert testbed.stats().drop_source_mismatch == 3
    testbed.passes(bob, call.for_callee, alice)
    assert bob.pending() == mallory.pending() == []


def test_a_third_party_that_was_first_is_dropped_once_the_phone_speaks(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(elsewhere(alice), bob)
    testbed.passes(mallory, call.for_caller, bob)
    testbed.passes(alice, call.for_caller, bob)
    mallory.send(PACKET, call.for_caller)
    testbed.passes(alice, call.for_caller, bob, payload=b"still me")
    testbed.passes(bob, call.for_callee, alice, payload=b"hello Alice")
    assert mallory.pending() == []


def test_what_was_queued_before_the_kernel_filters_is_still_judged(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    alice.send(b"first", call.for_caller)
    mallory.send(b"second", call.for_caller)
    alice.send(b"third", call.for_caller)
    assert testbed.receive(bob)[0] == b"first"
    assert testbed.receive(bob)[0] == b"third"
    assert drops(testbed, call) == 1
    assert testbed.leg(call.key, Side.FROM).packets == 2


def test_a_packet_is_whole_although_latching_reads_the_next_one(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    sent = [b"a" * 160, b"bb" * 20, b"c"]
    for payload in sent:
        alice.send(payload, call.for_caller)
    assert [testbed.receive(bob)[0] for _ in sent] == sent


def test_the_end_of_the_window_latches_without_any_packet(
    make_testbed: MakeTestbed, make_peer: MakePeer
) -> None:
    testbed = make_testbed(latch_window_s=0.2)
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(elsewhere(alice), bob)
    testbed.passes(alice, call.for_caller, bob)
    testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).latched, "the window is over")
    assert shuts_out(call.for_caller, MALLORY)
    testbed.passes(bob, call.for_callee, alice)


def test_windows_that_end_together_have_their_sockets_connected_in_turns(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of thousands of calls that begin together, commands and packets do not wait for all of them."""
    with contextlib.closing(RelayTestbed(ports, RelaySettings(latch_window_s=60))) as testbed:
        alice, bob = make_peer(ALICE), make_peer(BOB)
        for _ in range(MIN_A_TURN + 2):
            call = testbed.call(elsewhere(alice), bob)
            testbed.passes(alice, call.for_caller, bob)
        plane = testbed.relay.plane
        legs = [session.legs[Side.FROM] for session in plane._running]
        for leg in legs:
            leg.window_ends = 0.0

        def connected() -> int:
            return sum([socket_of(leg).connected for leg in legs])

        monkeypatch.setattr(in_turns, "WORK_S", -1.0)
        plane.close_windows(now=time.monotonic())
        assert all(leg.latched for leg in legs)
        assert connected() == MIN_A_TURN
        testbed.turn_until(lambda: connected() == len(legs), "later turns do the rest")


@pytest.mark.usefixtures("connected_or_not")
def test_the_announced_source_takes_over_however_late(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(latch_window_s=0)
    alice, bob, first = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(msgspec.structs.replace(audio(alice), signalled_from=MALLORY), bob)
    testbed.passes(first, call.for_caller, bob)
    assert testbed.leg(call.key, Side.FROM).latched
    testbed.converse(alice, bob, call)
    assert first.pending() == []


@pytest.mark.parametrize("component", [RTP, RTCP])
@pytest.mark.parametrize(
    "packet",
    [b"", b"x", b"\r\n\r\n", bytes(4), b"OPTIONS sip:nm SIP/2.0\r\n\r\n", b"\x80\0\0\1", bytes(172)],
    ids=["empty", "one byte", "CRLF", "zeros", "SIP", "cut short", "version 0"],
)
def test_what_is_no_media_claims_nothing_and_is_passed_on_from_a_known_source(
    make_testbed: MakeTestbed, make_peer: MakePeer, packet: bytes, component: int
) -> None:
    testbed = make_testbed(latch_window_s=0)
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    mallory.send_raw(packet, call.for_caller, component)
    testbed.turn_until(lambda: drops(testbed, call, component) == 1, "it is dropped")
    testbed.passes(bob, call.for_callee, alice, component)
    alice.send_raw(packet, call.for_caller, component)
    assert testbed.receive(bob, component)[0] == packet
    assert not testbed.leg(call.key, Side.FROM, component).latched
    testbed.converse(alice, bob, call)
    alice.send_raw(packet, call.for_caller, component)
    assert testbed.receive(bob, component)[0] == packet


def test_rtp_claims_no_rtcp_leg_and_rtcp_no_rtp_leg(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    for component in (RTP, RTCP):
        mallory.send_raw(PACKETS[1 - component], call.for_caller, component)
        testbed.turn_until(lambda c=component: drops(testbed, call, c) == 1, "it is dropped")  # type: ignore[misc]


# --- the phone that moves, and strangers ------------------------------------------------------------


@pytest.mark.usefixtures("connected_or_not")
def test_a_phone_whose_nat_moves_it_is_heard_again_both_ways(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, moved, bob = make_peer(ALICE), make_peer("127.0.0.12"), make_peer(BOB)
    call = testbed.call(alice, bob)
    for number in range(10):
        testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(number, 160 * number))
    testbed.passes(bob, call.for_callee, alice)
    for number in range(13, 20):
        testbed.passes(moved, call.for_caller, bob, payload=rtp_packet(number, 160 * number))
        testbed.passes(bob, call.for_callee, moved)
    alice.send(rtp_packet(12, 160 * 12), call.for_caller)
    testbed.turn_until(lambda: drops(testbed, call) == 1, "late packets do not win")
    testbed.passes(moved, call.for_caller, bob, payload=rtp_packet(20, 160 * 20))
    assert testbed.leg(call.key, Side.FROM).refused_from == f"{ALICE}:{alice.port}"
    # its reports have the SSRC of its media
    report = b"\x80\xc9\0\1" + SSRC.to_bytes(4, "big")
    testbed.passes(alice, call.for_caller, bob, RTCP, report)
    testbed.passes(moved, call.for_caller, bob, RTCP, report)
    testbed.passes(bob, call.for_callee, moved, RTCP)


@pytest.mark.parametrize("by", [Side.FROM, Side.TO], ids=["by the caller", "by the callee"])
def test_a_re_invite_with_ports_of_its_own_opens_nothing(
    make_testbed: MakeTestbed, make_peer: MakePeer, by: Side
) -> None:
    testbed = make_testbed(latch_window_s=0.2)
    alice, mapped, bob, mallory = (make_peer(each) for each in (ALICE, ALICE, BOB, MALLORY))
    call = testbed.call(elsewhere(alice), bob)
    for _ in range(10):
        testbed.passes(alice, call.for_caller, bob)
    testbed.passes(bob, call.for_callee, alice)
    testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).latched, "the window is over")
    key = call.key
    if by is Side.FROM:
        again = testbed.call(
            elsewhere(alice), bob, key=TransactionKey(key.call_id, 2, key.id_from, key.id_to)
        )
        for_alice, for_bob = again.for_caller, again.for_callee
    else:
        again = testbed.call(
            bob, elsewhere(alice), key=TransactionKey(key.call_id, 7, key.id_to, key.id_from)
        )
        for_alice, for_bob = again.for_callee, again.for_caller
    testbed.passes(bob, for_bob, alice)
    for _ in range(20):
        mallory.send(b"listen to me", for_alice)
    turned_away = {"source_mismatch": 20}
    testbed.turn_until(lambda: testbed.leg(key, by, session=1).dropped == turned_away, "all are dropped")
    testbed.passes(alice, for_alice, bob)
    testbed.passes(alice, for_alice, bob, RTCP)
    # her NAT gives her another port, and she goes on with her stream
    mapped.send_raw(alice.next_packet(b"it is me"), for_alice)
    assert testbed.receive(bob)[0] == b"it is me"
    testbed.passes(bob, for_bob, mapped)
    assert mallory.pending() == []


@pytest.mark.parametrize("moment", ["before", "during", "after"])
def test_strangers_at_random_ssrcs_get_in_at_no_time(
    make_testbed: MakeTestbed, make_peer: MakePeer, moment: str
) -> None:
    testbed = make_testbed(latch_window_s=60.0 if moment == "during" else 0.3)
    alice, bob = make_peer(ALICE), make_peer(BOB)
    private = Media("192.168.1.10", 4000, 2, "RTP/AVP", "audio", signalled_from=ALICE)
    call = testbed.call(private, bob)
    if moment != "before":
        for number in range(5):
            testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(number, 160 * number))
    if moment == "after":
        testbed.turn_until(lambda: testbed.leg(call.key, Side.FROM).latched, "the window is over")
    dice = random.Random(13)
    strangers = 300
    with contextlib.ExitStack() as sockets:
        spies = []
        for number in range(strangers):
            spy = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            spy.bind((f"127.0.1.{number % 250 + 1}", 0))
            spy.setblocking(False)
            spies.append(spy)
            sequence, ssrc = dice.randrange(2**16), dice.randrange(2**32)
            for ahead in range(2):
                spy.sendto(rtp_packet(sequence + ahead, dice.randrange(2**32), ssrc=ssrc), call.for_caller)
            testbed.turn_until(lambda n=number: drops(testbed, call) == 2 * n + 2, "it is dropped")  # type: ignore[misc]
        testbed.passes(alice, call.for_caller, bob, payload=rtp_packet(5, 800))
        testbed.passes(bob, call.for_callee, alice)
        assert [spy for spy in spies if select.select([spy], [], [], 0)[0]] == []
    assert bob.pending() == []
    assert testbed.leg(call.key, Side.FROM).dropped == {"source_mismatch": 2 * strangers}


def test_media_announced_under_a_host_name_are_learned(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(Media("phone.example.org", alice.port, 2, "RTP/AVP", "audio"), bob)
    testbed.passes(alice, call.for_caller, bob)
    testbed.passes(bob, call.for_callee, alice)
    assert testbed.leg(call.key, Side.FROM).announced is None


# --- policies ---------------------------------------------------------------------------------------


def test_first_latches_onto_the_first_source_for_good(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(policy=SourcePolicy.FIRST)
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    testbed.passes(mallory, call.for_caller, bob)
    assert shuts_out(call.for_caller, ALICE)
    testbed.passes(bob, call.for_callee, mallory)


def test_delayed_passes_all_on_and_then_learns_the_source_of_the_next_packet(
    make_testbed: MakeTestbed, make_peer: MakePeer
) -> None:
    testbed = make_testbed(policy=SourcePolicy.DELAYED, latch_window_s=60)
    alice, mapped, bob = make_peer(ALICE), make_peer("127.0.0.12"), make_peer(BOB)
    call = testbed.call(alice, bob)
    testbed.passes(mapped, call.for_caller, bob)
    testbed.passes(bob, call.for_callee, alice)
    for session in testbed.relay.table.running:
        for each in session.legs:
            each.window_ends = 0.0
    testbed.passes(mapped, call.for_caller, bob)
    testbed.passes(bob, call.for_callee, mapped)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.source, leg.latched) == (f"127.0.0.12:{mapped.port}", True)
    assert shuts_out(call.for_caller, MALLORY)


def test_announced_takes_any_port_of_the_announced_ip(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(policy=SourcePolicy.ANNOUNCED)
    alice, other_port, bob, mallory = (make_peer(a) for a in (ALICE, ALICE, BOB, MALLORY))
    call = testbed.call(alice, bob)
    mallory.send(PACKET, call.for_caller)
    testbed.turn_until(lambda: drops(testbed, call) == 1, "another ip is dropped")
    testbed.passes(other_port, call.for_caller, bob, payload=b"me")
    testbed.passes(bob, call.for_callee, other_port)
    assert bob.pending() == []


def test_strict_takes_the_announced_source_only(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(policy=SourcePolicy.STRICT)
    alice, other_port, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    other_port.send(PACKET, call.for_caller)
    testbed.turn_until(lambda: drops(testbed, call) == 1, "another port is dropped")
    testbed.converse(alice, bob, call)


# --- relatching -----------------------------------------------------------------------------------


@pytest.fixture
def forgiving(make_testbed: MakeTestbed) -> RelayTestbed:
    """A relay that lets another stream of the same IP take over after a short silence."""
    return make_testbed(relatch_s=0.1, latch_window_s=0.1)


def speaks_until(
    testbed: RelayTestbed, speaker: MediaPeer, call: Conversation, condition: Callable[[], bool], what: str
) -> None:
    """A stream goes on until the condition is true."""

    def heard() -> bool:
        speaker.send(b"hello", call.for_caller)
        return condition()

    testbed.turn_until(heard, what)


@pytest.mark.usefixtures("connected_or_not")
def test_after_a_silence_another_stream_of_the_same_ip_takes_over(
    forgiving: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, rebound, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    there = f"{ALICE}:{rebound.port}"
    speaks_until(
        forgiving, rebound, call, lambda: forgiving.leg(call.key, Side.FROM).source == there, "it takes over"
    )
    assert forgiving.leg(call.key, Side.FROM).latched
    forgiving.passes(bob, call.for_callee, rebound)


@pytest.mark.usefixtures("connected_or_not")
def test_after_a_silence_another_ip_is_still_shut_out(forgiving: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    silent_until = time.monotonic() + 0.5
    speaks_until(
        forgiving,
        mallory,
        call,
        lambda: time.monotonic() > silent_until and drops(forgiving, call) > 2,
        "a silence passes, and the stream is dropped",
    )
    forgiving.converse(alice, bob, call)
    assert mallory.pending() == []


# --- hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [Media("0.0.0.0", 4000, 2), Media(ALICE, 0, 2)], ids=["0.0.0.0", "port 0"])
def test_the_held_end_may_send_but_gets_nothing(
    testbed: RelayTestbed, make_peer: MakePeer, held: Media
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(held, bob)
    testbed.passes(alice, call.for_caller, bob)
    bob.send(PACKET, call.for_callee)
    testbed.turn_until(
        lambda: testbed.leg(call.key, Side.TO).dropped == {"no_target": 1}, "the drop is counted"
    )
    assert alice.pending() == []
    assert testbed.show(call.key).sessions[0].state == "hold"


def test_after_a_resume_both_hear_each_other_again(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    held = testbed.call(Media("0.0.0.0", 4000, 2), bob)
    first = held.key
    resumed = testbed.call(alice, bob, key=type(first)(first.call_id, 2, first.id_from, first.id_to))
    testbed.converse(alice, bob, resumed)
    assert [session.state for session in testbed.show(first).sessions] == ["replaced", "active"]
    testbed.passes(alice, held.for_caller, bob, payload=b"on its way when the session was replaced")


def test_no_other_program_can_bind_a_port_of_the_relay(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder, pytest.raises(OSError, match="in use"):
        intruder.bind((V4, call.for_caller[1]))
    testbed.converse(alice, bob, call)
