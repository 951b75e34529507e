"""A router says that a packet of a flow was too big for it: longer ones are left to the socket then."""

import dataclasses
import ipaddress
import struct

import pytest

from nh.calls.media import Endpoint
from tests.fastpath.flows import IPV4, IPV6, Relayed
from tests.fastpath.frames import PHONES_MAC, Datagram, changed, frame_of
from tests.fastpath.kernel_relay import KernelRelay, Verdict

pytestmark = pytest.mark.kernel

BOTH = pytest.mark.parametrize("relayed", [IPV4, IPV6], ids=["v4", "v6"])
ROUTER = {4: "192.0.2.254", 6: "2001:db8::fe"}


def message(quoted: bytes, relay: str, mtu_bytes: int, *, kind: tuple[int, int] | None = None) -> bytes:
    """The frame of an ICMP message "packet too big" that quotes a packet, given as a frame."""
    target = ipaddress.ip_address(relay)
    router = ipaddress.ip_address(ROUTER[target.version]).packed
    packet = quoted[14:]
    if target.version == 6:
        icmp = bytes(kind or (2, 0)) + struct.pack("!HI", 0, mtu_bytes) + packet
        ip = struct.pack("!IHBB", 6 << 28, len(icmp), 58, 64) + router + target.packed
        return PHONES_MAC + bytes(6) + b"\x86\xdd" + ip + icmp
    icmp = bytes(kind or (3, 4)) + struct.pack("!HHH", 0, 0, mtu_bytes) + packet[:28]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 1, 0, 64, 1, 0)
    return PHONES_MAC + bytes(6) + b"\x08\x00" + head + router + target.packed + icmp


def sent(relayed: Relayed, **changes: object) -> bytes:
    """What the relay sends to Bob, as his routers meet it."""
    whole = Datagram(relayed.flow.out, relayed.flow.target, bytes(1400))
    return frame_of(dataclasses.replace(whole, **changes))  # type: ignore[arg-type]


