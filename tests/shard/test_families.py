"""IPv4, IPv6, one side of each, and the marks that packets carry."""

import socket
import struct

import pytest

from nh.calls.media import Media, Side
from tests.shard.conftest import MakeNg, MakePeer, MakeTestbed
from tests.shard.ng_testbed import places
from tests.shard.testbed import PACKET, V4, V6, RelayTestbed, Where
from tools.harness.media_peer import MediaPeer

EF = 46
"""Expedited forwarding, what telephony uses (RFC 3246)."""


@pytest.mark.usefixtures("ipv6")
def test_a_call_over_ipv6(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(V6), make_peer(V6)
    call = testbed.call(alice, bob, to_callee=V6, to_caller=V6)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    leg = testbed.leg(call.key, Side.FROM)
    assert (leg.source, leg.latched) == (f"[::1]:{alice.port}", True)


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize(("caller", "callee"), [(V4, V6), (V6, V4)])
def test_one_side_may_be_ipv4_and_the_other_ipv6(
    testbed: RelayTestbed, make_peer: MakePeer, caller: str, callee: str
) -> None:
    alice, bob = make_peer(caller), make_peer(callee)
    call = testbed.call(alice, bob, to_callee=callee, to_caller=caller)
    for _ in range(2):
        testbed.converse(alice, bob, call)
    assert testbed.leg(call.key, Side.FROM).latched
    assert testbed.leg(call.key, Side.TO).latched


@pytest.mark.usefixtures("ipv6")
def test_a_session_on_hold_over_ipv6(testbed: RelayTestbed, make_peer: MakePeer) -> None:
    alice, bob = make_peer(V6), make_peer(V6)
    call = testbed.call(Media("::", 4000, 2), bob, to_callee=V6, to_caller=V6)
    testbed.passes(alice, call.for_caller, bob)
    assert testbed.show(call.key).sessions[0].state == "hold"


@pytest.mark.usefixtures("ipv6")
def test_an_address_in_another_spelling_is_the_same_address(
    testbed: RelayTestbed, make_peer: MakePeer
) -> None:
    key = testbed.new_key()
    for spelling in ("0:0:0:0:0:0:0:1", "::0001"):
        ports = testbed.allocate(key, Side.FROM, [Media(V6, 4000, 2)], spelling)
        assert ports[0][0] == V6


def traffic_class(testbed: RelayTestbed, sender: MediaPeer, to: Where, receiver: MediaPeer) -> int:
    """The TOS byte with which a relayed packet arrives."""
    v6 = ":" in receiver.address
    sock = receiver.sockets[0]
    if v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    sender.send(PACKET, to)
    arrived: list[int] = []

    def look() -> bool:
        try:
            _, ancillary, _, _ = sock.recvmsg(2048, 256)
        except BlockingIOError:
            return False
        arrived.extend(
            struct.unpack("i", data)[0] if v6 else data[0]
            for _, kind, data in ancillary
            if kind in (socket.IP_TOS, socket.IPV6_TCLASS)
        )
        return True

    testbed.turn_until(look, "the packet")
    return arrived[0]


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("dscp", [0, EF])
def test_relayed_packets_carry_the_code_point_that_was_set(
    make_testbed: MakeTestbed, make_peer: MakePeer, address: str, dscp: int
) -> None:
    testbed = make_testbed(dscp=dscp)
    alice, bob = make_peer(address), make_peer(address)
    call = testbed.call(alice, bob, to_callee=address, to_caller=address)
    for _ in range(2):  # before and after the sockets are connected
        assert traffic_class(testbed, alice, call.for_caller, bob) == dscp << 2
        assert traffic_class(testbed, bob, call.for_callee, alice) == dscp << 2


def test_each_end_that_answers_an_offer_reaches_its_author_with_the_code_point_of_the_offer(
    make_ng: MakeNg, make_peer: MakePeer
) -> None:
    """Also the second one: its packets had the setting's, unless the answer named one, too."""
    testbed = make_ng()
    alice, bob, carol, moved = (make_peer(V4) for _ in range(4))
    [to] = places(testbed.offer(alice, dscp=EF))
    for answerer, tag in ((bob, b"bob"), (carol, b"carol")):
        testbed.answer(answerer, tag=tag, dscp=0)
        assert traffic_class(testbed, answerer, to, alice) == EF << 2
    [to] = places(testbed.offer(alice, to=b"bob"))
    testbed.answer(moved)
    assert traffic_class(testbed, moved, to, alice) == EF << 2


@pytest.mark.parametrize("keeps", [False, True], ids=["not said", "kept"])
def test_an_offer_may_leave_the_code_point_of_the_offer_before_to_new_ports(
    make_ng: MakeNg, make_peer: MakePeer, keeps: bool
) -> None:
    testbed = make_ng()
    alice, bob, moved = (make_peer(V4) for _ in range(3))
    [before] = places(testbed.offer(alice, dscp=EF))
    testbed.answer(bob)
    [to_alice] = places(testbed.offer(moved, to=b"bob", keeps_dscp=keeps))
    [to_bob] = places(testbed.answer(bob))
    assert to_alice != before
    assert traffic_class(testbed, moved, to_bob, bob) == (EF << 2 if keeps else 0)
    assert traffic_class(testbed, bob, to_alice, moved) == EF << 2, "from the port that stayed"
