"""nh.calls.latching.claims: which packets may make their sender the source of a leg, and which are noise."""

import struct
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nh.calls.latching.claims import MAX_MISSING, Carried, Claim, carried_by, read_claim
from nh.calls.media import Endpoint, Media
from tests.calls.rtp import SSRC, rtp_packet

RTP, RTCP, UDPTL = Carried.RTP | Carried.PADDED, Carried.RTCP, Carried.UDPTL
SRTP = Carried.RTP
VOICE: Final = rtp_packet(7, 1120)


def rtp(first: int, rest: bytes, *, payload_type: int = 0) -> bytes:
    """A header with any first byte, and what follows it."""
    return struct.pack("!BBHII", first, payload_type, 7, 1120, SSRC) + rest


def rtcp(packet_type: int, words: int, rest: bytes) -> bytes:
    """The header of RTCP with its length in words less one, and what follows it."""
    return struct.pack("!BBHI", 0x80, packet_type, words, SSRC) + rest


def stun(size: int, rest: bytes = b"", cookie: int = 0x2112A442) -> bytes:
    """A binding request."""
    return struct.pack("!HHI12x", 1, size, cookie) + rest


def zrtp(cookie: bytes = b"ZRTP") -> bytes:
    """The beginning of a Hello (RFC 6189 5)."""
    return b"\x10\0\0\7" + cookie + bytes(20)


DTLS: Final = b"\x16\xfe\xfd" + bytes(10)
T38: Final = struct.pack("!HB", 7, 4) + bytes(4) + b"\0\0"
"""UDPTL: sequence number 7, a primary packet of 4 bytes, no redundant ones."""

IS_MEDIA: Final = Claim(SSRC, 7, 1120)
IS_REPORT: Final = Claim(SSRC)
IS_FAX: Final = Claim(None, 7)
IS_OTHER: Final = Claim()


class Case(NamedTuple):
    what: str
    carried: Carried
    packet: bytes
    claim: Claim | None


