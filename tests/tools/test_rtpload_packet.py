"""What the generator sends is RTP and RTCP, and can be told apart from everything else."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.rtpload.packet import (
    MIN_PAYLOAD_BYTES,
    RTP_HEADER_BYTES,
    Identity,
    RtcpWriter,
    RtpWriter,
    find_identity,
)

RUN, STREAM, SSRC = 0xAABBCCDD, 5, 0x01020304


def rtp_writer(payload_bytes: int = 160) -> RtpWriter:
    return RtpWriter(
        RUN,
        STREAM,
        ssrc=SSRC,
        first_sequence=65_535,
        first_timestamp=2**32 - 160,
        payload_type=8,
        payload_bytes=payload_bytes,
        timestamp_step=160,
    )


@pytest.mark.parametrize("number", [0, 1, 70_000])
def test_rtp_has_a_valid_header_and_wraps(number: int) -> None:
    writer = rtp_writer()
    writer.write(number, 123)
    first, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", writer.buffer)
    assert (first, kind, ssrc) == (0x80, 8, SSRC)
    assert sequence == (65_535 + number) % 2**16
    assert timestamp == (2**32 - 160 + 160 * number) % 2**32
    assert len(writer.buffer) == 12 + 160


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))
def test_rtp_tells_whose_it_is(number: int, sent_ns: int) -> None:
    writer = rtp_writer(MIN_PAYLOAD_BYTES)
    writer.write(number, sent_ns)
    assert find_identity(writer.buffer) == Identity(RUN, STREAM, number, sent_ns)


@pytest.mark.parametrize("sends_media", [True, False])
def test_rtcp_is_a_compound_of_report_description_and_application(sends_media: bool) -> None:
    writer = RtcpWriter(RUN, STREAM + 1, rtp_writer(), sends_media=sends_media)
    writer.write(3, 456, unix_ns=1_500_000_000, media_packets=10, media_bytes=1600)
    kinds, position = [], 0
    while position < len(writer.buffer):
        first, kind, words, ssrc = struct.unpack_from("!BBHI", writer.buffer, position)
        assert first >> 6 == 2
        assert ssrc == SSRC
        kinds.append(kind)
        position += 4 * (words + 1)
    assert position == len(writer.buffer)
    assert kinds == [200 if sends_media else 201, 202, 204]
    assert find_identity(writer.buffer) == Identity(RUN, STREAM + 1, 3, 456)


def test_a_sender_report_says_what_was_sent_and_when() -> None:
    writer = RtcpWriter(RUN, STREAM, rtp_writer(), sends_media=True)
    writer.write(0, 0, unix_ns=1_500_000_000, media_packets=10, media_bytes=1600)
    seconds, fraction, timestamp, packets, size = struct.unpack_from("!IIIII", writer.buffer, 8)
    assert (seconds, fraction) == (2_208_988_801, 2**31)
    assert timestamp == (2**32 - 160 + 1600) % 2**32
    assert (packets, size) == (10, 1600)


@given(st.binary(max_size=300))
def test_no_datagram_is_too_strange_to_be_looked_at(datagram: bytes) -> None:
    identity = find_identity(datagram)
    if len(datagram) < RTP_HEADER_BYTES + MIN_PAYLOAD_BYTES:
        assert identity is None
