"""A phone whose audio and video share one port (BUNDLE, RFC 9143), and what two plain phones say and hear."""

import struct
from collections.abc import Sequence

from tests.calls.rtp import rtp_packet
from tools.harness.media_peer import MediaPeer

AUDIO, VIDEO = 0, 1
KINDS = ("audio", "video")
FORMATS = (0, 96)
"""Payload types."""
SSRCS = (0xA0000001, 0xB0000001)
"""SSRCs of the phone with the bundle."""
PLAIN_SSRCS = (0xC0000001, 0xD0000001)
MID_EXTENSION = "extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid"


def write_media(
    ports: Sequence[int],
    attributes: Sequence[Sequence[str]],
    *,
    address: str = "127.0.0.1",
    group: str = "",
    formats: Sequence[int] = FORMATS,
    proto: str = "RTP/AVP",
) -> str:
    """An SDP with audio and video.

    Args:
        ports: of the media.
        attributes: a= lines of the media, without the a=.
        address: of all media.
        group: what a=group says, "" for no such line.
        formats: the payload type of each medium.
        proto: of their m= lines.
    """
    lines = ["v=0", "o=phone 1 1 IN IP4 127.0.0.1", "s=-", f"c=IN IP4 {address}", "t=0 0"]
    lines += [f"a=group:{group}"] if group else []
    for kind, port, number, own in zip(KINDS, ports, formats, attributes, strict=False):
        lines.append(f"m={kind} {port} {proto} {number}")
        lines += [f"a={each}" for each in own]
    return "\r\n".join([*lines, ""])


class BundlePhone:
    """A phone with a bundle, at the RTP port of a peer.

    Args:
        peer: its sockets.
        mids: a=mid of its media.
    """

    def __init__(self, peer: MediaPeer, mids: Sequence[str] = ("a", "v")) -> None:
        self.peer = peer
        self.mids = mids
        self._sequence = 0

    def sdp(
        self,
        *more: str,
        media: int = 2,
        bundle_only: bool = False,
        formats: Sequence[int] = FORMATS,
        proto: str = "RTP/AVP",
    ) -> str:
        """Its SDP, with further attributes of all media."""
        own = [["rtcp-mux", f"mid:{mid}", *more] for mid in self.mids[:media]]
        if bundle_only:
            own[VIDEO].append("bundle-only")
        ports = [self.peer.port, 0 if bundle_only else self.peer.port]
        group = " ".join(["BUNDLE", *self.mids[:media]])
        return write_media(
            ports[:media], own, address=self.peer.address, group=group, formats=formats, proto=proto
        )

    def packet(
        self, medium: int, payload: bytes, mid: str | None = None, *, payload_type: int | None = None
    ) -> bytes:
        """Its next packet of RTP, with its mid if that is given."""
        self._sequence += 1
        plain = rtp_packet(
            self._sequence,
            160 * self._sequence,
            ssrc=SSRCS[medium],
            payload_type=FORMATS[medium] if payload_type is None else payload_type,
            payload=payload,
        )
        if mid is None:
            return plain
        element = bytes([4 << 4 | len(mid) - 1]) + mid.encode()
        element += bytes(-len(element) % 4)
        extension = struct.pack("!HH", 0xBEDE, len(element) // 4) + element
        return bytes([plain[0] | 0x10]) + plain[1:12] + extension + plain[12:]


def plain_packet(medium: int, sequence: int, payload: bytes, *, payload_type: int | None = None) -> bytes:
    """A packet of RTP of a phone without a bundle."""
    return rtp_packet(
        sequence,
        160 * sequence,
        ssrc=PLAIN_SSRCS[medium],
        payload_type=FORMATS[medium] if payload_type is None else payload_type,
        payload=payload,
    )
