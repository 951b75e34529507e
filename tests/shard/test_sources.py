"""Source latching with real packets: legs latch, admit a better source, shut others out, and relatch."""

import socket

import pytest

from nh.calls.media import Media, Side
from nh.calls.source import SourcePolicy
from tests.shard.conftest import MakePeer, MakeTestbed
from tests.shard.testbed import PACKET, V4, Conversation, RelayTestbed, shuts_out
from tools.harness.media_peer import RTCP, RTP, MediaPeer

ALICE = "127.0.0.11"
BOB = "127.0.0.22"
MALLORY = "127.0.0.66"


def drops(testbed: RelayTestbed, call: Conversation, component: int = RTP) -> int:
    """Packets with a source mismatch at the port that the caller sends to."""
    return testbed.leg(call.key, Side.FROM, component).dropped.get("source_mismatch", 0)


def elsewhere(peer: MediaPeer) -> Media:
    """What a phone behind a NAT announces: an address that packets do not come from."""
    return Media("127.0.0.99", peer.port, 2, "RTP/AVP", "audio")


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
    call = testbed.call(alice, bob)
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
    assert (leg.announced, leg.source) == (f"127.0.0.99:{alice.port}", f"{ALICE}:{alice.port}")
    assert not leg.latched


def test_a_better_source_takes_over_within_the_window_and_replies_follow_it(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    stranger, same_ip = make_peer(MALLORY), make_peer(ALICE)
    call = testbed.call(alice, bob)
    for better in (stranger, same_ip, alice):
        testbed.passes(better, call.for_caller, bob)
        testbed.passes(bob, call.for_callee, better)
    assert testbed.leg(call.key, Side.FROM).latched
    assert drops(testbed, call) == 0


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
    call = testbed.call(alice, bob)
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


def test_after_the_window_not_even_the_announced_source_takes_over(
    make_testbed: MakeTestbed, make_peer: MakePeer
) -> None:
    testbed = make_testbed(latch_window_s=0)
    alice, bob, first = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = testbed.call(alice, bob)
    testbed.passes(first, call.for_caller, bob)
    assert shuts_out(call.for_caller, ALICE)
    testbed.passes(bob, call.for_callee, first)


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
    """A relay that lets a phone's NAT rebind after a short silence."""
    return make_testbed(relatch_s=0.1, latch_window_s=0.1)


def is_relatching(testbed: RelayTestbed, call: Conversation) -> bool:
    leg = testbed.leg(call.key, Side.FROM)
    return leg.source is not None and not leg.latched


def test_after_a_silence_another_port_of_the_same_ip_takes_over(
    forgiving: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, rebound, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    forgiving.turn_until(lambda: is_relatching(forgiving, call), "the silence is noticed")
    forgiving.passes(rebound, call.for_caller, bob)
    forgiving.passes(bob, call.for_callee, rebound)
    assert forgiving.leg(call.key, Side.FROM).latched
    assert shuts_out(call.for_caller, ALICE)


def test_after_a_silence_another_ip_is_still_shut_out(forgiving: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    forgiving.turn_until(lambda: is_relatching(forgiving, call), "the silence is noticed")
    mallory.send(PACKET, call.for_caller)
    forgiving.turn_until(lambda: drops(forgiving, call) == 1, "it is dropped")
    forgiving.converse(alice, bob, call)
    assert forgiving.leg(call.key, Side.FROM).latched
    assert shuts_out(call.for_caller, MALLORY)


def test_by_default_a_latched_source_stays_for_good(make_testbed: MakeTestbed, make_peer: MakePeer) -> None:
    testbed = make_testbed(latch_window_s=0.1)
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    testbed.turn_until(lambda: (testbed.leg(call.key, Side.FROM).idle_s or 0) > 0.6, "two ticks pass")
    assert testbed.leg(call.key, Side.FROM).latched


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
