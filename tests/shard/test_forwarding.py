"""Packets through real sockets: both directions, drops and their reasons, errors of the network."""

import socket

import pytest

from nh.calls.media import Media, Side
from tests.shard.conftest import MakePeer
from tests.shard.testbed import PACKET, V4, RelayTestbed, audio
from tools.harness.media_peer import RTCP, RTP, text_of


def test_rtp_and_rtcp_go_both_ways(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    for _ in range(3):
        testbed.converse(alice, bob, call)


def test_every_component_of_every_medium_goes_its_own_way(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = [make_peer(), make_peer()], [make_peer(), make_peer()]
    key = testbed.new_key()
    for_bob = testbed.allocate(key, Side.FROM, [audio(peer) for peer in alice])
    for_alice = testbed.allocate(key, Side.TO, [audio(peer) for peer in bob])
    testbed.activate(key)
    for medium in (0, 1):
        for component in (RTP, RTCP):
            testbed.passes(
                alice[medium], for_alice[medium], bob[medium], component, b"%d %d" % (medium, component)
            )
            testbed.passes(
                bob[medium], for_bob[medium], alice[medium], component, b"%d %d" % (component, medium)
            )


@pytest.mark.parametrize("size", [0, 1, 12, 1472, 65_000])
def test_a_datagram_stays_as_it_is_whatever_its_size(
    testbed: RelayTestbed, make_peer: MakePeer, size: int
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    payload = (PACKET * 400)[:size]
    for _ in range(2):  # admitted by source, then by the connected socket
        testbed.passes(alice, call.for_caller, bob, payload=payload)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.packets, leg.bytes) == (2, 2 * size)


def test_packets_keep_their_order_and_none_is_lost(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    sent = [b"%03d" % number for number in range(100)]
    for payload in sent:
        alice.send(payload, call.for_caller)
    assert [testbed.receive(bob)[0] for _ in sent] == sent


def test_many_calls_at_once_do_not_mix(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    pairs = [(make_peer(), make_peer()) for _ in range(10)]
    calls = [testbed.call(*pair) for pair in pairs]
    for number, ((alice, bob), call) in enumerate(zip(pairs, calls, strict=True)):
        alice.send(b"a%d" % number, call.for_caller)
        bob.send(b"b%d" % number, call.for_callee)
    for number, (alice, bob) in enumerate(pairs):
        assert testbed.receive(bob)[0] == b"a%d" % number
        assert testbed.receive(alice)[0] == b"b%d" % number


# --- drops ------------------------------------------------------------------------------------------


def test_what_comes_before_activation_is_dropped_and_counted(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    key = testbed.new_key()
    (for_bob,) = testbed.allocate(key, Side.FROM, [audio(alice)])
    bob.send(PACKET, for_bob)
    testbed.turn_until(lambda: testbed.stats().drop_no_session == 1, "the drop is counted")
    assert (testbed.stats().packets_in, testbed.stats().bytes_in) == (1, len(PACKET))
    (for_alice,) = testbed.allocate(key, Side.TO, [audio(bob)])
    testbed.activate(key)
    testbed.passes(bob, for_bob, alice, payload=b"now")
    testbed.passes(alice, for_alice, bob, payload=b"now")


def test_packets_for_an_end_without_an_address_are_dropped_and_counted(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice = make_peer()
    named = Media("phone.example.org", 4000, 2, "RTP/AVP", "audio")
    call = testbed.call(alice, named)
    alice.send(PACKET, call.for_caller)
    testbed.turn_until(
        lambda: testbed.leg(call.key, Side.FROM).dropped == {"no_target": 1}, "the drop is counted"
    )
    assert testbed.stats().drop_no_target == 1
    assert testbed.leg(call.key, Side.FROM).packets == 1, "it was received all the same"


@pytest.mark.parametrize(
    "announced",
    [Media("127.255.255.255", 4000, 2), Media("::1", 4000, 2)],
    ids=["a broadcast address", "an address of the family that the relay's socket is not of"],
)
def test_what_the_kernel_refuses_to_send_is_dropped_and_counted(
    testbed: RelayTestbed, make_peer: MakePeer, announced: Media
) -> None:
    alice = make_peer()
    call = testbed.call(alice, announced)
    for expected in (1, 2):
        alice.send(PACKET, call.for_caller)
        testbed.turn_until(
            lambda n=expected: testbed.leg(call.key, Side.FROM).dropped == {"send_failed": n},  # type: ignore[misc]
            "the drop is counted",
        )
    assert testbed.stats().drop_send_failed == 2


def test_a_phone_that_is_not_there_yet_costs_no_later_packet(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)  # both are latched, so the kernel tells the relay of refusals
    port = bob.port
    bob.close()
    for number in range(3):
        alice.send(b"the port is closed", call.for_caller)
        testbed.turn_until(
            lambda n=number: testbed.leg(call.key, Side.FROM).packets == n + 2,  # type: ignore[misc]
            "it is read",
        )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bob_again:
        bob_again.bind((V4, port))
        bob_again.setblocking(False)
        alice.send(b"hello", call.for_caller)
        testbed.turn_until(lambda: _arrived(bob_again, b"hello"), "the very next packet arrives")
        bob_again.sendto(b"hello yourself", call.for_callee)
        assert testbed.receive(alice)[0] == b"hello yourself"
    assert testbed.stats().drop_send_failed <= 3


def _arrived(sock: socket.socket, payload: bytes) -> bool:
    try:
        return text_of(sock.recv(2048)) == payload
    except BlockingIOError:
        return False


def test_a_peer_that_refuses_packets_may_go_on_sending(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    # Alice's port is gone when Bob speaks; the ICMP error waits at the socket that Alice sends to
    port = alice.port
    alice.close()
    bob.send(b"the port is closed", call.for_callee)
    testbed.turn_until(lambda: testbed.leg(call.key, Side.TO).packets == 2, "it is read")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alice_again:
        alice_again.bind((V4, port))
        for number in range(5):
            alice_again.sendto(b"%d" % number, call.for_caller)
        assert [testbed.receive(bob)[0] for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


# --- the end ----------------------------------------------------------------------------------------


def test_a_bye_in_the_middle_of_traffic_ends_it(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob, carol, dave = (make_peer() for _ in range(4))
    call, other = testbed.call(alice, bob), testbed.call(carol, dave)
    testbed.converse(alice, bob, call)
    for number in range(50):
        alice.send(b"%d" % number, call.for_caller)
        bob.send(b"%d" % number, call.for_callee)
        carol.send(b"%d" % number, other.for_caller)
    testbed.loop.turn(0.1)
    assert testbed.bye(call.key) == 1
    assert [testbed.receive(dave)[0] for _ in range(50)] == [b"%d" % number for number in range(50)]
    testbed.turn_until(lambda: testbed.stats().sockets == 4, "the ports are closed")
    assert testbed.stats().sessions == 1


def test_every_packet_that_arrived_is_either_passed_on_or_counted_as_dropped(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob, mallory = make_peer(), make_peer(), make_peer("127.0.0.9")
    held = Media("0.0.0.0", 4000, 2)
    call, on_hold = testbed.call(alice, bob), testbed.call(held, bob)
    testbed.converse(alice, bob, call)
    pending = testbed.new_key()
    (unused,) = testbed.allocate(pending, Side.FROM, [audio(alice)])
    for peer, to in ((alice, call.for_caller), (bob, on_hold.for_callee), (mallory, unused)):
        for _ in range(5):
            peer.send(PACKET, to)
    for _ in range(5):
        testbed.receive(bob)
    testbed.turn_until(lambda: testbed.stats().drop_no_session == 5, "they are counted")
    testbed.turn_until(lambda: testbed.stats().drop_no_target == 5, "so is what goes to the held end")
    testbed.bye(call.key)
    testbed.bye(on_hold.key)
    stats = testbed.stats()
    drops = stats.drop_source_mismatch + stats.drop_no_target + stats.drop_send_failed + stats.drop_no_session
    assert stats.packets_in == 19
    assert stats.packets_in == stats.packets_out + drops
    assert stats.packets_out == 9
    assert stats.bytes_in - stats.bytes_out == 10 * len(PACKET)


def test_a_peer_that_only_listens_is_sent_to_where_it_announced(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    for number in range(5):
        testbed.passes(alice, call.for_caller, bob, payload=b"%d" % number)
    leg = testbed.leg(call.key, Side.TO)
    assert (leg.packets, leg.source, leg.idle_s) == (0, None, None)


def test_the_relay_ports_of_both_sides_may_be_on_different_addresses(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    alice, bob = make_peer("127.0.0.11"), make_peer("127.0.0.22")
    call = testbed.call(alice, bob, to_callee="127.0.0.2", to_caller="127.0.0.1")
    assert call.for_callee[0] == "127.0.0.2"
    assert call.for_caller[0] == "127.0.0.1"
    testbed.converse(alice, bob, call)


def test_an_end_may_be_the_port_of_another_call(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    # two legs of a back-to-back user agent through one relay: its own ports are as good as any
    alice, bob = make_peer(), make_peer()
    key = testbed.new_key()
    second = testbed.new_key()
    (between,) = testbed.allocate(second, Side.TO, [audio(bob)])
    call = testbed.call(alice, Media(V4, between[1], 2), key=key)
    testbed.allocate(second, Side.FROM, [Media(V4, call.for_callee[1], 2)])
    testbed.activate(second)
    testbed.passes(alice, call.for_caller, bob)


def test_peers_know_each_other_by_the_relay_only(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(), make_peer()
    call = testbed.call(alice, bob)
    assert testbed.passes(alice, call.for_caller, bob) == call.for_callee
    assert testbed.passes(bob, call.for_callee, alice) == call.for_caller
