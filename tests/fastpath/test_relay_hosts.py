"""Two phones on hosts of their own and the relay between them: their kernels must accept what they get."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from nh.fastpath.layout import FlowEntry
from tests.fastpath.attachment import attached, endpoint, index_of, udp_socket
from tests.fastpath.frames import rtp
from tests.netns import namespaces
from tools.harness.namespaces import Namespace, join

pytestmark = pytest.mark.kernel

ALICE = {4: "198.51.100.2", 6: "2001:db8:a::2"}
BOB = {4: "203.0.113.2", 6: "2001:db8:b::2"}
RELAY_FOR_ALICE = {4: "198.51.100.1", 6: "2001:db8:a::1"}
RELAY_FOR_BOB = {4: "203.0.113.1", 6: "2001:db8:b::1"}


class Hosts(NamedTuple):
    alice: Namespace
    relay: Namespace
    bob: Namespace


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """The relay has a wire to each; no host forwards packets by itself.

    Phones leave checksums to their virtual cards, so that the relay gets the pseudo header's sum only. What
    it makes of that has to be right, because its own wires make whole checksums, which phones check.
    """
    with namespaces(3) as (alice, relay, bob):
        ends = ((alice, "to_alice", ALICE, RELAY_FOR_ALICE), (bob, "to_bob", BOB, RELAY_FOR_BOB))
        for phone, wire, theirs, ours in ends:
            addresses = [f"{each[4]}/24" for each in (ours, theirs)]
            addresses += [f"{each[6]}/64" for each in (ours, theirs)]
            join(relay, phone, *addresses, name=wire)
            relay.sum_in_software(wire)
        yield Hosts(alice, relay, bob)


@pytest.mark.parametrize("family", [4, 6])
def test_a_call_goes_both_ways_through_the_kernel(hosts: Hosts, family: int) -> None:
    alice, bob = udp_socket(hosts.alice, ALICE[family]), udp_socket(hosts.bob, BOB[family])
    for_alice = udp_socket(hosts.relay, RELAY_FOR_ALICE[family])
    for_bob = udp_socket(hosts.relay, RELAY_FOR_BOB[family])
    to_alice, to_bob = index_of(hosts.relay, "to_alice"), index_of(hosts.relay, "to_bob")
    forth = FlowEntry(
        endpoint(alice), endpoint(for_bob), endpoint(bob), to_bob, counter_index=2, mtu_bytes=1500, rtp=True
    )
    back = FlowEntry(
        endpoint(bob),
        endpoint(for_alice),
        endpoint(alice),
        to_alice,
        counter_index=1,
        mtu_bytes=1500,
        rtp=True,
    )
    with attached(hosts.relay, "to_alice", "to_bob") as program:
        program.put(endpoint(for_alice), forth)
        program.put(endpoint(for_bob), back)
        for number in range(50):
            alice.sendto(rtp(number, ssrc=1), for_alice.getsockname())
            bob.sendto(rtp(number, ssrc=2), for_bob.getsockname())
            assert bob.recvfrom(2048)[:2] == (rtp(number, ssrc=1), for_bob.getsockname())
            assert alice.recvfrom(2048)[:2] == (rtp(number, ssrc=2), for_alice.getsockname())
        for index, ssrc in ((2, 1), (1, 2)):
            stream = program.counters(index).streams[0]
            assert (stream.ssrc, stream.packets, stream.lost, stream.reordered) == (ssrc, 50, 0, 0)
    for end in (alice, bob, for_alice, for_bob):
        end.close()
