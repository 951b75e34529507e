"""RTP packets: the fixed header, and where the payload is (RFC 3550 5.1). No I/O."""

from typing import Final

RTP_VERSION: Final = 2
"""The first two bits of RTP and of RTCP."""

RTP_HEADER_BYTES: Final = 12
"""Shortest RTP packet."""

RTCP_FROM: Final = 192
RTCP_TO: Final = 223
"""The second byte of RTCP, where RTP comes to the same port (RFC 5761 4)."""

_EXTENSION: Final = 0x10
_PADDING: Final = 0x20


def payload_of(packet: memoryview) -> memoryview | None:
    """The payload behind CSRCs and extension, without padding; None if there cannot be one.

    Args:
        packet: at least RTP_HEADER_BYTES long.
    """
    start = RTP_HEADER_BYTES + 4 * (packet[0] & 0x0F)
    end = len(packet)
    if packet[0] & _EXTENSION:
        if start + 4 > end:
            return None
        start += 4 + 4 * (packet[start + 2] << 8 | packet[start + 3])
    if packet[0] & _PADDING:
        end -= packet[-1]
    return packet[start:end] if start <= end else None
