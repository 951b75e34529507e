"""Negotiation: what the media of an SDP request of the relay, and what a client's options make of that.

Pure functions between the views of nh.sdp and the requests of the domain; no calls, no I/O. What a forwarded
SDP announces is in nh.shard.ng.media_plans.
"""

import functools
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media
from nh.calls.offer_answer.offered import MediumRequest, Mux, OfferedMedium
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.media_security import MediaSecurity
from nh.commands import EndpointLearning, Feature, OfferOptions
from nh.errors import IncompleteSdp, MalformedRequest, NhError, Unsupported, UnusableSdp
from nh.sdp.description import Medium, SessionDescription
from nh.sdp.media import to_media
from nh.sdp.parse import parse
from nh.shard.ng.peer_address import believed_address
from nh.shard.ng.secured import Secured
from nh.shard.ng.srtp_means import can_secure, is_secure, why_not


def read_sdp(body: bytes, options: OfferOptions) -> SessionDescription:
    """The SDP of a command.

    Raises:
        UnusableSdp: it cannot be parsed, or has an o= that is to be replaced and cannot be read.
    """
    try:
        description = parse(body)
    except MalformedRequest as exc:
        raise UnusableSdp(str(exc)) from exc
    if description.bad_origin and (options.replace_origin or options.text.controls_origin):
        raise UnusableSdp(description.bad_origin)
    return description


def leave_out(
    description: SessionDescription,
    transports: Sequence[str],
    options: OfferOptions,
    *,
    keyed: Container[int] = (),
) -> str:
    """What the client asks for that needs more than a relay, and is left out; "" for nothing.

    That is a conversion between transports, or another key, of a medium whose keys nh cannot use.

    Args:
        description: the SDP, in which bundled media have the keys of their tagged ones.
        transports: of each medium, the one that is wanted; "" leaves the SDP's.
        options: of the command.
        keyed: the media that the receiver has a key of the relay's for.

    Raises:
        Unsupported: the settings say that the command fails then.
    """
    missing = _conversion(description, transports, options, keyed)
    if missing and Feature.SRTP not in options.lenient:
        raise Unsupported(missing)
    return missing


def _conversion(
    description: SessionDescription,
    transports: Sequence[str],
    options: OfferOptions,
    keyed: Container[int],
) -> str:
    for index, (medium, wanted) in enumerate(zip(description.media, transports, strict=True)):
        if not medium.rtp or medium.rejected:
            continue
        kept, keys = "", index in keyed
        if wanted and not _convertible(medium, wanted, options, keys=keys):
            kept = f"transport-protocol: nh passes {medium.proto[:32]} on as it is, not as {wanted[:32]}"
        elif (
            options.recrypt
            and is_secure(medium.proto)
            and not can_secure(medium, medium.proto, options, keys=keys)
        ):
            kept = f"recrypt: nh passes {medium.proto[:32]} on as it is"
        if kept:
            why = why_not(medium)
            return f"{kept}: {why}" if why else kept
    return ""


def _convertible(medium: Medium, wanted: str, options: OfferOptions, *, keys: bool) -> bool:
    return differ_by_feedback(medium.proto, wanted) or can_secure(medium, wanted, options, keys=keys)


@functools.lru_cache(maxsize=256)  # there are hardly ten protos
def differ_by_feedback(proto: str, other: str) -> bool:
    """Whether two RTP profiles are the same but for RTCP feedback (RFC 4585, RFC 5124), or equal.

    Their packets are the same, so only the m= line changes, as in rtpengine. SRTP by DTLS has two names.
    """
    one, another = (each.upper().removeprefix("UDP/TLS/").removesuffix("F") for each in (proto, other))
    return one == another


def requests_of_offer(
    description: SessionDescription,
    offered: Sequence[OfferedMedium],
    secured: Sequence[Secured],
    options: OfferOptions,
    towards: Interface,
    *,
    shares: Mapping[int, int],
    unseen: Container[int],
) -> list[MediumRequest]:
    """What the media of an offer request of the relay; those that their receiver does not see, nothing.

    Args:
        description: the offer.
        offered: its m= lines.
        secured: what becomes of the security of each medium.
        options: of the command.
        towards: where the relay receives from the end that is offered to.
        shares: see MediumRequest, by medium.
        unseen: media that their receiver sees rejected.
    """
    media = zip(description.media, offered, secured, strict=True)
    return [
        MediumRequest(None, towards.address)
        if announced.hidden or index in unseen
        else _request_for(medium, options, towards, security=security, shares=shares.get(index))
        for index, (medium, announced, (security, *_)) in enumerate(media)
    ]


def requests_of_answer(
    description: SessionDescription,
    muxes: Sequence[tuple[bool, bool]],
    secured: Sequence[Secured],
    options: OfferOptions,
    towards: Interface,
    *,
    offerer: Party,
    shares: Mapping[int, int],
) -> list[MediumRequest]:
    """What the media of an answer to `offerer` request of the relay.

    Args:
        description: the answer.
        muxes: see Agreement.
        secured: what becomes of the security of each medium.
        options: of the command.
        towards: where the relay receives from the offerer.
        offerer: whose offer it answers.
        shares: see MediumRequest, by medium.
    """
    media = zip(description.media, muxes, secured, strict=True)
    return [
        _answering(
            _request_for(medium, options, towards, muxed=muxed, security=security, shares=shares.get(index)),
            offerer,
            index,
        )
        for index, (medium, (_, muxed), (security, *_)) in enumerate(media)
    ]


