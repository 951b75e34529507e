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
from tools.harness.waiting import eventually
from tools.latching.__main__ import call_for
from tools.latching.relays import Nh, running_nh
from tools.latching.scenarios import ROAMS
from tools.latching.talk import IPV6, IPV6_ADDRESSES, Talk

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


@pytest.mark.full
def test_a_shard_that_takes_over_receives_from_there_too() -> None:
    """Nothing tells it which sockets were connected once."""
    with namespaces(1) as [host], contextlib.ExitStack() as stack:
        host.run(*IPV6_ADDRESSES)
        stack.enter_context(host.entered())
        nh = stack.enter_context(running_nh(ipv6=True, latch_window_s=0.3))
        with call_for(nh.ng, ROAMS.over(IPV6), limit_s=10.0) as talk:
            talk.talk(talk.alice, talk.bob, seconds=10.0, until=lambda: is_latched(nh, talk))
            talk.alice.move(IPV6.elsewhere)
            talk.announces = IPV6.elsewhere
            talk.negotiate()
            [shard] = nh.relay.shard_processes()
            shard.kill()
            eventually(lambda: nh.relay.shard_pid(0) not in (0, shard.pid), "another shard has the call")
            assert talk.voice_lost_s(talk.alice, talk.bob) is not None
            assert talk.voice_lost_s(talk.bob, talk.alice, talk.alice) is not None


def is_latched(nh: Nh, talk: Talk) -> bool:
    """Whether both phones of the call have been found."""
    [session] = nh.relay.call(talk.key.call_id.encode()).sessions
    return session.pairs[0].from_.latched and session.pairs[0].to.latched
