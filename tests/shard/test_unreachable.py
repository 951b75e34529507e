"""nh.shard.media.sockets.unreachable: what ICMP says of packets to an end, on both paths."""

import errno
import os
import socket
import struct

import pytest

from nh.address import socket_family
from nh.calls.media import Endpoint, Side
from nh.shard.media.sockets.unreachable import queue_errors, read_unreachable
from tests.shard.conftest import MakePeer
from tests.shard.testbed import V4, V6, Conversation, RelayTestbed, Where
from tools.harness.media_peer import RTCP, RTP, MediaPeer


@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("connected", [False, True])
def test_the_queue_names_where_the_packet_was_sent_to(address: str, connected: bool, ipv6: None) -> None:
    family = socket_family(address)
    with socket.socket(family, socket.SOCK_DGRAM) as closed, socket.socket(family, socket.SOCK_DGRAM) as sock:
        closed.bind((address, 0))
        port = closed.getsockname()[1]
        closed.close()
        sock.bind((address, 0))
        sock.setblocking(False)
        queue_errors(sock, v6=sock.family == socket.AF_INET6)
        if connected:
            sock.connect((address, port))
        sock.sendto(b"packet", (address, port)) if not connected else sock.send(b"packet")
        with pytest.raises(OSError, match="refused") as raised:
            sock.recv(100)
        assert raised.value.errno == errno.ECONNREFUSED
        assert list(read_unreachable(sock)) == [Endpoint(address, port)]
        with pytest.raises(BlockingIOError):
            sock.recv(100)


def say_unreachable(code: int, sender: Where, destination: Where) -> None:
    """Say by ICMP, as a router does, that a packet of UDP did not arrive (RFC 792)."""
    source, target = (socket.inet_aton(address) for address, _ in (sender, destination))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, socket.IPPROTO_UDP, 0, source, target)
    quoted = ip + struct.pack("!HHHH", sender[1], destination[1], 8, 0)
    checksum = sum(struct.unpack(f"!{len(quoted) // 2}H", quoted)) + (3 << 8 | code)
    while checksum >> 16:
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as router:
        router.sendto(struct.pack("!BBHI", 3, code, ~checksum & 0xFFFF, 0) + quoted, (sender[0], 0))


def unreachable(testbed: RelayTestbed, call: Conversation, component: int = RTP) -> int:
    return testbed.leg(call.key, Side.TO, component).unreachable


@pytest.mark.parametrize("component", [RTP, RTCP])
def test_an_end_that_never_opened_its_port_is_unreachable(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, component: int
) -> None:
    call = testbed.call(alice, bob)
    bob.close()
    alice.send(b"hello", call.for_caller, component)
    testbed.turn_until(lambda: unreachable(testbed, call, component), "ICMP is noted")
    leg = testbed.leg(call.key, Side.TO, component)
    assert leg.unreachable_s is not None
    assert 0 <= leg.unreachable_s < 60
    assert testbed.leg(call.key, Side.FROM, component).unreachable == 0, "the other end is well"


def test_an_end_that_closes_its_port_in_mid_call_is_unreachable_on_both_paths(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer
) -> None:
    call = testbed.call(alice, bob)
    for _ in range(3):
        testbed.passes(alice, call.for_caller, bob)
        testbed.passes(bob, call.for_callee, alice)
    assert unreachable(testbed, call) == 0
    bob.close()
    for number in range(1, 6):
        alice.send(b"hello", call.for_caller)
        testbed.turn_until(lambda number=number: unreachable(testbed, call) >= number, "ICMP is noted")  # type: ignore[misc]
    leg = testbed.leg(call.key, Side.FROM)
    assert leg.packets == 8
    assert leg.dropped == {}, "each packet was sent"


# but for 4, fragmentation needed: the host would send smaller packets to this address for ten minutes
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sends ICMP")
@pytest.mark.parametrize("code", [code for code in range(16) if code != 4])
def test_what_icmp_says_of_a_packet_costs_no_later_one(
    testbed: RelayTestbed, alice: MediaPeer, bob: MediaPeer, code: int
) -> None:
    call = testbed.call(alice, bob)
    testbed.converse(alice, bob, call)
    alice.send(b"later", call.for_caller)
    say_unreachable(code, call.for_callee, (bob.address, bob.port))
    assert testbed.receive(bob)[0].endswith(b"later")
    assert testbed.leg(call.key, Side.FROM).dropped == {}


def test_the_call_goes_on_when_the_end_is_back(
    testbed: RelayTestbed, alice: MediaPeer, make_peer: MakePeer
) -> None:
    bob = make_peer()
    call = testbed.call(alice, bob)
    testbed.passes(bob, call.for_callee, alice)
    port = bob.port
    bob.close()
    alice.send(b"lost", call.for_caller)
    testbed.turn_until(lambda: unreachable(testbed, call), "ICMP is noted")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind((V4, port))
        back.setblocking(False)
        alice.send(b"heard", call.for_caller)

        def arrived() -> bool:
            try:
                return back.recv(2048).endswith(b"heard")
            except BlockingIOError:
                return False

        testbed.turn_until(arrived, "the packet arrives")
