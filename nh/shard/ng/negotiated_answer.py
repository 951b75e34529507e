"""Negotiated answers: all that an answer and a client's options come to, before anything changes.

Signalling uses them as it does negotiated offers (nh.shard.ng.negotiated_offer).
"""

from collections.abc import Sequence
from typing import NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.agreement import NO_CARRIERS, Agreement, Carriers
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.sdp.description import SessionDescription
from nh.sdp.ice import IceAction
from nh.shard.ng.bundle_members import tagged_of
from nh.shard.ng.bundle_transports import share_security, share_transports
from nh.shard.ng.bundles import AnsweredBundles, bundles_of_answer
from nh.shard.ng.carriers import agreed_by, carriers_of_answer, carry, for_carriers
from nh.shard.ng.hidden_means import kept_means
from nh.shard.ng.hidden_media import with_hidden
from nh.shard.ng.ice import NegotiatedIce, drop_unanswered, ice_of_answer, request_ice
from nh.shard.ng.negotiation import padded, requests_of_answer
from nh.shard.ng.optional_srtp import note_completed
from nh.shard.ng.secured import Secured
from nh.shard.ng.securing import secure_answer
from nh.shard.ng.seen_media import see_answer
from nh.shard.ng.shown_codecs import ShownSdp


class NegotiatedAnswer(NamedTuple):
    """What an answer comes to.

    Attributes:
        description: the answer, with the media that are hidden from its sender.
        options: of the command.
        offerer: whose offer it answers.
        near: where the relay meets the offerer.
        further: beside that, where ICE offers it further candidates.
        secured: of each medium, its keys.
        muxes: of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
        bundles: what becomes of its bundles.
        ice: what becomes of its ICE.
        shown: the answer with the codecs that the offerer sees.
        carriers: of its bundles that pass.
    """

    description: SessionDescription
    options: OfferOptions
    offerer: Party
    near: Interface
    further: Sequence[Interface]
    secured: list[Secured]
    muxes: list[tuple[bool, bool]]
    bundles: AnsweredBundles
    ice: NegotiatedIce
    shown: ShownSdp
    carriers: Carriers

    @property
    def requests(self) -> list[MediumRequest]:
        """What its media request of the relay.

        Raises:
            IncompleteSdp: a medium has no address.
        """
        requests = requests_of_answer(
            share_transports(self.description, tagged_of(self.bundles.answerer)),
            self.muxes,
            self.secured,
            self.options,
            self.near,
            offerer=self.offerer,
            shares=self.bundles.shared_by_offerer,
        )
        requests = request_ice(requests, self.ice, self.further, latching=self.options.port_latching)
        return carry(requests, self.carriers, self.description.media) if self.carriers else requests

    @property
    def agreement(self) -> Agreement:
        """What the two ends have agreed on about the transports of its media."""
        bundles = self.bundles
        return Agreement(self.muxes, (bundles.offerer, bundles.answerer), agreed_by(self.carriers))

    @property
    def ice_passes(self) -> bool:
        """Whether the two ends have ICE with each other."""
        if self.ice.action in (IceAction.OWN, IceAction.REMOVE):
            return False
        return any(medium.ice for medium in self.description.media if not medium.rejected)

    @property
    def warning(self) -> str:
        """What the client is told of it; "" for nothing. The offer has decided how its sender has SRTP."""
        ignored = kept_means(self.description.media, self.secured, self.options)
        if not ignored:
            return ""
        return f"Ignored by nh: {', '.join(ignored)} (the offer has decided how its sender has SRTP)"

    @property
    def address(self) -> str:
        """The relay's, to announce to the offerer."""
        return self.options.media_address or self.near.advertised

    def note(self) -> None:
        """Note at the offerer what has been answered."""
        drop_unanswered(self.offerer, self.ice)
        note_completed(self.offerer, self.secured)


def negotiate_answer(
    description: SessionDescription,
    options: OfferOptions,
    near: Interface,
    further: Sequence[Interface],
    *,
    offerer: Party,
    answerer: Party | None,
    agreed: Carriers,
) -> NegotiatedAnswer:
    """What an answer comes to.

    Args:
        description: the answer as it came.
        options: of the command.
        near: where the relay meets the offerer.
        further: beside that, where ICE may offer it further candidates.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.
        agreed: the carriers of their dialog.

    Raises:
        UnusableSdp: it takes no key that was offered, or its bundles contradict its media.
    """
    seen = see_answer(with_hidden(description, offerer.offered), options)
    description = seen.description
    bundles = bundles_of_answer(description, offerer, unseen=seen.unseen)
    muxes = _answered_muxes(description, offerer, bundles)
    carriers: Carriers = NO_CARRIERS
    if (description.bundles or agreed) and not bundles.ends:
        carriers = carriers_of_answer(description, agreed, offerer=offerer)
        muxes = for_carriers(muxes, carriers, description.media)
    tagged_by_answerer, tagged = tagged_of(bundles.answerer), bundles.tagged_of_offerer
    shared = share_transports(description, tagged_by_answerer)
    secured = secure_answer(
        shared,
        options,
        offerer=offerer,
        answerer=answerer,
        tagged=tagged,
        tagged_by_answerer=tagged_by_answerer,
    )
    ice = ice_of_answer(
        shared,
        options,
        offerer=offerer,
        answerer=answerer,
        tagged=tagged,
        bundled=bool(bundles.offerer or bundles.answerer),
    )
    secured, ice = share_security(secured, ice, tagged_by_answerer)
    further = () if options.media_address else further
    return NegotiatedAnswer(
        description, options, offerer, near, further, secured, muxes, bundles, ice, seen.shown, carriers
    )


def _answered_muxes(
    description: SessionDescription, offerer: Party, bundles: AnsweredBundles
) -> list[tuple[bool, bool]]:
    """Of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port."""
    bundled = {each.medium for bundle in bundles.answerer for each in bundle.media}
    offered = padded(offerer.offered_muxes, len(description.media))
    return [
        mux.answered(medium.rtcp_mux or index in bundled)
        for index, (medium, mux) in enumerate(zip(description.media, offered, strict=True))
    ]
