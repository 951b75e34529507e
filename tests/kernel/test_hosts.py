"""Calls across a network, with `nh run` on a host between the phones, over both paths."""

import select
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from nh.results import LegDetail
from tests.fastpath.attachment import index_of
from tests.fastpath.trivial_program import kernel_has_tcx
from tests.kernel.hosts import (
    ALICE,
    BOB,
    NEAR_ALICE,
    NEAR_BOB,
    HostCall,
    Hosts,
    Where,
    phone_on,
    relay_on,
    three_hosts,
)
from tests.kernel.skb_fields import Fields, smeared, way_out
from tests.ng.client import NgClient
from tests.ng.ng_call import NgCall
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import RTCP, RTP, MediaPeer
from tools.harness.relay import Relay
from tools.harness.waiting import eventually
from tools.rtp import RtpPacket

pytestmark = pytest.mark.kernel

SETTINGS = {
    "user space": {"kernel": "off"},
    "tcx": {"kernel": "on", "kernel_attach": "tcx"},
    "clsact": {"kernel": "on", "kernel_attach": "clsact"},
}
NG = ("127.0.0.1", 2223)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with three_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module", params=SETTINGS)
def relay(request: pytest.FixtureRequest, hosts: Hosts) -> Iterator[Relay]:
    """A relay with each of the ways that packets may go."""
    interfaces = [
        f"{name}/{near[family]}" for name, near in (("a", NEAR_ALICE), ("b", NEAR_BOB)) for family in near
    ]
    settings = {
        "dscp": 46,
        "ng": f"{NG[0]}:{NG[1]}",
        "interface": ",".join(interfaces),
        **SETTINGS[request.param],
    }
    with relay_on(hosts.relay, **settings) as relay:
        yield relay


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest) -> int:
    version: int = request.param
    return version


@pytest.fixture
def alice(hosts: Hosts, family: int) -> Iterator[MediaPeer]:
    with phone_on(hosts.alice, ALICE[family]) as phone:
        yield phone


@pytest.fixture
def bob(hosts: Hosts, family: int) -> Iterator[MediaPeer]:
    with phone_on(hosts.bob, BOB[family]) as phone:
        yield phone


@pytest.fixture
def call(relay: Relay, request: pytest.FixtureRequest, family: int) -> HostCall:
    return HostCall(relay, f"{request.node.name}@example.org", family)


def in_kernel(relay: Relay) -> bool:
    return "kernel" in relay.program.wait_for_line("ready").split("; ")[-2]


def legs(relay: Relay, call_id: str) -> list[LegDetail]:
    """All directions of the newest session."""
    session = relay.call(call_id.encode()).sessions[-1]
    return [leg for pair in session.pairs for leg in (pair.from_, pair.to)]


def rtcp(number: int) -> bytes:
    """An APP packet (RFC 3550 6.7)."""
    return struct.pack("!BBHI4sI", 0x80, 204, 3, 1, b"test", number)


def talk(
    speaker: MediaPeer, to: Where, listener: MediaPeer, source: Where, packets: int, *, component: int = RTP
) -> None:
    """Each packet arrives once, in order and from where its receiver sends to."""
    for number in range(packets):
        payload = rtcp(number) if component == RTCP else RtpPacket(1, number, 0).encode()
        speaker.send(payload, to, component)
        assert listener.receive(component) == (payload, (source[0], source[1] + component))
    assert listener.pending(component) == []


def converse(alice: MediaPeer, for_alice: Where, bob: MediaPeer, for_bob: Where, packets: int) -> None:
    """RTP and RTCP go both ways; each phone sends to where the relay is for it."""
    for component in (RTP, RTCP):
        talk(alice, for_alice, bob, for_bob, packets, component=component)
        talk(bob, for_bob, alice, for_alice, packets, component=component)


def check_path(
    relay: Relay, call_id: str, phones: tuple[MediaPeer, MediaPeer], for_alice: Where, for_bob: Where
) -> None:
    """All packets are counted, and they go the way that they should once their source is latched."""
    alice, bob = phones
    converse(alice, for_alice, bob, for_bob, 1)
    assert [leg.kernel for leg in legs(relay, call_id)] == [in_kernel(relay)] * 4
    before = [(leg.packets, leg.kernel_packets) for leg in legs(relay, call_id)]
    assert before == [(1, 0)] * 4
    converse(alice, for_alice, bob, for_bob, 50)
    after = [(leg.packets, leg.kernel_packets) for leg in legs(relay, call_id)]
    assert after == [(51, 50 if in_kernel(relay) else 0)] * 4