CASES: Final = (
    # RFC 3550 A.1
    Case("RTP", RTP, VOICE, IS_MEDIA),
    Case("RTP without a payload", RTP, VOICE[:12], IS_MEDIA),
    Case("RTP, cut short", RTP, VOICE[:11], None),
    Case("RTP of version 0", RTP, b"\0" + VOICE[1:], None),
    Case("RTP of version 1", RTP, b"\x40" + VOICE[1:], None),
    Case("RTP of version 3", RTP, b"\xc0" + VOICE[1:], None),
    Case("with a marker", RTP, rtp_packet(7, 1120, marker=True), IS_MEDIA),
    Case("whose payload type is that of a sender report", RTP, rtp(0x80, bytes(16), payload_type=200), None),
    Case("with CSRCs", RTP, rtp(0x82, bytes(8)), IS_MEDIA),
    Case("with more CSRCs than there is room", RTP, rtp(0x83, bytes(8)), None),
    Case("with an extension", RTP, rtp(0x90, b"\xbe\xde\0\1" + bytes(4)), IS_MEDIA),
    Case("with half the head of an extension", RTP, rtp(0x90, b"\xbe\xde"), None),
    Case("with a longer extension than there is room", RTP, rtp(0x90, b"\xbe\xde\0\2" + bytes(4)), None),
    Case("with an extension behind CSRCs", RTP, rtp(0x91, bytes(4) + b"\xbe\xde\0\1" + bytes(4)), IS_MEDIA),
    Case("with padding", RTP, rtp(0xA0, bytes(7) + b"\4"), IS_MEDIA),
    Case("of padding alone", RTP, rtp(0xA0, bytes(3) + b"\4"), IS_MEDIA),
    Case("with more padding than there is room", RTP, rtp(0xA0, bytes(3) + b"\5"), None),
    Case("with padding of length 0", RTP, rtp(0xA0, bytes(4)), None),
    Case("encrypted, so that nothing is known of its padding", SRTP, rtp(0xA0, bytes(3) + b"\5"), IS_MEDIA),
    # RFC 3550 A.2
    Case("a receiver report", RTCP, rtcp(201, 1, b""), IS_REPORT),
    Case("a sender report", RTCP, rtcp(200, 6, bytes(20)), IS_REPORT),
    Case("feedback alone (RFC 5506)", RTCP, rtcp(205, 2, bytes(4)), IS_REPORT),
    Case("a report longer than its packet", RTCP, rtcp(200, 6, bytes(16)), None),
    Case("a report without a sender", RTCP, b"\x80\xc9\0\0", None),
    Case("a report of version 1", RTCP, b"\x40" + rtcp(201, 1, b"")[1:], None),
    Case("RTCP of a reserved type", RTCP, rtcp(191, 1, b""), None),
    Case("RTCP on an RTP leg", RTP, rtcp(201, 1, bytes(8)), None),
    Case("RTP on an RTCP leg", RTCP, VOICE, None),
    Case("RTP where both share a port (RFC 5761)", RTP | RTCP, VOICE, IS_MEDIA),
    Case("RTCP where both share a port", RTP | RTCP, rtcp(201, 1, bytes(8)), IS_REPORT),
    # what comes before media
    Case("STUN where the SDP has it", RTP | Carried.STUN, stun(4, bytes(4)), IS_OTHER),
    Case("STUN where it does not", RTP, stun(4, bytes(4)), None),
    Case("STUN without its cookie", RTP | Carried.STUN, stun(0, cookie=1), None),
    Case("STUN longer than its packet", RTP | Carried.STUN, stun(8, bytes(4)), None),
    Case("DTLS where the SDP has it", SRTP | Carried.DTLS, DTLS, IS_OTHER),
    Case("an encrypted record of DTLS 1.3", SRTP | Carried.DTLS, b"\x2f\0\1\0\x20" + bytes(32), IS_OTHER),
    Case("one with the shortest header", SRTP | Carried.DTLS, b"\x20\1" + bytes(16), IS_OTHER),
    Case("one that is cut short", SRTP | Carried.DTLS, b"\x20\1" + bytes(15), None),
    Case("one where the SDP has no DTLS", SRTP, b"\x2f\0\1\0\x20" + bytes(32), None),
    Case("DTLS where it does not", SRTP, DTLS, None),
    Case("DTLS, cut short", SRTP | Carried.DTLS, DTLS[:12], None),
    Case("TLS of another version", SRTP | Carried.DTLS, b"\x16\3\3" + bytes(10), None),
    Case("ZRTP where the SDP has it", RTP | Carried.ZRTP, zrtp(), IS_OTHER),
    Case("ZRTP where it does not", RTP, zrtp(), None),
    Case("ZRTP without its cookie", RTP | Carried.ZRTP, zrtp(b"zrtp"), None),
    # T.38
    Case("UDPTL", UDPTL, T38, IS_FAX),
    Case("UDPTL with redundant packets", UDPTL, T38[:-1] + b"\1\4" + bytes(4), IS_FAX),
    Case("UDPTL with parity packets", UDPTL, T38[:-2] + b"\x80\1\1" + bytes(4), IS_FAX),
    Case("UDPTL whose primary packet is longer", UDPTL, struct.pack("!HB", 7, 9) + bytes(6), None),
    Case("UDPTL without a primary packet", UDPTL, struct.pack("!HB", 7, 0) + bytes(6), None),
    Case("UDPTL with another kind of recovery", UDPTL, T38[:-2] + b"\1\0", None),
    Case("UDPTL on an RTP leg", RTP, T38, None),
    Case("zeros on a T.38 leg", UDPTL, bytes(20), None),
    # transports that nh does not know
    Case("any packet", Carried.OTHER, b"\3\1\4\1", IS_OTHER),
    Case("RTP on a leg of another transport", Carried.OTHER, VOICE, IS_OTHER),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_what_a_packet_claims(case: Case) -> None:
    assert read_claim(memoryview(case.packet), case.carried) == case.claim


NOISE: Final = {
    "empty": b"",
    "a zero": b"\0",
    "a byte": b"x",
    "a byte of RTP": b"\x80",
    "CRLF": b"\r\n",
    "two of them": b"\r\n\r\n",
    "a blank": b" ",
    "zeros": bytes(4),
    "as many as RTP has": bytes(172),
    "OPTIONS": b"OPTIONS sip:100@198.51.100.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.9\r\n\r\n",
    "INVITE": b"INVITE sip:900972592@198.51.100.1 SIP/2.0\r\n\r\n",
    "a response": b"SIP/2.0 200 OK\r\n\r\n",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_keep_alives_and_scans_claim_nothing_anywhere(noise: bytes) -> None:
    for carried in [*Carried, RTP, RTP | RTCP, RTP | Carried.STUN | Carried.DTLS | Carried.ZRTP]:
        assert read_claim(memoryview(noise), carried) is None, carried


SETS = st.sets(st.sampled_from([*Carried])).map(lambda kinds: Carried(sum(kind.value for kind in kinds)))
CARRIED = st.just(RTP) | SETS.map(lambda carried: carried & ~Carried.OTHER) | SETS
PACKETS = st.sampled_from([case.packet for case in CASES]).flatmap(
    lambda packet: st.tuples(
        st.just(packet),
        st.integers(0, len(packet)),
        st.integers(0, max(len(packet) - 1, 0)),
        st.integers(0, 255),
    ).map(lambda how: (how[0][: how[2]] + bytes([how[3]]) + how[0][how[2] + 1 :])[: how[1]])
) | st.binary(max_size=60)


def is_valid_rtp(packet: bytes) -> bool:
    """The checks of RFC 3550 A.1 that need no state, one after the other."""
    if len(packet) < 12 or packet[0] >> 6 != 2 or 192 <= packet[1] <= 223:
        return False
    left = len(packet) - 12 - 4 * (packet[0] & 15)
    if packet[0] & 0x10:
        at = len(packet) - left
        if left < 4:
            return False
        left -= 4 + 4 * int.from_bytes(packet[at + 2 : at + 4], "big")
    if packet[0] & 0x20:
        return left >= packet[-1] > 0
    return left >= 0


@given(PACKETS, CARRIED)
def test_a_packet_of_any_bytes_claims_what_its_leg_carries_or_nothing(
    packet: bytes, carried: Carried
) -> None:
    claim = read_claim(memoryview(packet), carried)
    if carried & Carried.OTHER:
        assert claim in (None, IS_OTHER)
        return
    if claim is not None:
        assert len(packet) >= 8 or claim.ssrc is None
        assert claim.timestamp is None or carried & Carried.RTP
    if carried == RTP:
        assert (claim is not None) == is_valid_rtp(packet)


# --- one packet behind another ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "earlier", "follows"),
    [
        (Claim(1, 8, 160), Claim(1, 7, 0), True),
        (Claim(1, 0, 160), Claim(1, 0xFFFF, 0), True),
        (Claim(1, 7, 160), Claim(1, 7, 160), False),
        (Claim(1, 6, 0), Claim(1, 7, 160), False),
        (Claim(1, 7 + MAX_MISSING, 0), Claim(1, 7, 0), False),
        (Claim(2, 8, 160), Claim(1, 7, 0), False),
        (Claim(1), Claim(1), True),
        (Claim(2), Claim(1), False),
        (Claim(1), Claim(1, 7, 0), False),
        (Claim(None, 8), Claim(None, 7), True),
        (Claim(None, 7), Claim(None, 7), False),
        (Claim(), Claim(), True),
    ],
)
def test_which_packet_follows_another(later: Claim, earlier: Claim, follows: bool) -> None:
    assert later.follows(earlier) is follows


# --- what the SDP says of a port ----------------------------------------------------------------------


def audio(proto: str = "RTP/AVP", *, rtcp: Endpoint | None = None, handshakes: tuple[str, ...] = ()) -> Media:
    return Media("192.0.2.1", 4000, 2, proto, "audio", rtcp=rtcp, handshakes=handshakes)


@pytest.mark.parametrize(
    ("media", "component", "carried"),
    [
        (audio(), 0, RTP),
        (audio(), 1, RTCP | Carried.PADDED),
        (audio("rtp/avpf"), 0, RTP),
        (audio("RTP/SAVP"), 0, SRTP),
        (audio("RTP/SAVP"), 1, RTCP),
        (audio(rtcp=Endpoint("192.0.2.1", 4000)), 0, RTP | RTCP),
        (audio(rtcp=Endpoint("192.0.2.1", 4001)), 0, RTP),
        (audio("UDP/TLS/RTP/SAVPF"), 0, SRTP | Carried.DTLS | Carried.STUN),
        (audio(handshakes=("stun", "zrtp", "dtls")), 0, RTP | Carried.STUN | Carried.ZRTP | Carried.DTLS),
        (audio(handshakes=("quic",)), 0, RTP),
        (Media("192.0.2.1", 4000, 1, "udptl", "image"), 0, UDPTL),
        (Media("192.0.2.1", 4000, 1, "UDP/BFCP", "application"), 0, Carried.OTHER),
        (Media("192.0.2.1", 4000, 1), 0, Carried.OTHER),
    ],
)
def test_what_a_port_carries_by_its_sdp(media: Media, component: int, carried: Carried) -> None:
    assert carried_by(media, component) == carried
