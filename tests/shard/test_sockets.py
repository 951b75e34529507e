"""nh.shard.media.sockets.media_socket and opening: exclusive ports of this host, all of a run or none."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nh.calls.media import Endpoint
from nh.calls.sockets.ports import PortInUse
from nh.errors import AddressUnavailable
from nh.shard.media.sockets.media_socket import MediaSocket
from nh.shard.media.sockets.opening import adopt_media_socket, close_media_sockets, open_media_sockets
from tests.shard.testbed import V4
from tools.harness.waiting import TIMEOUT_S, eventually


@pytest.fixture
def opened(ports: range) -> Iterator[list[MediaSocket]]:
    """Four open sockets."""
    sockets = open_media_sockets(V4, ports[0], 4)
    yield sockets
    close_media_sockets(sockets)


def test_sockets_are_consecutive_from_the_base_on(opened: list[MediaSocket], ports: range) -> None:
    assert [media_socket.local for media_socket in opened] == [Endpoint(V4, port) for port in ports[:4]]
    assert [media_socket.getsockname() for media_socket in opened] == [(V4, port) for port in ports[:4]]


def test_sockets_do_not_block_and_are_not_inherited(opened: list[MediaSocket]) -> None:
    assert not any(media_socket.getblocking() for media_socket in opened)
    assert not any(os.get_inheritable(media_socket.fileno()) for media_socket in opened)


def test_a_port_of_another_program_is_not_shared_although_it_may_be_reused(ports: range) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        # SO_REUSEPORT on both would let two programs of one user share a port by accident
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((V4, ports[1]))
        with pytest.raises(PortInUse, match=str(ports[1])):
            open_media_sockets(V4, ports[0], 2)
    close_media_sockets(open_media_sockets(V4, ports[0], 2))  # and the first of them was let go


def test_two_runs_cannot_have_the_same_port(opened: list[MediaSocket], ports: range) -> None:
    with pytest.raises(PortInUse):
        open_media_sockets(V4, ports[2], 2)


def test_a_successor_can_bind_the_live_ports(opened: list[MediaSocket], ports: range) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as successor:
        successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        successor.bind((V4, ports[0]))


@pytest.mark.parametrize("address", ["fe80::1", "fe80::1%lo"])
def test_a_link_local_address_is_refused_with_the_reason(ports: range, address: str) -> None:
    with pytest.raises(AddressUnavailable, match=f"{address} is a link-local address: no SDP can say"):
        open_media_sockets(address, ports[0], 2)


@pytest.mark.parametrize("address", ["203.0.113.200", "2001:db8::dead"])
def test_an_address_of_another_host_is_refused(ports: range, address: str) -> None:
    with pytest.raises(AddressUnavailable, match=address):
        open_media_sockets(address, ports[0], 2)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"])
def test_an_address_that_is_not_unicast_is_refused(ports: range, address: str) -> None:
    with pytest.raises(AddressUnavailable, match="unicast"):
        open_media_sockets(address, ports[0], 2)


def test_descriptors_that_are_used_up_are_no_free_ports(ports: range) -> None:
    # in a process of its own: the limit would break this one
    program = f"""
import resource
from nh.errors import PortsExhausted
from nh.shard.media.sockets.opening import open_media_sockets
import os
before = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (before + 5, before + 5))
try:
    open_media_sockets({V4!r}, {ports[0]}, 20)
except PortsExhausted as exc:
    assert "descriptors" in str(exc), exc
else:
    raise SystemExit("there were descriptors for all")
assert len(os.listdir("/proc/self/fd")) == before, "some were kept"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- connecting -------------------------------------------------------------------------------------


def test_a_connected_socket_hears_its_peer_only(opened: list[MediaSocket]) -> None:
    relay = opened[0]
    with _peer() as alice, _peer() as mallory:
        assert relay.connect_to(Endpoint(*alice.getsockname()))
        mallory.sendto(b"mallory", relay.getsockname())
        alice.sendto(b"alice", relay.getsockname())
        assert relay.recv(100) == b"alice"
        with pytest.raises(BlockingIOError):
            relay.recv(100)


def test_a_disconnected_socket_keeps_its_port_and_hears_all_sources(opened: list[MediaSocket]) -> None:
    relay = opened[0]
    with _peer() as alice, _peer() as bob:
        relay.connect_to(Endpoint(*alice.getsockname()))
        relay.disconnect()
        assert not relay.connected
        assert relay.getsockname() == (relay.local.address, relay.local.port)
        bob.sendto(b"bob", (relay.local.address, relay.local.port))
        assert relay.recvfrom(100) == (b"bob", bob.getsockname())


def test_a_socket_can_be_connected_anew(opened: list[MediaSocket]) -> None:
    relay = opened[0]
    with _peer() as alice, _peer() as bob:
        for peer in (alice, bob, alice):
            assert relay.connect_to(Endpoint(*peer.getsockname()))
            relay.send(b"hello")
            assert peer.recv(100) == b"hello"
            relay.disconnect()


def test_where_the_kernel_will_not_connect_the_socket_stays_open_to_all(opened: list[MediaSocket]) -> None:
    assert not opened[0].connect_to(Endpoint("127.255.255.255", 4000))
    assert not opened[0].connected


def test_a_socket_is_not_connected_to_port_0_where_the_kernel_would_let_all_ports_in(
    opened: list[MediaSocket],
) -> None:
    assert not opened[0].connect_to(Endpoint(V4, 0))
    assert not opened[0].connected


def _peer() -> socket.socket:
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((V4, 0))
    peer.settimeout(TIMEOUT_S)
    return peer


def test_no_packet_waits_in_a_socket_that_none_has_come_to(opened: list[MediaSocket]) -> None:
    assert opened[0].connect_to(opened[1].local)
    assert opened[0].older == 0


@pytest.mark.parametrize("option", [55, 9999])
def test_a_connected_socket_knows_how_many_packets_may_be_older(
    opened: list[MediaSocket], monkeypatch: pytest.MonkeyPatch, option: int
) -> None:
    """With SO_MEMINFO, and with a kernel that does not have it."""
    monkeypatch.setattr("nh.shard.media.sockets.media_socket._SO_MEMINFO", option)
    for _ in range(50):
        opened[1].sendto(b"", opened[0].getsockname())

    def connect() -> bool:
        assert opened[0].connect_to(opened[1].local)
        return opened[0].older > 50

    eventually(connect, "those that wait, and some that other CPUs may deliver at this moment")
    assert opened[0].lost_packets() == 0


def test_a_descriptor_that_is_not_the_socket_is_refused_and_closed(
    opened: list[MediaSocket], ports: range
) -> None:
    pipe, other_end = os.pipe()
    os.close(other_end)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    for fd in (pipe, tcp.detach(), opened[1].detach()):
        with pytest.raises(OSError):
            adopt_media_socket(fd, Endpoint(V4, ports[0]))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_a_socket_that_was_not_closed_is_a_warning(ports: range) -> None:
    with pytest.warns(ResourceWarning, match="unclosed"):
        open_media_sockets(V4, ports[0], 1)
    close_media_sockets(open_media_sockets(V4, ports[0], 1))


@pytest.mark.parametrize("address", [V4, "::1"])
def test_a_code_point_decides_the_priority_of_what_is_sent(ipv6: None, ports: range, address: str) -> None:
    """The kernel sets the priority with IP_TOS (rt_tos2priority), and not with IPV6_TCLASS."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reference:
        for dscp in range(64):
            [media_socket] = open_media_sockets(address, ports[0], 1, dscp=dscp)
            reference.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
            expected = reference.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)
            assert media_socket.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == expected
            close_media_sockets([media_socket])
