"""Packets and keys for the tests of SRTP."""

import struct

from nh.srtp.ciphers import BUFFER_BYTES
from nh.srtp.keys import MasterKey
from nh.srtp.receiver import SrtpReceiver
from nh.srtp.sender import SrtpSender
from nh.srtp.state import DirectionState
from nh.srtp.suites import SUITES

SSRC = 0xCAFEBABE


def rtp(sequence: int, payload: bytes = b"\xab" * 160, *, ssrc: int = SSRC, csrcs: int = 0) -> bytes:
    """A packet of RTP; `sequence` may be above 16 bits."""
    header = struct.pack("!BBHII", 0x80 | csrcs, 0, sequence & 0xFFFF, sequence * 160 & 0xFFFFFFFF, ssrc)
    return header + b"\1\2\3\4" * csrcs + payload


def rtcp(text: bytes = b"\xab" * 16, *, ssrc: int = SSRC) -> bytes:
    """A receiver report with something behind it."""
    return struct.pack("!BBHI", 0x80, 201, 1, ssrc) + text


def key_of(name: str = "AES_CM_128_HMAC_SHA1_80", *, fill: int = 0, mki: bytes = b"") -> MasterKey:
    """A key of that suite; another one for each `fill`."""
    suite = SUITES[name]
    key = bytes((each * 7 + fill) & 0xFF for each in range(suite.key_bytes))
    return MasterKey(suite, key, bytes((each * 13 + fill) & 0xFF for each in range(suite.salt_bytes)), mki)


def sender(key: MasterKey, state: DirectionState | None = None) -> SrtpSender:
    """A sender with a buffer of its own."""
    return SrtpSender(key, bytearray(BUFFER_BYTES), state)


def receiver(key: MasterKey, state: DirectionState | None = None) -> SrtpReceiver:
    """A receiver with a buffer of its own."""
    return SrtpReceiver(key, bytearray(BUFFER_BYTES), state)


def protect(by: SrtpSender, packet: bytes) -> bytes:
    """A packet of RTP as SRTP."""
    return bytes(by.protect(memoryview(packet)))


def unprotect(by: SrtpReceiver, packet: bytes) -> bytes:
    """A packet of SRTP as RTP."""
    return bytes(by.unprotect(memoryview(packet)))
