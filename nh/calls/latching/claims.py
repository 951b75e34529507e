"""Claims: whether a packet is what a leg carries, so that its source may become the source of the leg.

Keep-alives, scans and stray bytes claim nothing: they are passed on from a known source, and dropped from any
other. The first byte tells most kinds apart (RFC 7983 7). Pure functions on bytes.
"""

import enum
import functools
import re
from struct import Struct
from typing import Final, NamedTuple

from nh.calls.classify import MediaKind, classify
from nh.calls.media import Media
from nh.rtp.packet import RTP_HEADER_BYTES, RTP_VERSION

_STUN_COOKIE: Final = b"\x21\x12\xa4\x42"
_ZRTP_COOKIE: Final = b"ZRTP"
_read_rtp: Final = Struct("!BBHII").unpack_from
_read_u16: Final = Struct("!H").unpack_from
_read_u32: Final = Struct("!I").unpack_from

MAX_MISSING: Final = 100
"""A packet this far ahead does not follow another (MAX_MISORDER of RFC 3550 A.1)."""

_TEXT: Final = re.compile(rb"[\s\x00]*\Z|[A-Z]{3,16} \S+ |SIP/2\.0 ")
"""A keep-alive of blanks or zeros, or the first line of SIP or HTTP."""


class Carried(enum.Flag):
    """The kinds of packets that claim a leg.

    RTP: RFC 3550 A.1.
    PADDED: the padding of RTP is not encrypted, so it is checked, too.
    RTCP: RFC 3550 A.2.
    UDPTL: T.38 D.2.1.
    STUN: RFC 8489 5, DTLS: RFC 9147 4, ZRTP: RFC 6189 5. They come before the media.
    OTHER: a transport that nh does not know: all but keep-alives and text of SIP or HTTP.
    """

    NOTHING = 0
    RTP = enum.auto()
    PADDED = enum.auto()
    RTCP = enum.auto()
    UDPTL = enum.auto()
    STUN = enum.auto()
    DTLS = enum.auto()
    ZRTP = enum.auto()
    OTHER = enum.auto()


KNOWN: Final = sum(each.value for each in Carried)
"""All bits of Carried: another release may have more."""

HANDSHAKES: Final = {
    "stun": Carried.STUN,
    "dtls": Carried.DTLS,
    "zrtp": Carried.ZRTP,
    "udptl": Carried.UDPTL,
}
"""By the names of nh.calls.media.Media.handshakes."""


_SHORT_HEADER: Final = 0x20
_SHORT_HEADER_MASK: Final = 0xE0
"""Encrypted records of DTLS 1.3 begin with the bits 001, and have no version (RFC 9147 4)."""

_SHORTEST_CIPHERTEXT: Final = 18
"""The shortest header, and 16 bytes of ciphertext, which hide its number (RFC 9147 4.2.3)."""


class Claim(NamedTuple):
    """A packet that is what its leg carries.

    Attributes:
        ssrc: of RTP; of the sender of RTCP; None for other packets.
        sequence: of RTP and UDPTL; None for other packets.
        timestamp: of RTP; None for other packets.
    """

    ssrc: int | None = None
    sequence: int | None = None
    timestamp: int | None = None

    def follows(self, earlier: "Claim") -> bool:
        """Whether it comes soon after `earlier` in one stream; any two reports of one sender count."""
        if self.ssrc != earlier.ssrc:
            return False
        if self.sequence is None or earlier.sequence is None:
            return self.sequence is earlier.sequence
        return 0 < (self.sequence - earlier.sequence) & 0xFFFF < MAX_MISSING


def carried_by(media: Media, component: int) -> Carried:
    """What the SDP of an end says that it sends.

    Args:
        media: the medium, as that end announced it.
        component: which of its consecutive ports, from 0.
    """
    muxed = media.rtcp is not None and media.rtcp == media.endpoint(0)
    return _carried_by(media.proto, bool(component % 2), muxed, media.handshakes)