def _request_for(
    medium: Medium,
    options: OfferOptions,
    towards: Interface,
    *,
    muxed: bool = False,
    security: MediaSecurity | None,
    shares: int | None,
) -> MediumRequest:
    """What one medium of an SDP requests of the relay, with sockets on `towards`."""
    media = _media_of(medium, options, muxed=muxed)
    if media is None:
        return MediumRequest(None, towards.address, security=security, shares=shares)
    # with ICE the announced endpoint is one of many candidates, and a paused medium is not received there at
    # all: a change of it says nothing, as in rtpengine
    keeps = medium.ice or media.paused
    latch = keeps if options.port_latching is None else options.port_latching
    return MediumRequest(
        media, towards.address, latch=latch, dscp=options.dscp, security=security, shares=shares
    )


def announced_media(description: SessionDescription, options: OfferOptions) -> Iterator[Media | None]:
    """What an offer announces of each medium; None where it is not relayed. Raises IncompleteSdp."""
    return (_media_of(medium, options) for medium in description.media)


def _media_of(medium: Medium, options: OfferOptions, *, muxed: bool = False) -> Media | None:
    if medium.rejected or not medium.relayable:
        return None
    try:
        return to_media(
            medium, believed_address(medium, options), muxed=muxed, signalled_from=options.received_from
        )
    except NhError as exc:
        raise IncompleteSdp(str(exc)) from exc


def expected_of(
    requests: Sequence[MediumRequest],
    secured: Sequence[Secured],
    towards: Interface,
    *,
    shares: Mapping[int, int],
) -> list[MediumRequest]:
    """What the answer to an offer will request; the answerer's addresses are not known yet.

    Nor are its keys, where it is offered SRTP: nothing of that passes until its answer.

    Args:
        requests: those of the offer.
        secured: what becomes of the security of each medium.
        towards: where the relay receives from the offerer.
        shares: see MediumRequest, by medium.
    """
    return [
        _expected(request, each, towards, shares.get(index))
        for index, (request, each) in enumerate(zip(requests, secured, strict=True))
    ]


def _expected(
    request: MediumRequest, secured: Secured, towards: Interface, shares: int | None
) -> MediumRequest:
    if request.media is None:
        return request._replace(security=None, shares=shares)
    media = Media("0.0.0.0", 0, request.media.range, request.media.proto, request.media.kind)
    security = MediaSecurity() if secured.offers else None
    return MediumRequest(media, towards.address, dscp=request.dscp, security=security, shares=shares)


def _answering(request: MediumRequest, offerer: Party, index: int) -> MediumRequest:
    """The request of an answer: no medium that was not offered, and as many sockets as for the offer.

    New sockets send with the code point of the offer: TOS counts in offers alone.
    """
    offered = offerer.find_group(index)
    if request.media is None or offered is None:
        return MediumRequest(None, request.address, security=request.security, shares=request.shares)
    media: Media = request.media
    if media.range != offered.medium.range:
        media = msgspec.structs.replace(media, range=offered.medium.range)
    elif request.dscp == offered.dscp:
        return request
    return request._replace(media=media, dscp=offered.dscp)


def policy_for(options: OfferOptions, default: SourcePolicy) -> SourcePolicy:
    """The source policy that the client asks for, in rtpengine's words; `default` is that of the settings.

    As in rtpengine, strict-source goes before media-handover. Without it nh drops packets of strangers, too,
    but a source may move, where its stream shows that it is the same sender.
    """
    learning = EndpointLearning.OFF if options.asymmetric else options.learning
    policy = default if learning is None else LEARNING[learning]
    if options.strict_source:
        return STRICTLY.get(policy, policy)
    handed_over = options.media_handover and policy is not SourcePolicy.ASYMMETRIC
    return SourcePolicy.HANDOVER if handed_over else policy


LEARNING: Final = {
    EndpointLearning.OFF: SourcePolicy.ASYMMETRIC,
    EndpointLearning.IMMEDIATE: SourcePolicy.FIRST,
    EndpointLearning.DELAYED: SourcePolicy.DELAYED,
    EndpointLearning.HEURISTIC: SourcePolicy.HEURISTIC,
}
"""How each way to learn an address is carried out."""

STRICTLY: Final = {
    SourcePolicy.HEURISTIC: SourcePolicy.LEARNED,
    SourcePolicy.DELAYED: SourcePolicy.LEARNED,
    SourcePolicy.HANDOVER: SourcePolicy.LEARNED,
    SourcePolicy.ASYMMETRIC: SourcePolicy.STRICT,
}
"""What strict-source makes of a policy; the others are strict."""


def mux_offered(medium: Medium, options: OfferOptions, *, agreed: bool) -> Mux:
    """What becomes of the offer of rtcp-mux (RFC 5761), by the client's `rtcp-mux` options.

    Args:
        medium: of the offer.
        options: of the command.
        agreed: the end that gets the offer multiplexes: it goes on, as in rtpengine. A browser takes no offer
            without (RFC 8829 4.1.1).
    """
    offered = medium.rtp and medium.rtcp_mux
    passed_on = medium.rtp and (agreed or options.mux_offer or (offered and not options.mux_demux))
    decided = None
    if options.mux_accept or (options.mux_demux and not options.mux_reject):
        decided = True
    elif options.mux_reject:
        decided = False
    return Mux(offered, passed_on, decided)


def padded(muxes: Sequence[Mux], count: int) -> list[Mux]:
    """One Mux for each of `count` media of an answer; media that were not offered are rejected anyway."""
    return [*muxes[:count], *[Mux()] * (count - len(muxes))]
