"""Packets that are none of the kernel's: they reach the sockets as they came, and are not counted."""

import struct
import time
from collections.abc import Callable

import pytest

from nh.calls.media import Endpoint
from nh.ipc.shared_deadline import NS
from tests.fastpath.flows import IPV4, IPV6, Relayed
from tests.fastpath.frames import ETHERNET, Datagram, changed, frame_of
from tests.fastpath.kernel_relay import LOOPBACK, KernelRelay, Verdict

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("relayed", [IPV4, IPV6], ids=["v4", "v6"])

FRAME4 = frame_of(IPV4.packet)
FRAME6 = frame_of(IPV6.packet)

MAPPED4 = [bytes(10) + b"\xff\xff" + FRAME4[at : at + 4] for at in (26, 30)]


def u16(number: int) -> bytes:
    return struct.pack("!H", number)


ODD = {
    "ARP": FRAME4[:12] + u16(0x0806) + FRAME4[14:],
    "an 802.3 frame": FRAME4[:12] + u16(200) + FRAME4[14:],
    "a VLAN tag in the frame": FRAME4[:12] + u16(0x8100) + u16(5) + FRAME4[12:],
    "an IPv6 packet that says IPv4": FRAME6[:12] + u16(0x0800) + FRAME6[14:],
    "an IPv4 packet that says IPv6": FRAME4[:12] + u16(0x86DD) + FRAME4[14:],
    "v4: IP version 5": changed(FRAME4, 0, b"\x55"),
    "v4: a header of 16 bytes": changed(FRAME4, 0, b"\x44"),
    "v4: IP options": FRAME4[:ETHERNET] + b"\x46" + FRAME4[15:34] + bytes(4) + FRAME4[34:],
    "v4: more fragments follow": changed(FRAME4, 6, u16(0x2000)),
    "v4: a later fragment": changed(FRAME4, 6, u16(1)),
    "v4: the last fragment": changed(FRAME4, 6, u16(0x1FFF)),
    "v4: TTL 1": changed(FRAME4, 8, b"\x01"),
    "v4: TTL 0": changed(FRAME4, 8, b"\x00"),
    "v4: TCP": changed(FRAME4, 9, b"\x06"),
    "v4: UDP lite": changed(FRAME4, 9, b"\x88"),
    "v4: longer by IP than by UDP": changed(FRAME4, 2, u16(201)),
    "v4: longer by UDP than by IP": changed(FRAME4, 24, u16(181)),
    "v4: UDP length 0": changed(FRAME4, 24, u16(0)),
    "v4: UDP length 7, and IP agrees": changed(changed(FRAME4, 24, u16(7)), 2, u16(27)),
    "v4: longer than the frame": changed(changed(FRAME4, 24, u16(181)), 2, u16(201)),
    "v6: IP version 5": changed(FRAME6, 0, b"\x50"),
    "v6: hop limit 1": changed(FRAME6, 7, b"\x01"),
    "v6: hop limit 0": changed(FRAME6, 7, b"\x00"),
    "v6: TCP": changed(FRAME6, 6, b"\x06"),
    "v6: hop-by-hop options": changed(FRAME6, 6, b"\x00"),
    "v6: a fragment": changed(FRAME6, 6, b"\x2c"),
    "v6: destination options": changed(FRAME6, 6, b"\x3c"),
    "v6: no UDP checksum": changed(FRAME6, 46, u16(0)),
    "v6: longer by IP than by UDP": changed(FRAME6, 4, u16(181)),
    "v6: longer by UDP than by IP": changed(FRAME6, 44, u16(181)),
    "v6: UDP length 7, and IP agrees": changed(changed(FRAME6, 44, u16(7)), 4, u16(7)),
    "v6: a jumbogram": changed(changed(FRAME6, 44, u16(0)), 4, u16(0)),
    "v6: longer than the frame": changed(changed(FRAME6, 44, u16(181)), 4, u16(181)),
    "v6: IPv4's addresses in it": changed(FRAME6, 8, b"".join(MAPPED4)),
}


@pytest.mark.parametrize("frame", ODD.values(), ids=ODD.keys())
def test_odd_packets_are_left_to_the_sockets(kernel_relay: KernelRelay, frame: bytes) -> None:
    for relayed in (IPV4, IPV6):
        kernel_relay.add(relayed.local, relayed.flow)
    assert kernel_relay.receive(frame) == (Verdict.LEFT_TO_SOCKETS, frame)
    assert kernel_relay.counters(3).packets == 0


