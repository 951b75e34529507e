"""Negotiation: what the media of an SDP ask of the relay, and where it awaits them in the SDP that goes on.

Pure functions between nh.sdp's views and the domain's requests; nothing here knows of calls or sockets' I/O.
"""

from collections.abc import Sequence

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.media import Media
from nh.calls.offer_answer.party import MediumRequest, Mux, Party
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.commands import OfferOptions
from nh.errors import IncompleteSdp, MalformedRequest, NhError, Unsupported, UnusableSdp
from nh.sdp.description import Direction, Medium, SessionDescription
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, MuxAction


def read_sdp(body: bytes) -> SessionDescription:
    """The SDP of a command. Raises UnusableSdp."""
    try:
        return parse(body)
    except MalformedRequest as exc:
        raise UnusableSdp(str(exc)) from exc


def family_of(description: SessionDescription) -> int:
    """4 or 6, of the first medium that has an address."""
    for medium in description.media:
        if medium.connection is not None:
            return 6 if ":" in medium.connection else 4
    return 4


def refuse_conversions(description: SessionDescription, wanted: str) -> None:
    """Refuse what only a gateway between transports could do.

    Arguments:
        wanted: the transport that a client asks for, such as RTP/SAVP; "" and accept: as it is.

    Raises Unsupported if a medium has another.
    """
    for medium in description.media:
        if wanted.lower() not in ("", "accept") and medium.rtp and medium.proto.upper() != wanted.upper():
            raise Unsupported(
                f"transport-protocol: nh passes {medium.proto} on as it is, not as {wanted[:32]}"
            )


def request_for(
    medium: Medium, options: OfferOptions, towards: Interface, *, muxed: bool = False
) -> MediumRequest:
    """What one medium of an SDP asks of the relay; its sockets will be on `towards`."""
    if medium.rejected or not medium.relayable:
        return MediumRequest(None, towards.address)
    believed = options.received_from if options.trust_received and not medium.ice else None
    try:
        media = medium.to_media(believed or None, muxed=muxed)
    except NhError as exc:
        raise IncompleteSdp(str(exc)) from exc
    media = msgspec.structs.replace(
        media,
        signalled_from=options.received_from,
        paused=medium.direction in (Direction.SENDONLY, Direction.INACTIVE),
    )
    # where ICE finds the way, the announced endpoint is one of many, and says nothing when it changes
    latch = options.port_latching or medium.ice
    return MediumRequest(media, towards.address, latch=latch, dscp=options.dscp)


def expected_of(request: MediumRequest, towards: Interface) -> MediumRequest:
    """What the answer to one medium of an offer will ask for; where its sender is, only that can tell."""
    if request.media is None:
        return request
    media = Media("0.0.0.0", 0, request.media.range, request.media.proto, request.media.kind)
    return MediumRequest(media, towards.address, dscp=request.dscp)


def answering(request: MediumRequest, offerer: Party, index: int) -> MediumRequest:
    """The same for an answer: no more than was offered, and as many sockets."""
    offered = offerer.find_group(index)
    if request.media is None or offered is None:
        return MediumRequest(None, request.address)
    media: Media = msgspec.structs.replace(request.media, range=offered.media[0].range)
    return request._replace(media=media)


def policy_for(options: OfferOptions) -> SourcePolicy | None:
    """The source policy that a client asks for; None: as set."""
    if options.asymmetric:
        return SourcePolicy.ASYMMETRIC
    if options.media_handover:
        return SourcePolicy.HANDOVER
    return None


def mux_offered(medium: Medium, options: OfferOptions) -> Mux:
    """What becomes of the offerer's wish to send RTCP on its RTP port (rtpengine's `rtcp-mux`)."""
    offered = medium.rtp and medium.rtcp_mux
    passed_on = medium.rtp and (
        options.mux_offer or (offered and not options.mux_demux and not options.mux_reject)
    )
    decided = None
    if options.mux_accept or options.mux_demux:
        decided = True
    elif options.mux_reject:
        decided = False
    return Mux(offered, passed_on, decided)


def mux_towards_answerer(mux: Mux, *, required: bool) -> tuple[MuxAction, bool]:
    """What becomes of a=rtcp-mux in an offer, and whether RTCP has no port of its own.

    An offer is only a wish, so the RTCP port is announced all the same, unless mux is required.
    """
    if required and mux.passed_on:
        return MuxAction.ADD, True
    if mux.passed_on:
        return MuxAction.KEEP if mux.offered else MuxAction.ADD, False
    return MuxAction.REMOVE if mux.offered else MuxAction.KEEP, False


def padded(muxes: Sequence[Mux], count: int) -> list[Mux]:
    """As many as the answer has media; one that was never offered is rejected anyway."""
    return [*muxes[:count], *[Mux()] * (count - len(muxes))]


def plan_for(
    medium: Medium, group: SocketGroup | None, address: str, action: MuxAction, agreed: bool
) -> MediumPlan | None:
    """Where the relay awaits one medium, for the SDP that goes on; None if it is not relayed."""
    if group is None:
        return None
    ports = [socket.local.port for socket in group.sockets]
    if not medium.rtp:
        return MediumPlan(address, ports[0])
    return MediumPlan(address, ports[0], None if agreed or len(ports) < 2 else ports[1], action)


def bundled(description: SessionDescription, plans: Sequence[MediumPlan | None]) -> list[MediumPlan | None]:
    """In an accepted answer all media of a bundle share the place of its first (RFC 9143 7.3)."""
    by_mid = {medium.find_value("mid"): index for index, medium in enumerate(description.media)}
    shared = list(plans)
    for mids in description.bundles:
        indexes = [by_mid[mid] for mid in mids if mid in by_mid]
        relayed = [index for index in indexes if plans[index] is not None]
        for index in relayed[1:]:
            shared[index] = plans[relayed[0]]
    return shared
