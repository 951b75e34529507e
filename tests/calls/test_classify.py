"""nh.calls.classify: which kind of packet came to a media port."""

import struct

import pytest

from nh.calls.classify import MediaKind, classify
from tests.calls.rtp import rtp_packet

SENDER_REPORT = struct.pack("!BBHII", 0x80, 200, 6, 0xDEADBEEF, 1)
STUN_REQUEST = struct.pack("!HHI12x", 1, 0, 0x2112A442)
DTLS_HELLO = bytes([22, 254, 255]) + bytes(10)


@pytest.mark.parametrize("packet_type", range(192, 224))
def test_packet_types_of_rtcp_are_rtcp(packet_type: int) -> None:
    assert classify(memoryview(bytes([0x80, packet_type]))) is MediaKind.RTCP


@pytest.mark.parametrize("packet", [rtp_packet(1), rtp_packet(1, marker=True), STUN_REQUEST, DTLS_HELLO])
def test_rtp_and_what_takes_its_way_is_not_rtcp(packet: bytes) -> None:
    assert classify(memoryview(packet)) is MediaKind.RTP


@pytest.mark.parametrize("packet", [b"", b"\x80"])
def test_a_packet_that_is_too_short_to_tell_takes_the_way_of_rtp(packet: bytes) -> None:
    assert classify(memoryview(packet)) is MediaKind.RTP


def test_a_sender_report_is_rtcp() -> None:
    assert classify(memoryview(SENDER_REPORT)) is MediaKind.RTCP