def relay_both_ways(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    flow = relayed.flow
    kernel_relay.add(relayed.local, flow)
    back = flow._replace(source=flow.target, out=relayed.local, target=flow.source, counter_index=4)
    kernel_relay.add(flow.out, back)


def longest(kernel_relay: KernelRelay, relayed: Relayed, local: Endpoint | None = None) -> int:
    """The longest IP packet of Alice's to a port that the kernel relays, of some lengths."""
    headers = 28 if relayed is IPV4 else 48
    for size in (1500, 1400, 1300, 1280, 576):
        packet = relayed.sent(payload=bytes(size - headers), target=local or relayed.local)
        if kernel_relay.receive(packet).verdict is Verdict.SENT_ON:
            return size
    return 0


@BOTH
def test_what_a_router_does_not_take_is_left_to_the_socket(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    relay_both_ways(kernel_relay, relayed)
    told = message(sent(relayed), relayed.flow.out.address, 1300)
    assert kernel_relay.receive(told) == (Verdict.LEFT_TO_SOCKETS, told)
    assert longest(kernel_relay, relayed) == 1300
    assert kernel_relay.counters(3).packets == 1, "the message is no packet of the flow"


@BOTH
def test_a_second_router_may_take_even_less_but_not_more(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    relay_both_ways(kernel_relay, relayed)
    for mtu_bytes in (1300, 1280, 1400):
        kernel_relay.receive(message(sent(relayed), relayed.flow.out.address, mtu_bytes))
    assert longest(kernel_relay, relayed) == 1280


@BOTH
def test_of_flows_that_leave_by_one_port_the_marker_of_the_target_tells(
    kernel_relay: KernelRelay, relayed: Relayed
) -> None:
    relay_both_ways(kernel_relay, relayed)
    flow = relayed.flow
    local = Endpoint(relayed.local.address, relayed.local.port + 20)
    target = Endpoint(flow.target.address, flow.target.port + 2)
    kernel_relay.add(local, flow._replace(target=target, counter_index=5))
    told = message(sent(relayed, target=target), flow.out.address, 1300)
    kernel_relay.receive(told)
    assert longest(kernel_relay, relayed, local) == 1500, "there is no marker"
    kernel_relay.mark(flow.out, target, local)
    kernel_relay.receive(told)
    assert (longest(kernel_relay, relayed, local), longest(kernel_relay, relayed)) == (1300, 1500)
    kernel_relay.receive(message(sent(relayed), flow.out.address, 1280))
    assert (longest(kernel_relay, relayed, local), longest(kernel_relay, relayed)) == (1300, 1280)


OTHERS = {
    "another target": {"target": Endpoint("203.0.113.10", 6000)},
    "another port of the target": {"target": Endpoint("203.0.113.9", 6001)},
    "another port of the relay": {"source": Endpoint("192.0.2.1", 30_004)},
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_message_about_another_packet_changes_nothing(kernel_relay: KernelRelay, which: str) -> None:
    relay_both_ways(kernel_relay, IPV4)
    kernel_relay.receive(message(sent(IPV4, **OTHERS[which]), "192.0.2.1", 1300))
    assert longest(kernel_relay, IPV4) == 1500


@BOTH
def test_every_message_is_counted_for_user_space(kernel_relay: KernelRelay, relayed: Relayed) -> None:
    """Of one-way flows, too, which the program does not find."""
    kernel_relay.add(relayed.local, relayed.flow)
    for count in (1, 2):
        kernel_relay.receive(message(sent(relayed), relayed.flow.out.address, 1300))
        assert kernel_relay.too_big_messages == count


@pytest.mark.parametrize(
    ("relayed", "kind"), [(IPV4, (3, 3)), (IPV4, (11, 0)), (IPV6, (1, 4)), (IPV6, (2, 1))]
)
def test_other_messages_change_nothing(
    kernel_relay: KernelRelay, relayed: Relayed, kind: tuple[int, int]
) -> None:
    relay_both_ways(kernel_relay, relayed)
    kernel_relay.receive(message(sent(relayed), relayed.flow.out.address, 1300, kind=kind))
    assert (longest(kernel_relay, relayed), kernel_relay.too_big_messages) == (1500, 0)


def test_less_than_every_ipv6_link_has_is_not_believed(kernel_relay: KernelRelay) -> None:
    relay_both_ways(kernel_relay, IPV6)
    kernel_relay.receive(message(sent(IPV6), IPV6.flow.out.address, 1279))
    assert (longest(kernel_relay, IPV6), kernel_relay.too_big_messages) == (1500, 0)


@BOTH
@pytest.mark.parametrize("cut", range(54, 110, 4))
def test_a_message_that_ends_early_is_left_alone(
    kernel_relay: KernelRelay, relayed: Relayed, cut: int
) -> None:
    relay_both_ways(kernel_relay, relayed)
    whole = message(sent(relayed), relayed.flow.out.address, 1300)
    if cut < (14 + 56 if relayed is IPV4 else 14 + 96):
        assert kernel_relay.receive(whole[:cut]).verdict is Verdict.LEFT_TO_SOCKETS
        assert longest(kernel_relay, relayed) == 1500


def test_a_message_in_fragments_is_left_alone(kernel_relay: KernelRelay) -> None:
    relay_both_ways(kernel_relay, IPV4)
    whole = message(sent(IPV4), IPV4.flow.out.address, 1300)
    kernel_relay.receive(changed(whole, 6, b"\x20\x00"))
    assert longest(kernel_relay, IPV4) == 1500


def test_an_old_router_that_names_no_length_leaves_all_to_the_socket(kernel_relay: KernelRelay) -> None:
    relay_both_ways(kernel_relay, IPV4)
    kernel_relay.receive(message(sent(IPV4), IPV4.flow.out.address, 0))
    assert longest(kernel_relay, IPV4) == 0
