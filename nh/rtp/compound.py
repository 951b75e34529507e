"""Compound packets of RTCP: where their packets, and report blocks, begin and end (RFC 3550 6). No I/O."""

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from nh.rtp.packet import RTP_VERSION

SENDER_REPORT: Final = 200
RECEIVER_REPORT: Final = 201
TRANSPORT_FEEDBACK: Final = 205
"""RFC 4585 6.2."""

PAYLOAD_FEEDBACK: Final = 206
"""RFC 4585 6.3."""

SENDER_BYTES: Final = 28
"""Of a sender report, what comes before its blocks."""

BLOCK_BYTES: Final = 24
"""One report block."""

_SOURCE_DESCRIPTION: Final = 202
_BYE: Final = 203

_HEADER_BYTES: Final = 4
_WITH_SSRC_BYTES: Final = 8
_BLOCKS_AT: Final = {SENDER_REPORT: SENDER_BYTES, RECEIVER_REPORT: _WITH_SSRC_BYTES}

_read_header: Final = Struct("!BBH").unpack_from
_read_ssrc: Final = Struct("!I").unpack_from


class RtcpHeader(NamedTuple):
    """A packet of a compound packet.

    Attributes:
        kind: packet type, 0 to 255.
        items: how many reports or sources it has, 0 to 31; of feedback and APP: which kind it is.
        ssrc: that follows the header; None: the packet ends there. Only a source description or a BYE
            without items may do so (RFC 3550 6.5, 6.6).
        at: where it begins.
        end: where it ends, a multiple of 4 bytes later.
    """

    kind: int
    items: int
    ssrc: int | None
    at: int
    end: int


def split_rtcp(packet: memoryview | bytes) -> Iterator[RtcpHeader]:
    """The packets of a compound packet, up to what is no whole packet of RTCP.

    Args:
        packet: any bytes.
    """
    at = 0
    while at + _HEADER_BYTES <= len(packet):
        first, kind, words = _read_header(packet, at)
        items, end = first & 0x1F, at + 4 * (words + 1)
        if first >> 6 != RTP_VERSION or end > len(packet):
            return
        ssrc = None
        if end - at >= _WITH_SSRC_BYTES:
            (ssrc,) = _read_ssrc(packet, at + _HEADER_BYTES)
        elif items or kind not in (_SOURCE_DESCRIPTION, _BYE):
            return
        yield RtcpHeader(kind, items, ssrc, at, end)
        at = end


def report_blocks(kind: int, items: int, at: int, end: int) -> range:
    """Where the report blocks of a packet begin; only whole ones count, and those behind `items` do not.

    Args:
        kind, items, at, end: see RtcpHeader. What is no report has none.
    """
    begin = at + _BLOCKS_AT.get(kind, end - at)
    whole = max(0, end - begin) // BLOCK_BYTES
    return range(begin, begin + BLOCK_BYTES * min(items, whole), BLOCK_BYTES)