def test_media_of_a_netsip_call_go_both_ways(
    relay: Relay, call: HostCall, alice: MediaPeer, bob: MediaPeer
) -> None:
    before = relay.stats().totals
    call.invite(alice, bob)
    check_path(relay, call.call_id, (alice, bob), call.for_alice, call.for_bob)
    eventually(lambda: relay.stats().totals.packets_in == before.packets_in + 204, "all are counted")
    after = relay.stats().totals
    assert after.packets_out - before.packets_out == 204
    assert after.kernel_packets - before.kernel_packets == (200 if in_kernel(relay) else 0)


def test_media_of_an_ng_call_go_both_ways(
    relay: Relay, hosts: Hosts, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    with hosts.relay.entered():
        client = NgClient(NG)
    with client:
        call = NgCall(client)
        offer = write_sdp([MediaLine(alice.address, alice.port)])
        [for_bob] = read_sdp(call.offer(offer, direction=["a", "b"]))
        answer = write_sdp([MediaLine(bob.address, bob.port)])
        [for_alice] = read_sdp(call.answer(answer))
        assert (for_alice.address, for_bob.address) == (NEAR_ALICE[family], NEAR_BOB[family])
        check_path(relay, call.call_id, (alice, bob), for_alice.target, for_bob.target)
        assert call.query()["totals"]["RTP"]["packets"] == 102
        call.delete()


# --- packets that are not like the others -----------------------------------------------------------

IPV6_RECVTCLASS, IPV6_DSTOPTS = 66, 59  # linux/in6.h; the socket module does not have them everywhere
OPTIONS = {
    4: (socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01\x01\x01\x00"),
    6: (socket.IPPROTO_IPV6, IPV6_DSTOPTS, b"\x00\x00\x01\x04\x00\x00\x00\x00"),
}


def check_odd_packet(call: HostCall, alice: MediaPeer, bob: MediaPeer, odd: bytes) -> None:
    """It arrives as it is and is counted, by the way through the socket, and the others go on as before."""
    before = legs(call.relay, call.call_id)[0]
    alice.send_raw(odd, call.for_alice)
    assert bob.receive() == (odd, call.for_bob)
    after = legs(call.relay, call.call_id)[0]
    assert (after.packets, after.bytes) == (before.packets + 1, before.bytes + len(odd))
    assert after.kernel_packets == before.kernel_packets
    assert after.kernel is before.kernel


def test_a_packet_in_fragments_is_relayed(call: HostCall, alice: MediaPeer, bob: MediaPeer) -> None:
    call.invite(alice, bob)
    converse(alice, call.for_alice, bob, call.for_bob, 2)
    check_odd_packet(call, alice, bob, bytes(range(250)) * 16)
    converse(alice, call.for_alice, bob, call.for_bob, 2)


def test_a_packet_with_ip_options_is_relayed(
    call: HostCall, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    call.invite(alice, bob)
    converse(alice, call.for_alice, bob, call.for_bob, 2)
    alice.sockets[RTP].setsockopt(*OPTIONS[family])
    check_odd_packet(call, alice, bob, b"with options")


def test_stun_from_another_source_is_dropped_and_counted(
    call: HostCall, hosts: Hosts, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    call.invite(alice, bob)
    converse(alice, call.for_alice, bob, call.for_bob, 2)
    binding_request = bytes.fromhex("000100002112a442") + bytes(12)
    with phone_on(hosts.alice, ALICE[family]) as stranger:
        sock = stranger.sockets[RTP]
        sock.connect(call.for_alice)
        sock.send(binding_request)
        eventually(
            lambda: legs(call.relay, call.call_id)[0].dropped == {"source_mismatch": 1}, "it is counted"
        )
        assert legs(call.relay, call.call_id)[0].refused_from is not None
        assert not select.select([sock], [], [], 0)[0], "and has no answer, not even an ICMP error"
    talk(alice, call.for_alice, bob, call.for_bob, 2)


def test_a_call_from_ipv4_to_ipv6_is_relayed_beside_one_that_is_not(
    hosts: Hosts, call: HostCall, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    relay = call.relay
    other = 10 - family
    across = HostCall(relay, f"{call.call_id}, across", family, to=other)
    with phone_on(hosts.alice, ALICE[family]) as carol, phone_on(hosts.bob, BOB[other]) as dave:
        call.invite(alice, bob)
        across.invite(carol, dave)
        for _ in range(2):
            converse(carol, across.for_alice, dave, across.for_bob, 2)
            converse(alice, call.for_alice, bob, call.for_bob, 2)
        assert [leg.kernel for leg in legs(relay, call.call_id)] == [in_kernel(relay)] * 4
        assert [leg.kernel_packets for leg in legs(relay, across.call_id)] == [0] * 4
        if in_kernel(relay):
            reasons = {leg.user_space_because for leg in legs(relay, across.call_id)}
            assert reasons == {"it goes from one IP version to the other"}


def test_every_packet_bears_the_code_point(
    call: HostCall, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    call.invite(alice, bob)
    sock = bob.sockets[RTP]
    if family == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
    for _ in range(3):
        alice.send(b"quick", call.for_alice)
        _, [(_, _, code_point)], _, _ = sock.recvmsg(100, 100)
        assert code_point[0] >> 2 == 46


@pytest.mark.skipif(not kernel_has_tcx(), reason="needs TCX (Linux 6.6) to look at packets on their way")
def test_no_packet_queues_by_what_the_way_in_left_behind(
    hosts: Hosts, call: HostCall, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    """Priority 4 is what the kernel gives to what a socket sends with EF (rt_tos2priority)."""
    call.invite(alice, bob)
    converse(alice, call.for_alice, bob, call.for_bob, 2)
    headers = 42 if family == 4 else 62
    with (
        smeared(hosts.relay, index_of(hosts.relay, "to_alice")),
        way_out(hosts.relay, index_of(hosts.relay, "to_bob")) as out,
    ):
        for number in range(3):
            talk(alice, call.for_alice, bob, call.for_bob, 1)
            packet = bytes(300 + number)
            alice.send_raw(packet, call.for_alice)
            assert bob.receive()[0] == packet
            assert out.fields(headers + len(packet)) == Fields(4, mark=0, queue_mapping=0, tstamp=0)


# --- calls ------------------------------------------------------------------------------------------


def test_a_re_invite_mid_stream_loses_and_doubles_nothing(
    call: HostCall, alice: MediaPeer, bob: MediaPeer
) -> None:
    call.invite(alice, bob)
    talk(alice, call.for_alice, bob, call.for_bob, 1)
    talk(bob, call.for_bob, alice, call.for_alice, 1)
    sent: list[bytes] = []
    received: list[bytes] = []
    ended = threading.Event()

    def speak() -> None:
        while not ended.is_set():
            # on a busy host a re-INVITE takes long: no more packets wait at Bob's socket than it has room for
            if len(sent) < len(received) + 150:
                sent.append(b"%06d" % len(sent))
                alice.send(sent[-1], call.for_alice)
            time.sleep(0.001)

    speaker = threading.Thread(target=speak)
    speaker.start()
    try:
        for _ in range(10):
            call.invite(alice, bob)
            # a phone goes on to the old port for a moment; then it goes to the new one
            received += [bob.receive()[0] for _ in range(50)]
    finally:
        ended.set()
        speaker.join()
    received += [bob.receive()[0] for _ in range(len(sent) - len(received))]
    assert bob.pending() == []
    assert sorted(received) == sent, "each of them once"


def test_a_stranger_is_not_relayed(
    call: HostCall, hosts: Hosts, alice: MediaPeer, bob: MediaPeer, family: int
) -> None:
    call.invite(alice, bob)
    converse(alice, call.for_alice, bob, call.for_bob, 2)
    with phone_on(hosts.alice, ALICE[family]) as neighbour, phone_on(hosts.bob, BOB[family]) as stranger:
        neighbour.send(b"from another port", call.for_alice)
        stranger.send(b"from another host", call.for_alice)
        talk(alice, call.for_alice, bob, call.for_bob, 2)


def test_streams_are_measured(call: HostCall, alice: MediaPeer, bob: MediaPeer) -> None:
    call.invite(alice, bob)
    for number in [*range(10), *range(12, 30), 11, 30]:
        packet = RtpPacket(0xBEEF, number, 0).encode()
        alice.send(packet, call.for_alice)
        assert bob.receive()[0] == packet
    (stream,) = legs(call.relay, call.call_id)[0].streams
    assert (stream.ssrc, stream.packets, stream.lost, stream.reordered) == (0xBEEF, 30, 1, 1)
