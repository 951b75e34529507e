"""Negotiation: what the media of an SDP request of the relay, and which ports the forwarded SDP announces.

Pure functions between the views of nh.sdp and the requests of the domain; no calls, no I/O.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.media import Media
from nh.calls.offer_answer.party import MediumRequest, Mux, Party
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.commands import EndpointLearning, IceHandling, OfferOptions
from nh.errors import IncompleteSdp, MalformedRequest, NhError, Unsupported, UnusableSdp
from nh.sdp.description import Direction, Medium, SessionDescription
from nh.sdp.parse import parse
from nh.sdp.rewrite import MediumPlan, MuxAction


def read_sdp(body: bytes) -> SessionDescription:
    """The SDP of a command.

    Raises:
        UnusableSdp: it cannot be parsed.
    """
    try:
        return parse(body)
    except MalformedRequest as exc:
        raise UnusableSdp(str(exc)) from exc


def family_of(description: SessionDescription) -> int:
    """The address family (4 or 6) of the first medium that has an address."""
    for medium in description.media:
        if medium.connection is not None:
            return 6 if ":" in medium.connection else 4
    return 4


def refuse_conversions(description: SessionDescription, options: OfferOptions) -> None:
    """Refuse to convert between transports, such as RTP/AVP and RTP/SAVP.

    Raises:
        Unsupported: a medium has another transport than the client asks for.
    """
    wanted = options.transport_protocol
    for medium in description.media:
        if wanted.lower() not in ("", "accept") and medium.rtp and medium.proto.upper() != wanted.upper():
            raise Unsupported(
                f"transport-protocol: nh passes {medium.proto} on as it is, not as {wanted[:32]}"
            )


def refuse_forced_ice(description: SessionDescription, options: OfferOptions) -> None:
    """Refuse to offer ICE for a party that has none.

    Raises:
        Unsupported: the client asks for that.
    """
    if options.ice is IceHandling.FORCE and not any(medium.ice for medium in description.media):
        raise Unsupported("ICE=force: the offer has no ICE, and nh has no ICE agent to do it in its stead")


def refuse_more_media(description: SessionDescription, offerer: Party) -> None:
    """Refuse an answer with more media than its offer: the other media would bypass the relay.

    Raises:
        UnusableSdp: the answer has more.
    """
    if len(description.media) > len(offerer.groups):
        raise UnusableSdp(
            f"the answer has {len(description.media)} media, its offer {len(offerer.groups)} (RFC 3264 6)"
        )


def request_for(
    medium: Medium, options: OfferOptions, towards: Interface, *, muxed: bool = False
) -> MediumRequest:
    """What one medium of an SDP requests of the relay, with sockets on `towards`."""
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
    # with ICE the announced endpoint is one of many candidates: a change of it says nothing
    latch = medium.ice if options.port_latching is None else options.port_latching
    return MediumRequest(media, towards.address, latch=latch, dscp=options.dscp)


def expected_of(request: MediumRequest, towards: Interface) -> MediumRequest:
    """What the answer to one medium of an offer will request; the answerer's address is not known yet."""
    if request.media is None:
        return request
    media = Media("0.0.0.0", 0, request.media.range, request.media.proto, request.media.kind)
    return MediumRequest(media, towards.address, dscp=request.dscp)


def answering(request: MediumRequest, offerer: Party, index: int) -> MediumRequest:
    """The request of an answer: no medium that was not offered, and as many sockets as for the offer."""
    offered = offerer.find_group(index)
    if request.media is None or offered is None:
        return MediumRequest(None, request.address)
    media: Media = msgspec.structs.replace(request.media, range=offered.media[0].range)
    return request._replace(media=media)


def policy_for(options: OfferOptions) -> SourcePolicy | None:
    """The source policy that the client asks for, in rtpengine's words; None: that of the settings.

    As in rtpengine, strict-source goes before media-handover. A learned source is strict in any case: nh
    drops packets that rtpengine passes on without strict-source.
    """
    learning = EndpointLearning.OFF if options.asymmetric else options.learning
    if learning is EndpointLearning.OFF:
        return SourcePolicy.STRICT if options.strict_source else SourcePolicy.ASYMMETRIC
    if options.media_handover and not options.strict_source:
        return SourcePolicy.HANDOVER
    return None if learning is None else LEARNING[learning]


LEARNING: Final = {
    EndpointLearning.IMMEDIATE: SourcePolicy.FIRST,
    EndpointLearning.DELAYED: SourcePolicy.HEURISTIC,
    EndpointLearning.HEURISTIC: SourcePolicy.HEURISTIC,
}
"""How each way to learn an address is carried out. Where rtpengine's `delayed` takes the first packet after
three seconds, nh takes the best source of that time: the same phone, and not the fastest stranger."""


def mux_offered(medium: Medium, options: OfferOptions) -> Mux:
    """What becomes of the offer of rtcp-mux (RFC 5761), by the client's `rtcp-mux` options."""
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
    """What becomes of a=rtcp-mux in a forwarded offer.

    Returns:
        The action, and whether the SDP announces no port for RTCP. It announces one unless mux is required:
        the answerer may refuse mux.
    """
    if required and mux.passed_on:
        return MuxAction.ADD, True
    if mux.passed_on:
        return MuxAction.KEEP if mux.offered else MuxAction.ADD, False
    return MuxAction.REMOVE if mux.offered else MuxAction.KEEP, False


def padded(muxes: Sequence[Mux], count: int) -> list[Mux]:
    """One Mux for each of `count` media of an answer; media that were not offered are rejected anyway."""
    return [*muxes[:count], *[Mux()] * (count - len(muxes))]


def medium_plan(
    medium: Medium, group: SocketGroup | None, address: str, action: MuxAction, agreed: bool
) -> MediumPlan | None:
    """The address and ports of one medium in the forwarded SDP; None: the medium is not relayed."""
    if group is None:
        return None
    ports = [socket.local.port for socket in group.sockets]
    if not medium.rtp:
        return MediumPlan(address, ports[0])
    return MediumPlan(address, ports[0], None if agreed or len(ports) < 2 else ports[1], action)


def bundled(description: SessionDescription, plans: Sequence[MediumPlan | None]) -> list[MediumPlan | None]:
    """Let all media of a bundle in an answer share the port of its first medium (RFC 9143 7.3)."""
    by_mid = {medium.find_value("mid"): index for index, medium in enumerate(description.media)}
    shared = list(plans)
    for mids in description.bundles:
        indexes = [by_mid[mid] for mid in mids if mid in by_mid]
        relayed = [index for index in indexes if plans[index] is not None]
        for index in relayed[1:]:
            shared[index] = plans[relayed[0]]
    return shared
