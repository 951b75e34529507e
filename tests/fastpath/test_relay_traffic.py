"""Real packets through the attached program: on loopback, between interfaces, and with VLAN tags."""

import socket
from collections.abc import Iterator

import pytest

from nh.fastpath.layout import FlowEntry
from tests.fastpath.attachment import attached, endpoint, index_of, udp_socket
from tests.fastpath.flows import IPV4, IPV6, Relayed
from tests.fastpath.frames import ETHERNET, PHONES_MAC, datagram_in, frame_of, rtp
from tests.netns import namespaces
from tools.harness.namespaces import Namespace
from tools.harness.waiting import TIMEOUT_S, eventually

pytestmark = pytest.mark.kernel

ALL_FRAMES = 3
"""ETH_P_ALL"""

BOBS_MAC = bytes.fromhex("020000000b0b")

LOCAL = {4: "127.0.0.1", 6: "::1"}


@pytest.fixture
def wires() -> Iterator[Namespace]:
    """A host with two wires, to Alice and to Bob, whose other ends are in the same namespace.

    What is sent to `alice` as a frame comes in on `eth1`, and what leaves by `eth2` can be seen at `bob`.
    """
    with namespaces(1) as (namespace,):
        namespace.run(f"ip link add eth1 address {PHONES_MAC.hex(':')} type veth peer name alice")
        namespace.run(f"ip link add eth2 type veth peer name bob address {BOBS_MAC.hex(':')}")
        for name in ("eth1", "alice", "eth2", "bob"):
            namespace.run(f"ip link set {name} addrgenmode none up")
        namespace.run("ip address add 192.0.2.1/24 dev eth2")
        namespace.run("ip address add 2001:db8::1/64 dev eth2 nodad")
        for target in (IPV4.flow.target.address, IPV6.flow.target.address):
            namespace.run(f"ip route add {target} dev eth2")
            namespace.run(f"ip neighbour add {target} lladdr {BOBS_MAC.hex(':')} dev eth2")
        for name in ("eth1", "alice", "eth2", "bob"):
            namespace.wait_for_link(name)
        yield namespace


def wire_end(wires: Namespace, interface: str) -> socket.socket:
    with wires.entered():
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
    end.settimeout(TIMEOUT_S)
    end.bind((interface, ALL_FRAMES))
    return end


def frames_at(end: socket.socket) -> Iterator[bytes]:
    """All frames, among them what hosts say by themselves."""
    while True:
        yield end.recv(2048)


@pytest.mark.parametrize("family", [4, 6])
def test_loopback_carries_a_call_past_the_relays_sockets(namespace: Namespace, family: int) -> None:
    """The sender leaves a partial checksum; a receiver whose kernel finds it wrong gets nothing."""
    address = LOCAL[family]
    alice, relay, out, bob = (udp_socket(namespace, address) for _ in range(4))
    flow = FlowEntry(
        endpoint(alice), endpoint(out), endpoint(bob), ifindex=0, counter_index=5, mtu_bytes=65535, rtp=True
    )
    with attached(namespace, "lo") as program:
        program.put(endpoint(relay), flow)
        for number in range(10):
            alice.sendto(rtp(number), relay.getsockname())
            assert bob.recvfrom(2048)[:2] == (rtp(number), out.getsockname())
        assert program.counters(5).packets == 10
        assert program.counters(5).streams[0].lost == 0
        bob.sendto(b"from another source", relay.getsockname())
        assert relay.recv(2048) == b"from another source"
    alice.sendto(b"detached", relay.getsockname())
    assert relay.recv(2048) == b"detached"
    for end in (alice, relay, out, bob):
        end.close()


@pytest.mark.parametrize("relayed", [IPV4, IPV6], ids=["v4", "v6"])
def test_packets_leave_by_the_flows_interface_for_the_next_hop(wires: Namespace, relayed: Relayed) -> None:
    alice, bob = wire_end(wires, "alice"), wire_end(wires, "bob")
    eth2 = index_of(wires, "eth2")
    with attached(wires, "eth1") as program:
        program.put(relayed.local, relayed.but(ifindex=eth2, tos=0xB8).flow)
        alice.send(frame_of(relayed.packet))
        sent = datagram_in(next(frame for frame in frames_at(bob) if frame[:6] == BOBS_MAC))
        assert (sent.source, sent.target) == (relayed.flow.out, relayed.flow.target)
        assert (sent.payload, sent.tos, sent.ttl) == (relayed.packet.payload, 0xB8, 63)
        assert sent.checksum == "right"
    alice.close()
    bob.close()


@pytest.mark.parametrize("relayed", [IPV4, IPV6], ids=["v4", "v6"])
def test_cut_off_and_tagged_frames_are_not_counted(wires: Namespace, relayed: Relayed) -> None:
    """Every frame is met in order, so that the whole one at the end shows that the others were seen."""
    whole = frame_of(relayed.packet)
    alice = wire_end(wires, "alice")
    eth2 = index_of(wires, "eth2")
    with attached(wires, "eth1") as program:
        program.put(relayed.local, relayed.but(ifindex=eth2).flow)
        for size in range(ETHERNET + 1, len(whole)):
            alice.send(whole[:size])
        for tag in (b"\x81\x00\x00\x05", b"\x81\x00\xe0\x00", b"\x88\xa8\x00\x05"):
            alice.send(whole[:12] + tag + whole[12:])
        alice.send(whole)
        eventually(lambda: program.counters(3).packets, "the whole frame is counted")
        assert program.counters(3).packets == 1
    alice.close()
