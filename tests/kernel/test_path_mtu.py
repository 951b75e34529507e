"""A router behind the relay takes shorter packets than the relay's own wire: both paths deal with it alike.

alice ── relay ── router ── bob; the wire between router and Bob has an MTU of 1300, and packets bear "don't
fragment", as those of phones on Linux do. One packet is lost: the router answers it, and then the host sends
longer ones in fragments.
"""

import contextlib
import functools
import itertools
import select
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from nh.results import LegDetail
from tests.constants import set_constants
from tests.kernel.hosts import ALICE, HostCall, phone_on, relay_on
from tests.netns import namespaces
from tools.harness.media_peer import RTP, MediaPeer
from tools.harness.namespaces import Namespace, join
from tools.harness.relay import Relay
from tools.harness.waiting import eventually
from tools.rtp import RtpPacket

pytestmark = pytest.mark.kernel

BOB = {4: "192.0.2.2", 6: "2001:db8:c::2"}
BIG = 1330
"""Bytes of payload: with its headers more than the router's MTU."""

EXPIRES_S = 10
"""Longer than a few packets take on a busy host, one of which is lost and waited for."""

RARELY_S = 0.2
"""Between two looks at what the host forgets only then."""

FAMILIES = pytest.mark.parametrize("family", [4, 6])
PATHS = pytest.mark.parametrize("kernel", ["on", "off"])


class Network(NamedTuple):
    alice: Namespace
    relay: Namespace
    router: Namespace
    bob: Namespace


@pytest.fixture
def network() -> Iterator[Network]:
    with namespaces(4) as (alice, relay, router, bob):
        nets = (
            (relay, alice, "to_alice", ("198.51.100.1/24", "198.51.100.2/24"), "2001:db8:a::"),
            (relay, router, "to_router", ("203.0.113.1/24", "203.0.113.2/24"), "2001:db8:b::"),
            (router, bob, "to_bob", ("192.0.2.1/24", "192.0.2.2/24"), "2001:db8:c::"),
        )
        for left, right, name, fours, six in nets:
            join(left, right, *fours, f"{six}1/64", f"{six}2/64", name=name)
        for host in (router, bob):
            host.run("ip link set to_bob mtu 1300")
        router.run("sysctl -qw net.ipv4.ip_forward=1", "sysctl -qw net.ipv6.conf.all.forwarding=1")
        relay.run(
            "ip route add 192.0.2.0/24 via 203.0.113.2",
            "ip route add 2001:db8:c::/64 via 2001:db8:b::2",
        )
        bob.run("ip route add default via 192.0.2.1", "ip route add default via 2001:db8:c::1")
        yield Network(alice, relay, router, bob)


@pytest.fixture
def forgetful(network: Network) -> Network:
    """The same, where the relay's host forgets after a while what it has learned of a path."""
    network.relay.run(*(f"sysctl -qw net.ipv{each}.route.mtu_expires={EXPIRES_S}" for each in (4, 6)))
    return network


SOON_S = 1.0
"""After this time the next packet is sent, although the one before is not there: it is lost, or late."""

_numbers = itertools.count()


def media(size: int) -> bytes:
    """RTP with so many bytes, and a number of its own."""
    return RtpPacket(1, next(_numbers), 0).encode()[:12].ljust(size, b".")


class Talk(NamedTuple):
    call: HostCall
    alice: MediaPeer
    bob: MediaPeer

    def say(self, count: int, size: int = BIG) -> int:
        """How many of so many packets of Alice's arrive; the next is sent when one should be there.

        They arrive in their order, so what is missing before the last one that was sent is lost and not late.
        """
        packets = [media(size) for _ in range(count)]
        arrived = set()
        sock = self.bob.sockets[RTP]
        for packet in packets:
            self.alice.send(packet, self.call.for_alice)
            if select.select([sock], [], [], SOON_S)[0]:
                arrived.add(sock.recv(2048))
        with contextlib.suppress(TimeoutError):
            while packets[-1] not in arrived:
                arrived.add(sock.recv(2048))
        return len(arrived.intersection(packets))

    @property
    def leg(self) -> LegDetail:
        return self.call.relay.call(self.call.call_id.encode()).sessions[-1].pairs[0].from_


@contextlib.contextmanager
def talk(network: Network, relay: Relay, call_id: str, family: int, *, both: bool = True) -> Iterator[Talk]:
    """A call whose packets from Alice to Bob take the path that is meant to be tested."""
    with phone_on(network.alice, ALICE[family]) as alice, phone_on(network.bob, BOB[family]) as bob:
        call = HostCall(relay, call_id, family)
        call.invite(alice, bob)
        talk = Talk(call, alice, bob)
        assert talk.say(2, 172) == 2
        if both:
            back = media(172)
            bob.send(back, call.for_bob)
            assert alice.receive()[0] == back
        if relay.stats().supervisor.kernel_interfaces:
            eventually(lambda: talk.leg.kernel, "it is relayed in the kernel")
        yield talk


