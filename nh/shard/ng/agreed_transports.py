"""Agreed transports: those of RTP that the ends of a call have, which later offers keep, and names of media.

As in rtpengine, a conversion that the client has asked for once holds until it asks for another one.
"""

from collections.abc import Sequence
from itertools import zip_longest

from nh.calls.offer_answer.agreement import agreed_transports
from nh.calls.offer_answer.offered import OfferedMedium, of_media
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.media_security import MediaSecurity
from nh.commands import OfferOptions
from nh.sdp.bundles import mid_extension_of
from nh.sdp.description import Medium, SessionDescription
from nh.shard.ng.hidden_media import mid_of
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.srtp_means import NO_MEANS, Means, converts, is_secure, means_towards, wanted_transport


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


def agreed_mids(
    description: SessionDescription, given: tuple[str, ...], receiver: Party | None
) -> tuple[str, ...]:
    """The a=mid that each medium of an offer gets; "", and () for all, where the SDP stays as it is.

    An a=mid by which an end knows its medium stays where the other end leaves it out or names it otherwise,
    as in rtpengine: an end finds its media by it (RFC 8829 5.10). So does one that the relay has given (ng's
    generate-mid).

    Args:
        description: the offer.
        given: the a=mid of each medium that the relay bundles; () if it bundles none.
        receiver: the end that gets the offer; None if it is not known.
    """
    if receiver is None or not receiver.agreed.mids:
        return given
    mids = _renamed(description, given, _mids_in_use(receiver))
    media = description.media
    taken = {mid or medium.mid for mid, medium in zip(mids, media, strict=True)}
    for index, (medium, known) in enumerate(zip(media, receiver.agreed.mids, strict=False)):
        if not (mids[index] or medium.has("mid") or known in taken):
            mids[index] = known
            taken.add(known)
    return tuple(mids)


def _mids_in_use(party: Party) -> list[str]:
    """Of each medium, the a=mid by which an end knows it; "" where the place is free for another medium.

    What is offered at a place that was rejected has a name of its own (RFC 8829 5.2.2).
    """
    protos, *_, mids, taken = party.agreed
    return [mid if taken and proto else "" for mid, proto in zip(mids, protos, strict=False)]


def answered_mids(
    description: SessionDescription, given: tuple[str, ...], offered: Sequence[OfferedMedium]
) -> tuple[str, ...]:
    """The a=mid that each medium of an answer gets, as agreed_mids() has it: that of its offer (RFC 9143 6).

    Args:
        description: the answer.
        given: the a=mid of each medium that the relay bundles; () if it bundles none.
        offered: the media of the offer.
    """
    known = [each.mid for each in offered]
    return of_media(_renamed(description, given, known)) if any(known) else given


def _renamed(description: SessionDescription, given: tuple[str, ...], known: Sequence[str]) -> list[str]:
    """The a=mid that each medium of an SDP gets, so that its receiver finds its own names; "" for the SDP's.

    Where a=group has names, or packets have that of a medium in a header extension, they stay as they are.

    Args:
        description: the SDP.
        given: the a=mid of each medium that the relay bundles; () if it bundles none.
        known: by which the receiver knows each medium; "" for none.
    """
    media = description.media
    mids = [*given[: len(media)], *[""] * (len(media) - len(given))]
    if any("group" in session.attributes for session in description.sessions):
        return mids
    names = [
        name if name and not mid and medium.mid not in (None, name) and not mid_extension_of(medium) else mid
        for mid, medium, name in zip(mids, media, known, strict=False)
    ]
    names += mids[len(names) :]
    after = [mid or medium.mid for mid, medium in zip(names, media, strict=True)]
    named = [mid for mid in after if mid]
    return names if len(set(named)) == len(named) else mids


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
    if required or receiver is None or not any(receiver.agreed.muxes) or not receiver.agreed.taken:
        return [required] * count
    protos, muxes, *_ = receiver.agreed
    kept = [bool(mux and proto) for mux, proto in zip(muxes, protos, strict=False)]
    return [*kept[:count], *[False] * (count - len(kept))]


def usual_means(agreed: Sequence[MediaSecurity | None], ends: OfferEnds) -> Means:
    """By which means the receiver of an offer has SRTP, or has been offered it if it has rejected all media.

    Args:
        agreed: of each medium, what the receiver has agreed on with the relay.
        ends: who offers, and who will be offered to.
    """
    for each in agreed:
        if each is not None:
            return means_towards(each)
    if ends.sender is None or ends.receiver is None or ends.receiver.agreed.taken:
        return NO_MEANS
    before = ends.sender.relay_offer
    return Means(sdes=any(before.keys), dtls=any(before.dtls))


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
    rtp = [is_secure(medium.proto) is not None for _, medium in media]
    taken = [is_rtp and not medium.rejected for is_rtp, (_, medium) in zip(rtp, media, strict=True)]
    if not any(taken):
        _note_rejected(media, rtp, offerer=offerer, answerer=answerer)
        return
    own, other = _protos(media, taken)
    muxed = list(zip(*muxes, strict=True))
    mids = _mids_of_answer(media)
    offerer.agreed = agreed_transports(
        own, of_media(muxed[0]), any(offerer.ice), ice_passes, _mids_of_offerer(offerer)
    )
    answerer.agreed = agreed_transports(other, of_media(muxed[1]), any(answerer.ice), ice_passes, mids)


def _note_rejected(
    media: Sequence[tuple[OfferedMedium, Medium]], rtp: Sequence[bool], *, offerer: Party, answerer: Party
) -> None:
    """Note what an answer has rejected at the ends that have agreed on nothing: they get it again later.

    Args:
        media: those offered, and those of the answer.
        rtp: whether each of them is RTP.
        offerer, answerer: the ends.
    """
    if not any(rtp):
        return
    own, other = _protos(media, rtp)
    muxes = offerer.offered_muxes
    if not (offerer.agreed.protos and offerer.agreed.taken):
        muxed = of_media(mux.offered and mux.decided is not False for mux in muxes)
        mids = _mids_of_offerer(offerer)
        offerer.agreed = agreed_transports(own, muxed, any(offerer.ice), False, mids, taken=False)
    if not (answerer.agreed.protos and answerer.agreed.taken):
        muxed, with_ice = of_media(mux.passed_on for mux in muxes), any(offerer.relay_offer.ice)
        mids = _mids_of_answer(media)
        answerer.agreed = agreed_transports(other, muxed, with_ice, False, mids, taken=False)


def _protos(
    media: Sequence[tuple[OfferedMedium, Medium]], counts: Sequence[bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The transports of the offerer's and of the answerer's media, as far as they count; "" for others."""
    own = tuple([offered.proto if each else "" for (offered, _), each in zip(media, counts, strict=True)])
    other = tuple([medium.proto if each else "" for (_, medium), each in zip(media, counts, strict=True)])
    return own, other


def _mids_of_offerer(offerer: Party) -> tuple[str, ...]:
    """Of each medium, the a=mid of the last offer, or the one that its offerer knew before; () if of none."""
    named = [each.mid for each in offerer.offered]
    return of_media(mid or known for mid, known in zip_longest(named, offerer.agreed.mids, fillvalue=""))


def _mids_of_answer(media: Sequence[tuple[OfferedMedium, Medium]]) -> tuple[str, ...]:
    """Of each medium, the a=mid that its answer has; () if of none."""
    return of_media(mid_of(medium) for _, medium in media)


def _kept_transport(medium: Medium, proto: str) -> str:
    if None in (is_secure(medium.proto), is_secure(proto)) or medium.proto.upper() == proto.upper():
        return ""
    return proto
