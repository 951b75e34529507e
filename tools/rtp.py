"""RTP packets (RFC 3550 5.1): enough of them for measuring, with the time of sending in the payload.

Knows no sockets. The clock is the caller's: nanoseconds of any monotonic one that both ends share.
"""

import dataclasses
import struct
from typing import Final, Self

PCMU: Final = 0
"""Payload type of G.711 mu-law (RFC 3551 6)."""

PACKET_S: Final = 0.020
SAMPLES_PER_PACKET: Final = 160
"""20 ms of 8 kHz audio, a byte a sample."""

_VERSION: Final = 2 << 6
_HEADER: Final = struct.Struct("!BBHII")
_SENT: Final = struct.Struct("!Q")
_PADDING: Final = bytes(SAMPLES_PER_PACKET - _SENT.size)


@dataclasses.dataclass(frozen=True, slots=True)
class RtpPacket:
    """A packet of 20 ms of audio.

    Args:
        ssrc: whose stream it is, 0 to 2**32 - 1.
        sequence: counts the packets of the stream, 0 to 65535.
        sent_ns: when it was sent.
    """

    ssrc: int
    sequence: int
    sent_ns: int

    def encode(self) -> bytes:
        """The 172 bytes on the wire."""
        timestamp = self.sequence * SAMPLES_PER_PACKET % 2**32
        header = _HEADER.pack(_VERSION, PCMU, self.sequence, timestamp, self.ssrc)
        return header + _SENT.pack(self.sent_ns) + _PADDING

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """The packet in a datagram, None if it is none of ours."""
        if len(data) != _HEADER.size + SAMPLES_PER_PACKET:
            return None
        first, payload_type, sequence, _, ssrc = _HEADER.unpack_from(data)
        if first != _VERSION or payload_type != PCMU:
            return None
        return cls(ssrc, sequence, _SENT.unpack_from(data, _HEADER.size)[0])