@FAMILIES
@PATHS
def test_at_most_one_packet_is_lost_of_this_call_and_none_of_a_later_one(
    network: Network, family: int, kernel: str
) -> None:
    with relay_on(network.relay, kernel=kernel, dscp=0) as relay:
        with talk(network, relay, "first", family) as first, talk(network, relay, "beside", family) as beside:
            assert first.say(20) >= 19
            assert first.say(20) == 20
            assert beside.say(20) >= 19
            assert first.leg.dropped == {}
            if kernel == "on":
                before = first.leg.kernel_packets
                assert first.say(5, 172) == 5
                assert first.leg.kernel_packets == before + 5, "short packets still go through the kernel"
        with talk(network, relay, "later", family) as later:
            assert later.say(5) == 5


@FAMILIES
def test_a_message_that_comes_by_an_interface_without_the_program_is_followed(
    network: Network, family: int
) -> None:
    """The host's routing learns from it, the program does not see it."""
    with (
        relay_on(network.relay, dscp=0, kernel_interface="to_alice") as relay,
        talk(network, relay, "unseen", family, both=False) as call,
    ):
        sock = call.bob.sockets[RTP]

        def arrives() -> bool:
            call.alice.send(media(BIG), call.call.for_alice)
            return bool(select.select([sock], [], [], 0.1)[0])

        eventually(arrives, "long packets arrive")
        assert call.say(10) == 10
        before = call.leg.kernel_packets
        assert call.say(5, 172) == 5
        assert call.leg.kernel_packets == before + 5, "short packets still go through the kernel"


def test_such_a_message_below_the_hosts_least_path_mtu_leaves_the_direction_to_the_socket(
    network: Network,
) -> None:
    """The host locks the MTU of the route, and its packets go without "don't fragment"."""
    network.relay.run("sysctl -q net.ipv4.route.min_pmtu=1450")
    with (
        relay_on(network.relay, dscp=0, kernel_interface="to_alice") as relay,
        talk(network, relay, "locked", 4, both=False) as call,
    ):
        assert call.leg.kernel
        call.alice.send(media(BIG), call.call.for_alice)
        eventually(lambda: not call.leg.kernel, "it is left to the socket")
        assert call.say(10) == 10


