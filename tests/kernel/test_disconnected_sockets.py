"""Linux leaves the address of the last peer in a disconnected IPv6 socket; nh receives from others, too."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from nh.calls.interfaces import Interface
from tests.netns import namespaces
from tests.shard.ng_testbed import NgTestbed, places
from tests.shard.testbed import PACKET
from tools.harness.media_peer import MediaPeer
from tools.harness.ports import claim_ports

RELAY, ALICE, MOVED, BOB, MALLORY = (f"2001:db8::{number}" for number in range(1, 6))

MakePeer = Callable[[str], MediaPeer]


@pytest.fixture
def make_peer() -> Iterator[MakePeer]:
    """Phones on a host with these addresses, which this thread is on."""
    with namespaces(1) as [host], contextlib.ExitStack() as stack:
        host.run(*(f"ip address add {each}/128 dev lo nodad" for each in (RELAY, ALICE, MOVED, BOB, MALLORY)))
        stack.enter_context(host.entered())

        def make(address: str) -> MediaPeer:
            peer = stack.enter_context(MediaPeer(address))
            for sock in peer.sockets:
                sock.setblocking(False)
            return peer

        yield make


@pytest.fixture
def testbed(make_peer: MakePeer) -> Iterator[NgTestbed]:
    with claim_ports(20) as ports:
        testbed = NgTestbed(ports, interfaces=[Interface("default", RELAY, RELAY)])
        yield testbed
        testbed.close()


def test_a_phone_that_announces_another_address_is_received_from_there(
    testbed: NgTestbed, make_peer: MakePeer
) -> None:
    alice, moved, bob, mallory = map(make_peer, (ALICE, MOVED, BOB, MALLORY))
    testbed.talk(alice, bob, testbed.connect(alice, bob))
    testbed.offer(moved, to=b"bob")
    [to_relay] = places(testbed.answer(bob))
    mallory.send(PACKET, to_relay)
    testbed.turn_until(lambda: testbed.stats().drop_source_mismatch == 1, "the stranger is counted")
    testbed.passes(moved, to_relay, bob)
