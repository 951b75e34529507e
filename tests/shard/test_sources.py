"""Who may send, with real packets: sources latch, are displaced, shut out, and relatch."""

import socket

import pytest

from nh.calls.media import Media, Side
from nh.calls.source import SourcePolicy
from tests.shard.bench import PACKET, V4, Bench, Conversation, shuts_out
from tests.shard.conftest import MakeBench, MakePeer
from tools.harness.media_peer import RTCP, RTP, MediaPeer

ALICE = "127.0.0.11"
BOB = "127.0.0.22"
MALLORY = "127.0.0.66"


def drops(bench: Bench, call: Conversation, component: int = RTP) -> int:
    """Packets with a source mismatch at the port that the caller sends to."""
    return bench.leg(call.key, Side.FROM, component).dropped.get("source_mismatch", 0)


def elsewhere(peer: MediaPeer) -> Media:
    """What a phone behind a NAT announces: an address that packets do not come from."""
    return Media("127.0.0.99", peer.port, 2, "RTP/AVP", "audio")


@pytest.mark.parametrize("address", ["239.255.77.77", "255.255.255.255"])
def test_who_announces_an_address_of_many_is_sent_to_when_it_has_sent(
    bench: Bench, make_peer: MakePeer, address: str
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(Media(address, alice.port, 2, "RTP/AVP", "audio"), bob)
    bob.send(PACKET, call.for_callee)
    bench.turn_until(lambda: bench.stats().drop_no_target == 1, "there is nobody to send to")
    assert bench.stats().media_to_many == 1
    bench.passes(alice, call.for_caller, bob)
    bench.passes(bob, call.for_callee, alice)


# --- latching ---------------------------------------------------------------------------------------


def test_an_exact_match_latches_at_once_and_the_kernel_shuts_others_out(
    bench: Bench, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    bench.passes(alice, call.for_caller, bob)
    leg = bench.leg(call.key, Side.FROM)
    assert (leg.source, leg.latched) == (f"{ALICE}:{alice.port}", True)
    assert shuts_out(call.for_caller, MALLORY)
    assert shuts_out(call.for_caller, ALICE), "another port of Alice's does not match, too"
    bench.converse(alice, bob, call)
    assert bob.pending() == []


def test_rtcp_latches_by_itself_after_rtp(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    bench.passes(alice, call.for_caller, bob, RTP)
    assert not bench.leg(call.key, Side.FROM, RTCP).latched
    bench.passes(alice, call.for_caller, bob, RTCP)
    assert bench.leg(call.key, Side.FROM, RTCP).source == f"{ALICE}:{alice.port + 1}"
    assert bench.leg(call.key, Side.FROM, RTCP).latched


def test_rtcp_from_another_host_is_learned_beside_rtp(bench: Bench, make_peer: MakePeer) -> None:
    alice, monitor, bob = make_peer(ALICE), make_peer("127.0.0.12"), make_peer(BOB)
    call = bench.call(alice, bob)
    bench.passes(alice, call.for_caller, bob, RTP)
    bench.passes(monitor, call.for_caller, bob, RTCP)
    bench.passes(bob, call.for_callee, monitor, RTCP)
    bench.passes(bob, call.for_callee, alice, RTP)


def test_a_phone_behind_a_nat_is_answered_where_its_packets_come_from(
    bench: Bench, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(elsewhere(alice), bob)
    bench.converse(alice, bob, call)
    leg = bench.leg(call.key, Side.FROM)
    assert (leg.announced, leg.source) == (f"127.0.0.99:{alice.port}", f"{ALICE}:{alice.port}")
    assert not leg.latched


def test_a_better_source_takes_over_within_the_window_and_replies_follow_it(
    bench: Bench, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    stranger, same_ip = make_peer(MALLORY), make_peer(ALICE)
    call = bench.call(alice, bob)
    for better in (stranger, same_ip, alice):
        bench.passes(better, call.for_caller, bob)
        bench.passes(bob, call.for_callee, better)
    assert bench.leg(call.key, Side.FROM).latched
    assert drops(bench, call) == 0


def test_a_third_party_is_dropped_and_counted_from_its_first_packet_on(
    bench: Bench, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = bench.call(elsewhere(alice), bob)
    bench.passes(alice, call.for_caller, bob)  # the same port, at best
    for number in (1, 2, 3):
        mallory.send(b"listen to me", call.for_caller)
        bench.turn_until(lambda n=number: drops(bench, call) == n, "it is counted")  # type: ignore[misc]
    assert bench.stats().drop_source_mismatch == 3
    bench.passes(bob, call.for_callee, alice)
    assert bob.pending() == mallory.pending() == []


def test_a_third_party_that_was_first_is_dropped_once_the_phone_speaks(
    bench: Bench, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = bench.call(alice, bob)
    bench.passes(mallory, call.for_caller, bob)
    bench.passes(alice, call.for_caller, bob)
    mallory.send(PACKET, call.for_caller)
    bench.passes(alice, call.for_caller, bob, payload=b"still me")
    bench.passes(bob, call.for_callee, alice, payload=b"hello Alice")
    assert mallory.pending() == []


def test_what_was_queued_before_the_kernel_filters_is_still_judged(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = bench.call(alice, bob)
    alice.send(b"first", call.for_caller)
    mallory.send(b"second", call.for_caller)
    alice.send(b"third", call.for_caller)
    assert bench.receive(bob)[0] == b"first"
    assert bench.receive(bob)[0] == b"third"
    assert drops(bench, call) == 1
    assert bench.leg(call.key, Side.FROM).packets == 2


def test_a_packet_is_whole_although_latching_reads_the_next_one(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    sent = [b"a" * 160, b"bb" * 20, b"c"]
    for payload in sent:
        alice.send(payload, call.for_caller)
    assert [bench.receive(bob)[0] for _ in sent] == sent


def test_the_end_of_the_window_latches_without_any_packet(make_bench: MakeBench, make_peer: MakePeer) -> None:
    bench = make_bench(latch_window_s=0.2)
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(elsewhere(alice), bob)
    bench.passes(alice, call.for_caller, bob)
    bench.turn_until(lambda: bench.leg(call.key, Side.FROM).latched, "the window is over")
    assert shuts_out(call.for_caller, MALLORY)
    bench.passes(bob, call.for_callee, alice)


def test_after_the_window_not_even_the_announced_source_takes_over(
    make_bench: MakeBench, make_peer: MakePeer
) -> None:
    bench = make_bench(latch_window_s=0)
    alice, bob, first = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = bench.call(alice, bob)
    bench.passes(first, call.for_caller, bob)
    assert shuts_out(call.for_caller, ALICE)
    bench.passes(bob, call.for_callee, first)


def test_media_announced_under_a_host_name_are_learned(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(Media("phone.example.org", alice.port, 2, "RTP/AVP", "audio"), bob)
    bench.passes(alice, call.for_caller, bob)
    bench.passes(bob, call.for_callee, alice)
    assert bench.leg(call.key, Side.FROM).announced is None


# --- policies ---------------------------------------------------------------------------------------


def test_first_takes_whoever_comes_for_good(make_bench: MakeBench, make_peer: MakePeer) -> None:
    bench = make_bench(policy=SourcePolicy.FIRST)
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = bench.call(alice, bob)
    bench.passes(mallory, call.for_caller, bob)
    assert shuts_out(call.for_caller, ALICE)
    bench.passes(bob, call.for_callee, mallory)


def test_announced_takes_any_port_of_the_announced_ip(make_bench: MakeBench, make_peer: MakePeer) -> None:
    bench = make_bench(policy=SourcePolicy.ANNOUNCED)
    alice, other_port, bob, mallory = (make_peer(a) for a in (ALICE, ALICE, BOB, MALLORY))
    call = bench.call(alice, bob)
    mallory.send(PACKET, call.for_caller)
    bench.turn_until(lambda: drops(bench, call) == 1, "another ip is dropped")
    bench.passes(other_port, call.for_caller, bob, payload=b"me")
    bench.passes(bob, call.for_callee, other_port)
    assert bob.pending() == []


def test_strict_takes_the_announced_source_only(make_bench: MakeBench, make_peer: MakePeer) -> None:
    bench = make_bench(policy=SourcePolicy.STRICT)
    alice, other_port, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    other_port.send(PACKET, call.for_caller)
    bench.turn_until(lambda: drops(bench, call) == 1, "another port is dropped")
    bench.converse(alice, bob, call)


# --- relatching -----------------------------------------------------------------------------------


@pytest.fixture
def forgiving(make_bench: MakeBench) -> Bench:
    """A relay that lets a phone's NAT rebind after a short silence."""
    return make_bench(relatch_s=0.1, latch_window_s=0.1)


def is_relatching(bench: Bench, call: Conversation) -> bool:
    leg = bench.leg(call.key, Side.FROM)
    return leg.source is not None and not leg.latched


def test_after_a_silence_another_port_of_the_same_ip_takes_over(
    forgiving: Bench, make_peer: MakePeer
) -> None:
    alice, rebound, bob = make_peer(ALICE), make_peer(ALICE), make_peer(BOB)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    forgiving.turn_until(lambda: is_relatching(forgiving, call), "the silence is noticed")
    forgiving.passes(rebound, call.for_caller, bob)
    forgiving.passes(bob, call.for_callee, rebound)
    assert forgiving.leg(call.key, Side.FROM).latched
    assert shuts_out(call.for_caller, ALICE)


def test_after_a_silence_another_ip_is_still_shut_out(forgiving: Bench, make_peer: MakePeer) -> None:
    alice, bob, mallory = make_peer(ALICE), make_peer(BOB), make_peer(MALLORY)
    call = forgiving.call(alice, bob)
    forgiving.converse(alice, bob, call)
    forgiving.turn_until(lambda: is_relatching(forgiving, call), "the silence is noticed")
    mallory.send(PACKET, call.for_caller)
    forgiving.turn_until(lambda: drops(forgiving, call) == 1, "it is dropped")
    forgiving.converse(alice, bob, call)
    assert forgiving.leg(call.key, Side.FROM).latched
    assert shuts_out(call.for_caller, MALLORY)


def test_by_default_a_latched_source_stays_for_good(make_bench: MakeBench, make_peer: MakePeer) -> None:
    bench = make_bench(latch_window_s=0.1)
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    bench.converse(alice, bob, call)
    bench.turn_until(lambda: (bench.leg(call.key, Side.FROM).idle_s or 0) > 0.6, "two ticks pass")
    assert bench.leg(call.key, Side.FROM).latched


# --- hold -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [Media("0.0.0.0", 4000, 2), Media(ALICE, 0, 2)], ids=["0.0.0.0", "port 0"])
def test_the_held_end_may_send_but_gets_nothing(bench: Bench, make_peer: MakePeer, held: Media) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(held, bob)
    bench.passes(alice, call.for_caller, bob)
    bob.send(PACKET, call.for_callee)
    bench.turn_until(lambda: bench.leg(call.key, Side.TO).dropped == {"no_target": 1}, "the drop is counted")
    assert alice.pending() == []
    assert bench.show(call.key).sessions[0].state == "hold"


def test_after_a_resume_both_hear_each_other_again(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    held = bench.call(Media("0.0.0.0", 4000, 2), bob)
    first = held.key
    resumed = bench.call(alice, bob, key=type(first)(first.call_id, 2, first.id_from, first.id_to))
    bench.converse(alice, bob, resumed)
    assert [session.state for session in bench.show(first).sessions] == ["replaced", "active"]
    bench.passes(alice, held.for_caller, bob, payload=b"on its way when the session was replaced")


def test_no_other_program_can_bind_a_port_of_the_relay(bench: Bench, make_peer: MakePeer) -> None:
    alice, bob = make_peer(ALICE), make_peer(BOB)
    call = bench.call(alice, bob)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as intruder, pytest.raises(OSError, match="in use"):
        intruder.bind((V4, call.for_caller[1]))
    bench.converse(alice, bob, call)
