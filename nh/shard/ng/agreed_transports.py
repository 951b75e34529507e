"""Agreed transports: those of RTP that the ends of a call have, which later offers keep.

As in rtpengine, a conversion that the client has asked for once holds until it asks for another one.
"""

from collections.abc import Sequence

from nh.calls.offer_answer.agreement import agreed_transports
from nh.calls.offer_answer.offered import of_media
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.sdp.description import Medium, SessionDescription
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.srtp_means import converts, is_secure, wanted_transport


def wanted_transports(description: SessionDescription, options: OfferOptions, ends: OfferEnds) -> list[str]:
    """The transport of each medium that an offer is to have; "" if the SDP's stays.

    An end that has answered is offered the transport that it has agreed on, until the client says another
    one. So are media that it has not taken before, as those that a re-INVITE adds to a bundle: media of one
    transport may share one.

    Args:
        description: the offer.
        options: of the command.
        ends: who offers, and who will be offered to.
    """
    if options.transport_protocol or ends.receiver is None:
        return [wanted_transport(options)] * len(description.media)
    taken = _transports_of(ends.receiver)
    said: list[Sequence[str]] = [] if ends.sender is None else [_transports_of(ends.sender)]
    said.append([each.proto for each in description.media])  # it may say another one from this offer on
    pairs = [
        (one.upper(), other)
        for protos in said
        for one, other in zip(protos, taken, strict=False)
        if one and other
    ]
    by_offered = dict(reversed(pairs))
    # feedback makes no other conversion: an end with AVP may have AVPF for the media that it adds
    converted = {
        is_secure(offered): proto
        for offered, proto in by_offered.items()
        if converts(offered, proto) and is_secure(offered) is not is_secure(proto)
    }
    wanted = []
    for index, medium in enumerate(description.media):
        offered = medium.proto.upper()
        known = (taken[index] if index < len(taken) else "") or by_offered.get(offered)
        wanted.append(_kept_transport(medium, known or converted.get(is_secure(offered), "")))
    return wanted


def agreed_muxes(receiver: Party | None, count: int) -> list[bool]:
    """Of some media of an offer, whether the receiver multiplexes RTCP: new ones are as its others.

    Args:
        receiver: the end that gets the offer; None if it is not known.
        count: number of media.
    """
    if receiver is None or not any(receiver.agreed.muxes):
        return [False] * count
    taken, muxes, *_ = receiver.agreed
    return [muxes[index] if index < len(taken) and taken[index] else True for index in range(count)]


def sole_muxes(receiver: Party | None, count: int, *, required: bool) -> list[bool]:
    """Which media of an offer have no port for RTCP alone where its receiver multiplexes (RFC 8829 5.2.2).

    Args:
        receiver: it has agreed on that for some media, which it has still; None: it is not known.
        count: how many media there are.
        required: the client says so of all of them.
    """
    if required or receiver is None or not any(receiver.agreed.muxes):
        return [required] * count
    protos, muxes, *_ = receiver.agreed
    kept = [bool(mux and proto) for mux, proto in zip(muxes, protos, strict=False)]
    return [*kept[:count], *[False] * (count - len(kept))]


def _transports_of(party: Party) -> Sequence[str]:
    """The transports that an end has agreed on by ng, or else those that it has."""
    if party.agreed.protos:
        return party.agreed.protos
    return [group.medium.proto if group is not None else "" for group in party.groups]


def note_transports(
    answer: SessionDescription,
    muxes: Sequence[tuple[bool, bool]],
    *,
    ice_passes: bool,
    offerer: Party,
    answerer: Party,
) -> None:
    """Note at both ends what they agree on by an answer; see AgreedTransports.

    Args:
        answer: the SDP.
        muxes: of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
        ice_passes: see AgreedTransports.
        offerer, answerer: the ends.
    """
    media = list(zip(offerer.offered, answer.media, strict=False))
    agreed = [not medium.rejected and is_secure(medium.proto) is not None for _, medium in media]
    if any(agreed):
        both = zip(media, agreed, strict=True)
        pairs = [(one.proto, other.proto) if taken else ("", "") for (one, other), taken in both]
        protos = zip(*pairs, strict=True)
        for party, own, muxed in zip((offerer, answerer), protos, zip(*muxes, strict=True), strict=True):
            party.agreed = agreed_transports(own, of_media(muxed), any(party.ice), ice_passes)


def _kept_transport(medium: Medium, proto: str) -> str:
    if None in (is_secure(medium.proto), is_secure(proto)) or medium.proto.upper() == proto.upper():
        return ""
    return proto
