"""UDP errors: the kernel's counters say when sockets have to be asked what they lost."""

import socket
from pathlib import Path

import pytest

from nh.address import socket_family
from nh.calls.drop import Drop
from nh.shard.media.sockets.udp_errors import UdpErrors
from tests.shard.conftest import MakePeer
from tests.shard.testbed import V4, V6, RelayTestbed

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors
Udp: {received} 17 {lost} 200 0
UdpLite: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors
UdpLite: 0 0 0 0 0
"""

SNMP6 = """\
Udp6InDatagrams                 	{received}
Udp6InErrors                    	{lost}
Udp6RcvbufErrors                	0
"""


def write(directory: Path, *, received: int = 1, lost: int = 0, lost6: int = 0) -> None:
    (directory / "snmp").write_text(SNMP.format(received=received, lost=lost))
    (directory / "snmp6").write_text(SNMP6.format(received=received, lost=lost6))


def test_the_counters_of_both_families_grow(tmp_path: Path) -> None:
    write(tmp_path)
    errors = UdpErrors(tmp_path)
    assert errors.grew(), "what was lost before is not known"
    write(tmp_path, received=100)
    assert not errors.grew()
    write(tmp_path, received=100, lost=1)
    assert errors.grew()
    assert not errors.grew()
    write(tmp_path, received=100, lost=1, lost6=1)
    assert errors.grew()


def test_a_host_without_ipv6_has_one_counter(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "snmp6").unlink()
    errors = UdpErrors(tmp_path)
    assert errors.grew()
    assert not errors.grew()


@pytest.mark.parametrize("text", ["", "Udp: InDatagrams\nUdp: 1\n", "Udp: InErrors\n", None])
def test_where_the_kernel_does_not_say_packets_may_be_lost_at_any_time(
    tmp_path: Path, text: str | None
) -> None:
    if text is not None:
        (tmp_path / "snmp").write_text(text)
    errors = UdpErrors(tmp_path)
    assert [errors.grew() for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("address", [V4, V6])
def test_what_a_socket_loses_is_in_the_kernels_counters(address: str, ipv6: None) -> None:
    family = socket_family(address)
    errors = UdpErrors()
    errors.grew()
    with (
        socket.socket(family, socket.SOCK_DGRAM) as small,
        socket.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        small.bind((address, 0))
        for _ in range(100):
            sender.sendto(bytes(1000), small.getsockname())
    assert errors.grew()


def test_a_poll_counts_what_a_socket_has_lost(ports: range, make_peer: MakePeer) -> None:
    testbed = RelayTestbed(ports)
    try:
        alice, bob = make_peer(V4), make_peer(V4)
        conversation = testbed.call(alice, bob)
        testbed.converse(alice, bob, conversation)
        for _ in range(3000):
            alice.send(bytes(1200), conversation.for_caller)
        [session] = testbed.relay.plane._running

        def counted() -> bool:
            drops = session.legs[0].drops
            return drops is not None and drops[Drop.OVERFLOW] > 0

        testbed.turn_until(counted, "a poll counts them")
    finally:
        testbed.close()


def test_polls_read_the_kernels_counters_only_while_calls_run_and_not_in_each_poll(
    ports: range, make_peer: MakePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[None] = []

    def grew(_errors: UdpErrors) -> bool:
        reads.append(None)
        return False

    monkeypatch.setattr(UdpErrors, "grew", grew)
    testbed = RelayTestbed(ports)
    try:
        plane = testbed.relay.plane
        testbed.relay.pause()  # only this test polls
        reads.clear()

        def reads_of(seconds: range) -> int:
            reads.clear()
            for now in seconds:
                for twentieth in range(20):
                    plane.watch(since_s=0.05, now=now + twentieth / 20)
            return len(reads)

        assert reads_of(range(1000, 1004)) == 0, "there are no calls"
        testbed.call(make_peer(V4), make_peer(V4))
        assert reads_of(range(1004, 1008)) == 1
    finally:
        testbed.close()
