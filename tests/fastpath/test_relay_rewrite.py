"""Packets of a flow in the kernel: what the next hop sees of them, and what is counted."""

import errno
import socket
import time

import pytest

from nh.calls.media import Endpoint
from nh.errors import KernelPathUnavailable
from tests.fastpath.flows import IPV4, IPV6, Relayed
from tests.fastpath.frames import Datagram
from tests.fastpath.kernel_relay import LOOPBACK, KernelRelay, Queued, Verdict

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("relayed", [IPV4, IPV6], ids=["v4", "v6"])


@BOTH
def test_a_packet_is_sent_on_from_the_relay_to_the_other_phone(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    outcome = kernel_relay.receive(relayed.packet)
    assert outcome.verdict is Verdict.SENT_ON
    assert outcome.datagram == Datagram(
        relayed.flow.out, relayed.flow.target, relayed.packet.payload, ttl=63, checksum="right"
    )


@BOTH
@pytest.mark.parametrize("size", [0, 1, 2, 11, 12, 13, 171, 172, 1000])
def test_checksums_are_right_for_payloads_of_any_length(
    kernel_relay: KernelRelay, relayed: Relayed, size: int
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    payload = bytes(n * 37 & 0xFF for n in range(size))
    datagram = kernel_relay.receive(relayed.sent(payload=payload)).datagram
    assert (datagram.payload, datagram.checksum) == (payload, "right")


@BOTH
def test_checksums_are_right_whatever_they_come_to(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    """All sums that two bytes of payload can make near 0 and 0xffff, where zero has two forms."""
    kernel_relay.add(relayed.local, relayed.flow)
    for word in (*range(0, 0x10000, 257), *range(0xFFF0, 0x10000), *range(16)):
        payload = word.to_bytes(2, "big")
        assert kernel_relay.receive(relayed.sent(payload=payload)).datagram.checksum == "right"


def test_a_checksum_that_comes_to_zero_is_sent_as_its_other_form(kernel_relay: KernelRelay) -> None:
    """Two bytes of payload are a term of the sum: what the sum is with zeros there is what makes it zero."""
    kernel_relay.add(IPV4.local, IPV4.flow)

    def checksum_sent(word: int) -> int:
        frame = kernel_relay.receive(IPV4.sent(payload=word.to_bytes(2, "big"))).frame
        return int.from_bytes(frame[40:42], "big")

    zero_at = checksum_sent(0)
    assert [checksum_sent(zero_at + more) for more in (-2, -1, 0, 1, 2)] == [2, 1, 0xFFFF, 0xFFFE, 0xFFFD]


def test_a_packet_without_checksum_is_sent_on_without_one(kernel_relay: KernelRelay) -> None:
    kernel_relay.add(IPV4.local, IPV4.flow)
    assert kernel_relay.receive(IPV4.sent(checksum="none")).datagram.checksum == "none"


@BOTH
def test_a_damaged_packet_is_not_made_to_look_whole(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    assert kernel_relay.receive(relayed.sent(checksum="wrong")).datagram.checksum == "wrong"


@BOTH
@pytest.mark.parametrize("checksum", ["right", "wrong"])
def test_a_cards_checksum_of_the_whole_packet_stays_right(
    kernel_relay: KernelRelay, relayed: Relayed, checksum: str
) -> None:
    """But not where UDP has no checksum that makes up for the ports: there it is not checked."""
    kernel_relay.add(relayed.local, relayed.but(tos=0xB8).flow)
    try:
        outcome = kernel_relay.receive(relayed.sent(checksum=checksum), summed=True)
    except KernelPathUnavailable as refusal:
        if refusal.errno != errno.EINVAL:
            raise
        pytest.skip("needs Linux 6.16, which can try that")
    assert outcome.verdict is Verdict.SENT_ON


@BOTH
@pytest.mark.parametrize("tos", [0, 0xB8, 0xFF])
def test_the_flow_says_which_dscp_is_sent(kernel_relay: KernelRelay, relayed: Relayed, tos: int) -> None:
    kernel_relay.add(relayed.local, relayed.but(tos=tos).flow)
    datagram = kernel_relay.receive(relayed.sent(tos=0x5A)).datagram
    assert (datagram.tos, datagram.checksum) == (tos, "right")


def test_ipv6_flow_labels_stay(kernel_relay: KernelRelay) -> None:
    kernel_relay.add(IPV6.local, IPV6.but(tos=0xB8).flow)
    datagram = kernel_relay.receive(IPV6.sent(label=0xABCDE, tos=0xFF)).datagram
    assert (datagram.tos, datagram.label) == (0xB8, 0xABCDE)


@BOTH
@pytest.mark.parametrize("ttl", [2, 255])
def test_each_relay_takes_one_from_the_ttl(kernel_relay: KernelRelay, relayed: Relayed, ttl: int) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    assert kernel_relay.receive(relayed.sent(ttl=ttl)).datagram.ttl == ttl - 1


@BOTH
def test_a_packet_to_a_socket_of_this_host_is_delivered(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.but(ifindex=0).flow)
    outcome = kernel_relay.receive(relayed.packet, ifindex=LOOPBACK)
    assert outcome.verdict is Verdict.DELIVERED
    assert outcome.datagram.target == relayed.flow.target
    assert outcome.datagram.checksum == "right"


@BOTH
def test_packets_as_long_as_the_next_hop_allows_are_sent_on(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    header = 28 if relayed is IPV4 else 48
    assert kernel_relay.receive(relayed.sent(payload=bytes(1500 - header))).verdict is Verdict.SENT_ON


def test_what_pads_a_short_frame_is_no_payload(kernel_relay: KernelRelay) -> None:
    kernel_relay.add(IPV4.local, IPV4.flow)
    frame = kernel_relay.receive(IPV4.sent(payload=b"\xff")).frame
    assert kernel_relay.receive(frame).verdict is Verdict.LEFT_TO_SOCKETS  # it is Bob's now
    assert kernel_relay.counters(3).payload_bytes == 1


def priority_of_a_socket(tos: int) -> int:
    """The priority that this kernel gives to what a socket with that TOS sends."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)


@BOTH
def test_a_packet_has_the_priority_that_a_socket_with_its_code_point_gives(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    for dscp in range(64):
        kernel_relay.add(relayed.local, relayed.but(tos=dscp << 2).flow)
        outcome, queued = kernel_relay.receive_queued(relayed.packet, Queued(priority=5))
        assert (outcome.datagram.tos, queued.priority) == (dscp << 2, priority_of_a_socket(dscp << 2))


@BOTH
def test_a_mark_of_the_way_in_is_gone(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    assert kernel_relay.receive_queued(relayed.packet, Queued(mark=0xBEEF))[1].mark == 0


@BOTH
def test_a_packet_that_is_left_to_the_socket_keeps_mark_and_priority(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    outcome, queued = kernel_relay.receive_queued(relayed.sent(ttl=1), Queued(priority=5, mark=0xBEEF))
    assert outcome.verdict is Verdict.LEFT_TO_SOCKETS
    assert queued == Queued(priority=5, mark=0xBEEF)


@BOTH
def test_packets_and_bytes_of_payload_are_counted_at_the_flows_index(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    before_ns = time.monotonic_ns()
    for size in (0, 1, 172):
        kernel_relay.receive(relayed.sent(payload=bytes(size)))
    counters = kernel_relay.counters(relayed.flow.counter_index)
    assert (counters.packets, counters.payload_bytes) == (3, 173)
    assert before_ns <= counters.last_seen_ns <= time.monotonic_ns()
    assert kernel_relay.counters(relayed.flow.counter_index + 1).packets == 0


@BOTH
def test_counting_goes_on_from_what_user_space_counted(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    kernel_relay.set_counters(3, kernel_relay.counters(3)._replace(packets=2**40, payload_bytes=2**45))
    kernel_relay.receive(relayed.sent(payload=b"four"))
    assert kernel_relay.counters(3)[:2] == (2**40 + 1, 2**45 + 4)


def test_flows_of_one_address_are_told_apart_by_their_ports(kernel_relay: KernelRelay) -> None:
    rtcp = Endpoint(IPV4.local.address, IPV4.local.port + 1)
    kernel_relay.add(IPV4.local, IPV4.flow)
    kernel_relay.add(rtcp, IPV4.but(target=Endpoint("203.0.113.9", 6001), counter_index=4).flow)
    assert kernel_relay.receive(IPV4.packet).datagram.target.port == 6000
    assert kernel_relay.receive(IPV4.sent(target=rtcp)).datagram.target.port == 6001
    assert kernel_relay.counters(4).packets == 1