@BOTH
def test_packets_cut_off_anywhere_are_left_to_the_sockets(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    """After the IP header, that is: the kernel runs no program on less (see test_relay_wire)."""
    kernel_relay.add(relayed.local, relayed.flow)
    whole = frame_of(relayed.packet)
    for size in range(ETHERNET + (20 if relayed is IPV4 else 40), len(whole)):
        assert kernel_relay.receive(whole[:size]) == (Verdict.LEFT_TO_SOCKETS, whole[:size])
    assert kernel_relay.receive(whole).verdict is Verdict.SENT_ON


@BOTH
@pytest.mark.parametrize(
    "mac", ["020000000099", "ffffffffffff", "01005e000001"], ids=["other", "all", "many"]
)
def test_frames_that_are_not_for_this_host_alone_pass(
    kernel_relay: KernelRelay, relayed: Relayed, mac: str
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    frame = frame_of(relayed.packet, mac=bytes.fromhex(mac))
    assert kernel_relay.receive(frame) == (Verdict.LEFT_TO_SOCKETS, frame)


@BOTH
def test_packets_that_were_joined_to_a_large_one_pass(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    outcome = kernel_relay.receive(relayed.packet, gso_size=100)
    assert outcome == (Verdict.LEFT_TO_SOCKETS, frame_of(relayed.packet))


STRANGERS: dict[str, Callable[[Relayed], Datagram]] = {
    "another port of the source": lambda r: r.sent(source=Endpoint(r.packet.source.address, 4001)),
    "another address with the same port": lambda r: r.sent(source=Endpoint(r.flow.target.address, 4000)),
    "to another port of the relay": lambda r: r.sent(target=Endpoint(r.local.address, 30_001)),
    "to another address of the relay": lambda r: r.sent(target=Endpoint(r.flow.target.address, 30_000)),
}


@BOTH
@pytest.mark.parametrize("which", STRANGERS)
def test_strangers_are_left_to_the_sockets(kernel_relay: KernelRelay, relayed: Relayed, which: str) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    stranger = STRANGERS[which](relayed)
    assert kernel_relay.receive(stranger) == (Verdict.LEFT_TO_SOCKETS, frame_of(stranger))
    assert kernel_relay.counters(3).packets == 0


def test_each_word_of_an_ipv6_source_counts(kernel_relay: KernelRelay) -> None:
    kernel_relay.add(IPV6.local, IPV6.flow)
    whole = frame_of(IPV6.packet)
    for at in range(8, 24):
        frame = changed(whole, at, bytes([whole[ETHERNET + at] ^ 1]))
        assert kernel_relay.receive(frame) == (Verdict.LEFT_TO_SOCKETS, frame)


@BOTH
def test_packets_too_long_for_the_way_out_pass(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    header = 28 if relayed is IPV4 else 48
    kernel_relay.add(relayed.local, relayed.but(mtu_bytes=header + 171).flow)
    assert kernel_relay.receive(relayed.packet).verdict is Verdict.LEFT_TO_SOCKETS


@BOTH
def test_a_local_target_is_reached_from_loopback_only(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    kernel_relay.add(relayed.local, relayed.but(ifindex=0).flow)
    assert kernel_relay.receive(relayed.packet).verdict is Verdict.LEFT_TO_SOCKETS


@BOTH
def test_what_comes_from_loopback_does_not_leave_the_host(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    assert kernel_relay.receive(relayed.packet, ifindex=LOOPBACK).verdict is Verdict.LEFT_TO_SOCKETS


@BOTH
def test_a_flow_whose_counter_index_is_beyond_the_map_is_not_taken(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.but(counter_index=16).flow)
    assert kernel_relay.receive(relayed.packet).verdict is Verdict.LEFT_TO_SOCKETS


@BOTH
def test_what_comes_after_the_end_of_the_lease_is_left_to_the_sockets(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    kernel_relay.add(relayed.local, relayed.flow)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for stop_at_ns, verdict in (
        (now_ns + 3600 * NS, Verdict.SENT_ON),
        (now_ns, Verdict.LEFT_TO_SOCKETS),
        (0, Verdict.SENT_ON),
    ):
        kernel_relay.stop_at(stop_at_ns)
        assert kernel_relay.receive(relayed.packet).verdict is verdict
    assert kernel_relay.counters(relayed.flow.counter_index).packets == 2
