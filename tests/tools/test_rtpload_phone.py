"""The sockets of a phone: a pair of ports, and what the kernel tells of them."""

import socket
import time

import pytest

from tools.harness.waiting import eventually
from tools.rtpload.worker.phone import (
    ANCILLARY_BYTES,
    NoPorts,
    arrival_ns,
    dropped,
    open_pair,
    wall_clock_offset_ns,
)


@pytest.mark.usefixtures("no_descriptor_leaks")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_rtcp_is_one_above_an_even_port(address: str) -> None:
    media, reports = open_pair(address, rtcp=True)
    with media, reports:
        port = media.getsockname()[1]
        assert port % 2 == 0
        assert reports.getsockname()[1] == port + 1


@pytest.mark.usefixtures("no_descriptor_leaks")
def test_an_address_of_another_host_is_refused() -> None:
    with pytest.raises(NoPorts, match=r"192\.0\.2\.1"):
        open_pair("192.0.2.1", rtcp=True)


def test_the_kernel_tells_when_a_packet_arrived() -> None:
    [media] = open_pair("127.0.0.1", rtcp=False)
    with media, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        before_ns = time.monotonic_ns()
        sender.sendto(b"x", media.getsockname())
        after_ns = time.monotonic_ns()
        _, ancillary, _, _ = media.recvmsg(10, ANCILLARY_BYTES)
    arrived_ns = arrival_ns(ancillary)
    assert arrived_ns is not None
    slack_ns = 2_000_000  # the two clocks are read one after the other
    assert before_ns - slack_ns <= arrived_ns - wall_clock_offset_ns() <= after_ns + slack_ns


def test_what_a_full_socket_drops_is_counted() -> None:
    [media] = open_pair("127.0.0.1", rtcp=False)
    with media, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        assert dropped(media) == 0
        sent = 20_000
        for _ in range(sent):
            sender.sendto(bytes(172), media.getsockname())
        received = 0

        def all_is_accounted_for() -> bool:
            nonlocal received
            try:
                while True:
                    media.recv(2048)
                    received += 1
            except BlockingIOError:
                return received + dropped(media) == sent

        eventually(all_is_accounted_for, "each packet was received or dropped")
        assert dropped(media) > 0
