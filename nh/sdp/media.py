"""Media of an SDP as calls have them: where their sender is, and which ports they need."""

import sys
from typing import Final

import msgspec

from nh.calls.media import Endpoint, Media, check_range
from nh.calls.shared_values import shared
from nh.errors import MalformedRequest
from nh.ip_address import UNSPECIFIED, canonical_address, is_address
from nh.sdp.description import Medium
from nh.sdp.section import Direction

UNKNOWN_HOST: Final = "unknown.invalid"
"""Address of a medium whose endpoint is learned from packets: a host name, never resolved (RFC 6761 6.4)."""


def to_media(
    medium: Medium, received_from: str | None = None, *, muxed: bool = False, signalled_from: str = ""
) -> Media:
    """Convert a medium to a nh.calls.media.Media.

    RTP gets pairs of ports, with rtcp-mux, too, because both sides of a session need the same number of
    sockets, whether the other end accepts rtcp-mux or not.

    Args:
        medium: the medium.
        received_from: source IP address of the SIP message, to be used instead of the SDP's address;
            None: use the SDP's. A medium on hold stays on hold.
        signalled_from: see Media.
        muxed: RTCP shares RTP's port: the SDP is an answer with a=rtcp-mux, or this was agreed before.
            a=rtcp-mux-only implies it.

    Raises:
        MalformedRequest: no c= line applies to a medium that is not rejected, and there is no
            `received_from`; it has more ports than nh.calls.media.MAX_RANGE; or `received_from` is not an
            IP address.
    """
    where = f"SDP medium {medium.number}"
    if received_from is not None:
        received_from = canonical_address(received_from, where="received-from")
    field, direction = medium.field, medium.direction
    range_ = field.count * (2 if medium.rtp else 1)
    check_range(range_, where=where)
    media = Media(
        sys.intern(_peer_address(medium, received_from, where)),
        field.port,
        range_,
        field.proto,
        field.kind,
        None,
        signalled_from,
        direction in (Direction.SENDONLY, Direction.INACTIVE),
        shared(medium.formats),
        medium.handshakes,
        direction in (Direction.RECVONLY, Direction.INACTIVE),
        shared(medium.payload_types),
        medium.ice_ufrag,
    )
    rtcp = _rtcp_endpoint(medium, media, received_from, muxed=muxed)
    if rtcp is None or rtcp == media.endpoint(1):
        return media
    return msgspec.structs.replace(media, rtcp=rtcp)


def _peer_address(medium: Medium, received_from: str | None, where: str) -> str:
    """The address of its sender, which is canonical, as those of c= lines are."""
    if medium.held:
        return "::" if medium.connection == "::" else "0.0.0.0"
    if received_from is not None:
        return received_from
    if medium.connection in UNSPECIFIED:
        return UNKNOWN_HOST
    if medium.connection is not None:
        return medium.connection
    if medium.rejected:
        return "0.0.0.0"
    raise MalformedRequest(f"{where}: neither the medium nor the session has a c= line")


def _rtcp_endpoint(
    medium: Medium, media: Media, received_from: str | None, *, muxed: bool
) -> Endpoint | None:
    """Where to send RTCP, if that is not the default, the port after RTP's."""
    if not medium.rtp or not media.active:
        return None
    if (muxed and medium.rtcp_mux) or medium.rtcp_mux_only:
        return media.endpoint(0)
    if medium.rtcp is None or not medium.rtcp.port:
        return None
    announced = medium.rtcp.address if medium.rtcp.address not in UNSPECIFIED else None
    address = received_from or announced or media.address
    return Endpoint(address, medium.rtcp.port) if is_address(address) else None