def test_a_message_that_the_host_does_not_believe_is_forgotten(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum is wrong, so routing never learns of it, and no later look at routes finds a change."""
    set_constants(monkeypatch, {"nh.shard.media.kernel.path_mtu:FORGET_S": EXPIRES_S})
    with relay_on(network.relay, dscp=0) as relay, talk(network, relay, "forged", 4) as call:

        def in_the_kernel() -> int:
            before = call.leg.kernel_packets
            assert call.say(3, 172) == 3
            return call.leg.kernel_packets - before

        address, port = call.call.for_bob
        addresses = socket.inet_aton(address) + socket.inet_aton(BOB[4])
        quoted = struct.pack("!BBHHHBBH", 0x45, 0, 228, 1, 0x4000, 63, 17, 0) + addresses
        quoted += struct.pack("!HHHH", port, call.bob.port, 208, 0)
        with network.router.entered():
            router = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        with router:
            router.sendto(struct.pack("!BBHHH", 3, 4, 0xBAD, 0, 68) + quoted, (address, 0))
        eventually(lambda: in_the_kernel() == 0, "the program heeds it")
        eventually(lambda: in_the_kernel() == 3, "the flow is as long as its route again", poll_s=RARELY_S)


@FAMILIES
def test_a_one_way_stream_is_heard_again_as_well(network: Network, family: int) -> None:
    with relay_on(network.relay) as relay, talk(network, relay, "one way", family, both=False) as one_way:
        sock = one_way.bob.sockets[RTP]
        for _ in range(20):
            one_way.alice.send(media(BIG), one_way.call.for_alice)
            time.sleep(0.01)
        for _ in range(19):
            assert len(sock.recv(2048)) == BIG
        assert one_way.leg.kernel


@FAMILIES
def test_each_answerer_of_a_forked_request_loses_one_packet(network: Network, family: int) -> None:
    """Their flows leave by one port of the relay."""
    with (
        relay_on(network.relay) as relay,
        phone_on(network.alice, ALICE[family]) as alice,
        phone_on(network.bob, BOB[family]) as bob,
        phone_on(network.bob, BOB[family]) as carol,
    ):
        forked = {name: HostCall(relay, "forked", family) for name in ("bob", "carol")}
        talks = []
        for (name, call), callee in zip(forked.items(), (bob, carol), strict=True):
            call.invite(alice, callee, callee=name)
            talks.append(Talk(call, alice, callee))
        for talking in talks:
            assert talking.say(2, 172) == 2
        eventually(
            lambda: all(each.pairs[0].from_.kernel for each in relay.call(b"forked").sessions), "all are"
        )
        for talking in talks:
            sock = talking.bob.sockets[RTP]
            for _ in range(20):  # faster than user space looks its routes up
                alice.send(media(BIG), talking.call.for_alice)
                time.sleep(0.002)
            for _ in range(19):
                assert len(sock.recv(2048)) == BIG


def test_when_the_kernel_forgets_the_path_mtu_the_kernel_relays_whole_packets_again(
    forgetful: Network,
) -> None:
    with (
        relay_on(forgetful.relay) as relay,
        talk(forgetful, relay, "4 grows", 4) as four,
        talk(forgetful, relay, "6 grows", 6) as six,
    ):
        for grows in (four, six):
            assert grows.say(10) >= 9
        for host in (forgetful.router, forgetful.bob):
            host.run("ip link set to_bob mtu 1500")

        def all_in_the_kernel(grows: Talk) -> bool:
            before = grows.leg.kernel_packets
            assert grows.say(3) == 3
            return grows.leg.kernel_packets == before + 3

        for grows in (four, six):  # the wait for both is one
            in_the_kernel = functools.partial(all_in_the_kernel, grows)
            eventually(in_the_kernel, "big packets are relayed in the kernel again", poll_s=RARELY_S)


def test_a_sysctl_that_shortens_ipv6_packets_is_followed(network: Network) -> None:
    """It raises no event of netlink."""
    for host in (network.router, network.bob):
        host.run("ip link set to_bob mtu 1500")
    with relay_on(network.relay) as relay, talk(network, relay, "sysctl", 6) as call:
        assert call.say(5) == 5
        network.relay.run("sysctl -qw net.ipv6.conf.to_router.mtu=1290")

        def left_to_the_socket() -> bool:
            before = call.leg.kernel_packets
            assert call.say(3) == 3
            return call.leg.kernel_packets == before

        eventually(left_to_the_socket, "longer packets are left to the socket")


def lead_to_bob(network: Network, family: int, metrics: str) -> None:
    """The relay's route to Bob has these metrics from now on."""
    net, router = {4: ("192.0.2.0/24", "203.0.113.2"), 6: ("2001:db8:c::/64", "2001:db8:b::2")}[family]
    network.relay.run(f"ip -{family} route replace {net} via {router} {metrics}")


def test_a_route_whose_mtu_is_locked_is_left_to_the_socket_and_so_is_each_packet(network: Network) -> None:
    """Sockets send without "don't fragment" there, and routers split what is too big for them."""
    with relay_on(network.relay) as relay, talk(network, relay, "locked", 4) as locked:
        lead_to_bob(network, 4, "mtu lock 1400")
        eventually(lambda: not locked.leg.kernel, "it is left to the socket")
        assert "locked" in locked.leg.user_space_because
        assert locked.say(10) == 10, "not one is lost: the router splits them"
        lead_to_bob(network, 4, "mtu 1290")
        eventually(lambda: locked.leg.kernel, "it is relayed in the kernel again")
        before = locked.leg.kernel_packets
        assert (locked.say(5), locked.say(5, 172)) == (5, 5)
        assert locked.leg.kernel_packets == before + 5, "the short ones"


def test_a_path_mtu_below_the_least_that_is_believed_locks_the_route(forgetful: Network) -> None:
    """net.ipv4.route.min_pmtu: the host remembers that one instead, and sends without "don't fragment"."""
    forgetful.relay.run("sysctl -qw net.ipv4.route.min_pmtu=1400")
    with relay_on(forgetful.relay) as relay, talk(forgetful, relay, "least", 4) as least:
        assert least.say(20) >= 19
        eventually(lambda: not least.leg.kernel, "it is left to the socket")
        assert "locked" in least.leg.user_space_because
        assert least.say(10) == 10
        eventually(lambda: least.leg.kernel, "the host has forgotten it", poll_s=RARELY_S)


def test_a_router_advertisement_that_shortens_ipv6_packets_is_followed(network: Network) -> None:
    for host in (network.router, network.bob):
        host.run("ip link set to_bob mtu 1500")
    # hosts that forward packets listen to no router; the relay does not forward
    network.relay.run("sysctl -qw net.ipv6.conf.to_router.accept_ra=1")
    with relay_on(network.relay) as relay, talk(network, relay, "advertised", 6) as call:
        assert call.say(5) == 5
        with network.router.entered():
            advertise_mtu("to_router", 1290)

        def left_to_the_socket() -> bool:
            before = call.leg.kernel_packets
            assert call.say(3) == 3
            return call.leg.kernel_packets == before

        eventually(left_to_the_socket, "longer packets are left to the socket")
        before = call.leg.kernel_packets
        assert call.say(3, 172) == 3
        assert call.leg.kernel_packets == before + 3


def advertise_mtu(interface: str, mtu_bytes: int) -> None:
    """A router advertisement (RFC 4861 4.2) with the option of the MTU and nothing else."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        link = socket.if_nametoindex(interface)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, link)
        option = struct.pack("!BBHI", 5, 1, 0, mtu_bytes)
        advertisement = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + option
        sock.sendto(advertisement, ("ff02::1", 0, 0, link))


def test_bob_is_really_behind_a_small_mtu(network: Network) -> None:
    """Else the tests above would show nothing."""
    with network.relay.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: IP_PMTUDISC_DO
        sock.connect((BOB[4], 9))
        sock.send(bytes(BIG))

        def refused() -> bool:
            try:
                sock.send(bytes(BIG))
            except OSError:
                return True
            return False

        eventually(refused, "the router answers")
