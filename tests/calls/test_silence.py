"""nh.calls.rtp.silence: sound becomes silence, and all else of a packet stays."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.rtp.payload_types import agreed, read_rtpmaps
from nh.calls.rtp.silence import Silencer

PCMU, PCMA, G722, CN, OPUS, EVENT = 0, 8, 9, 13, 111, 101
TYPES = agreed((), read_rtpmaps([f"{OPUS} opus/48000/2", f"{EVENT} telephone-event/8000", "96 PCMA/8000"]))
SOUND = bytes(range(160))


def rtp(payload_type: int, payload: bytes = SOUND, *, first: int = 0x80, before: bytes = b"") -> bytes:
    return struct.pack("!BBHII", first, payload_type, 7, 1120, 0xA1) + before + payload


def silenced(packet: bytes, *, encrypted: bool = False) -> bytes | None:
    """What is sent of a packet, None for nothing."""
    changed = bytearray(packet)
    sent = Silencer(TYPES, encrypted=encrypted).silence(memoryview(changed))
    return bytes(changed) if sent else None


@pytest.mark.parametrize(
    ("payload_type", "byte"), [(PCMU, b"\xff"), (PCMA, b"\xd5"), (96, b"\xd5"), (G722, b"\xfa")]
)
def test_sound_becomes_silence_of_its_codec(payload_type: int, byte: bytes) -> None:
    marked = payload_type | 0x80
    assert silenced(rtp(marked)) == rtp(marked, byte * 160)


@pytest.mark.parametrize("payload_type", [OPUS, 77])
def test_sound_of_a_codec_without_silent_bytes_is_not_sent(payload_type: int) -> None:
    assert silenced(rtp(payload_type)) is None


@pytest.mark.parametrize("payload_type", [PCMU, OPUS])
def test_sound_that_is_encrypted_is_not_sent(payload_type: int) -> None:
    assert silenced(rtp(payload_type), encrypted=True) is None


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    "packet",
    [
        rtp(EVENT, b"\x05\x0a\x00\xa0"),
        rtp(CN, b"\x40"),
        b"\x80\xc8\x00\x06" + bytes(24),  # RTCP
        b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),  # STUN
        b"\x16\xfe\xfd" + bytes(20),  # DTLS
        b"\x80\x00",
    ],
)
def test_what_is_no_sound_passes_as_it_is(packet: bytes, encrypted: bool) -> None:
    assert silenced(packet, encrypted=encrypted) == packet


@pytest.mark.parametrize("packet", [rtp(PCMU, b""), rtp(PCMU, b"\x01", first=0xA0)], ids=["", "padding"])
def test_a_packet_without_sound_passes_as_it_is(packet: bytes) -> None:
    """An end sends it to keep a mapping of its NAT alive (RFC 6263 4.2)."""
    assert silenced(packet) == packet


def test_sources_extensions_and_padding_stay() -> None:
    head = b"\0\0\0\x02" + b"\0\0\0\x03" + b"\xbe\xde\0\x01\x10\x7f\0\0"
    padding = b"\x07\x07\x03"
    packet = rtp(PCMU, SOUND + padding, first=0xB2, before=head)
    assert silenced(packet) == rtp(PCMU, b"\xff" * 160 + padding, first=0xB2, before=head)


@pytest.mark.parametrize(("first", "payload"), [(0x8F, b""), (0xA0, b"\xff"), (0x90, b"")])
def test_a_packet_that_cannot_be_right_is_not_sent(first: int, payload: bytes) -> None:
    assert silenced(rtp(PCMU, payload, first=first)) is None


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_keep_their_length_and_their_header(packet: bytes, encrypted: bool) -> None:
    sent = silenced(packet, encrypted=encrypted)
    assert sent is None or (len(sent), sent[:12]) == (len(packet), packet[:12])
