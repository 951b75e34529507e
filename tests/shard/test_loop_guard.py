"""nh.shard.media.sockets.loop_guard: calls that go through one relay twice, and calls that go round in it."""

import contextlib
import socket
from collections.abc import Sequence

import pytest

from nh.address import socket_family
from nh.calls.interfaces import Interface
from nh.calls.media import Endpoint, Media, Side
from nh.commands import EndpointLearning
from nh.shard.media.sockets import loop_guard
from nh.shard.media.sockets.loop_guard import MAX_HOPS, LocalPorts
from tests.shard.conftest import MakePeer
from tests.shard.ng_testbed import NgTestbed
from tests.shard.testbed import PACKET, V4, V6, RelayTestbed, Where, audio
from tests.sip.sdp import MediaLine
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.waiting import TIMEOUT_S, eventually

INTERFACES = (Interface("default", V4, V4),)
OFF = EndpointLearning.OFF
"""Packets of every source go on, so those of a stranger go round."""


def test_local_ports_are_those_of_all_ranges_on_any_address_of_the_relay() -> None:
    local_ports = LocalPorts([(20_000, 20_099), (30_000, 30_001)], ["192.0.2.1"])
    for port, expected in ((20_000, True), (20_099, True), (20_100, False), (30_001, True), (1, False)):
        assert (Endpoint("192.0.2.1", port) in local_ports) is expected
    assert Endpoint("198.51.100.7", 20_000) not in local_ports
    local_ports.add("198.51.100.7")
    assert Endpoint("198.51.100.7", 20_000) in local_ports


@pytest.mark.parametrize("address", [V4, V6])
def test_a_ttl_is_sent_and_received(address: str, ipv6: None) -> None:
    family = socket_family(address)
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as other:
        for each in (one, other):
            each.bind((address, 0))
        other.settimeout(TIMEOUT_S)
        loop_guard.enable_ttl(other)
        loop_guard.send(one, memoryview(PACKET), Endpoint(*other.getsockname()[:2]), 7)
        buffer = bytearray(2000)
        size, source, ttl = loop_guard.receive(other, buffer)
        assert (bytes(buffer[:size]), source, ttl) == (PACKET, Endpoint(*one.getsockname()[:2]), 7)


@pytest.mark.parametrize("calls", [2, 3, 6])
def test_a_call_may_go_through_the_relay_several_times(
    testbed: RelayTestbed, make_peer: MakePeer, calls: int
) -> None:
    alice, bob = make_peer(), make_peer()
    keys = [testbed.new_key() for _ in range(calls)]
    announced = audio(alice)
    for key in keys:  # the INVITE on its way
        announced = Media(*testbed.allocate(key, Side.FROM, [announced])[0], 2)
    for_callee = (announced.address, announced.port)
    announced = audio(bob)
    for key in reversed(keys):  # the answer on its way back
        announced = Media(*testbed.allocate(key, Side.TO, [announced])[0], 2)
        testbed.activate(key)
    for_caller = (announced.address, announced.port)
    for _ in range(3):
        for component in (RTP, RTCP):
            testbed.passes(alice, for_caller, bob, component)
            testbed.passes(bob, for_callee, alice, component)
    assert testbed.leg(keys[0], Side.FROM).latched
    assert testbed.stats().packets_in == testbed.stats().packets_out == 3 * 2 * 2 * calls


def in_a_circle(testbeds: Sequence[NgTestbed], peer: MediaPeer) -> list[Where]:
    """A call in each relay, of which both ends announce ports of the calls beside it: where to send into it.

    Ends that keep their ports when they announce another place (port-latching) can do that.
    """
    talks = [testbed.connect(peer, peer) for testbed in testbeds]
    for_callers = [talk.alice_sends_to[0] for talk in talks]
    for_callees = [talk.bob_sends_to[0] for talk in talks]
    for number, testbed in enumerate(testbeds):
        caller, callee = for_callees[number - 1], for_callers[(number + 1) % len(testbeds)]
        testbed.offer([MediaLine(*caller)], to=b"bob", port_latching=True, learning=OFF)
        testbed.answer([MediaLine(*callee)], port_latching=True, learning=OFF)
    return for_callers


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_packet_of_calls_in_a_circle_ends(ports: range, make_peer: MakePeer, shards: int) -> None:
    mallory = make_peer()
    slices = [ports[20 * shard : 20 * shard + 20] for shard in range(shards)]
    with contextlib.ExitStack() as stack:
        testbeds = [
            NgTestbed(each, interfaces=INTERFACES, relay_ports=[(ports[0], ports[-1])]) for each in slices
        ]
        for testbed in testbeds:
            stack.callback(testbed.close)
        entrance, *_ = in_a_circle(testbeds, mallory)
        mallory.send(PACKET, entrance)

        def ended() -> bool:
            for testbed in testbeds:
                testbed.loop.turn(0.001)
            return any(testbed.stats().drop_looped for testbed in testbeds)

        eventually(ended, "the packet has no TTL left")
        stats = [testbed.stats() for testbed in testbeds]
        assert sum(each.drop_looped for each in stats) == 1
        assert sum(each.packets_in for each in stats) == MAX_HOPS
        assert sum(each.packets_out for each in stats) == MAX_HOPS - 1