@functools.lru_cache(maxsize=256)  # operators of flags are slow, and nearly all media are alike
def _carried_by(proto: str, odd: bool, muxed: bool, handshakes: tuple[str, ...]) -> Carried:
    """See carried_by().

    Args:
        proto: the transport.
        odd: whether the component's port is an odd one, which is RTCP's.
        muxed: whether RTCP comes to the port of RTP.
        handshakes: see Media.
    """
    proto = proto.upper()
    if "RTP" in proto:
        carried = Carried.RTCP if odd else Carried.RTP
        if muxed:
            carried |= Carried.RTCP
        if "SAVP" not in proto:
            carried |= Carried.PADDED
    else:
        carried = Carried.UDPTL if "UDPTL" in proto else Carried.OTHER
    for name in (*handshakes, "dtls", "stun") if "TLS" in proto else handshakes:
        carried |= HANDSHAKES.get(name, Carried.NOTHING)
    return carried


def read_claim(packet: memoryview, carried: Carried) -> Claim | None:
    """What a packet claims for its source; None if it is not what the leg carries.

    Args:
        packet: of any length.
        carried: what the leg carries.
    """
    if len(packet) < 4:
        return None
    if Carried.OTHER in carried:
        return None if _TEXT.match(packet[:64]) else Claim()
    if packet[0] >> 6 == RTP_VERSION:
        is_rtcp = classify(packet) is MediaKind.RTCP
        claim = _read_report(packet) if is_rtcp else None
        if claim is not None:
            return claim if Carried.RTCP in carried else None
        if Carried.RTP in carried and not is_rtcp:
            return _read_media(packet, padding=Carried.PADDED in carried)
    if Carried.UDPTL in carried:
        return _read_udptl(packet)
    return Claim() if _is_set_up(packet, carried) else None


def _read_media(packet: memoryview, *, padding: bool) -> Claim | None:
    """RTP whose header is valid (RFC 3550 A.1)."""
    if len(packet) < RTP_HEADER_BYTES:
        return None
    first, _, sequence, timestamp, ssrc = _read_rtp(packet)
    size = RTP_HEADER_BYTES + 4 * (first & 0x0F)
    if first & 0x10:
        if len(packet) < size + 4:
            return None
        size += 4 + 4 * _read_u16(packet, size + 2)[0]
    if first & 0x20 and padding:
        count = packet[-1]
        size += count or len(packet)
    return Claim(ssrc, sequence, timestamp) if size <= len(packet) else None


def _read_report(packet: memoryview) -> Claim | None:
    """RTCP whose first packet is valid (RFC 3550 A.2; RFC 5506 allows others than reports first)."""
    if len(packet) < 8 or 4 * (_read_u16(packet, 2)[0] + 1) > len(packet):
        return None
    return Claim(_read_u32(packet, 4)[0])


def _read_udptl(packet: memoryview) -> Claim | None:
    """UDPTL (ITU-T T.38 9.1): sequence number, primary IFP packet with its length, kind of error recovery."""
    recovery = 3 + packet[2]
    if packet[2] >= 0x80 or not packet[2] or recovery >= len(packet) or packet[recovery] & 0x7F:
        return None
    return Claim(None, _read_u16(packet, 0)[0])


def _is_set_up(packet: memoryview, carried: Carried) -> bool:
    """Whether it is a packet of STUN, DTLS or ZRTP, where these come (RFC 7983 7)."""
    first = packet[0]
    if Carried.DTLS in carried and 20 <= first <= 63:
        if first & _SHORT_HEADER_MASK == _SHORT_HEADER:
            return len(packet) >= _SHORTEST_CIPHERTEXT
        return len(packet) >= 13 and packet[1] == 0xFE
    if len(packet) < 12:
        return False
    if Carried.STUN in carried and first < 4:
        return bytes(packet[4:8]) == _STUN_COOKIE and len(packet) >= 20 + _read_u16(packet, 2)[0]
    return Carried.ZRTP in carried and first >> 4 == 1 and bytes(packet[4:8]) == _ZRTP_COOKIE
