"""Negotiated offers: all that an offer and a client's options come to, before anything changes.

Signalling reads the SDP, has it negotiated here, gives the requests to the domain, and forwards the SDP with
the sockets that the domain has for them.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.agreement import Carriers
from nh.calls.offer_answer.offered import (
    NO_RELAY_OFFER,
    MediumRequest,
    Mux,
    OfferedMedium,
    RelayOffer,
    of_media,
)
from nh.calls.offer_answer.party import Party
from nh.calls.shared_values import shared
from nh.commands import OfferOptions
from nh.sdp.description import SessionDescription
from nh.shard.ng.agreed_transports import agreed_muxes, sole_muxes, wanted_transports
from nh.shard.ng.bundle_transports import (
    share_security,
    share_transports,
    tagged_media,
    with_shared_transports,
)
from nh.shard.ng.bundles import OfferedBundles, bundles_of_offer
from nh.shard.ng.carriers import carry
from nh.shard.ng.dtls import NewCertificate, note_roles
from nh.shard.ng.hidden_means import hide_means, kept_means
from nh.shard.ng.hidden_media import hidden_of, offered_media, with_hidden
from nh.shard.ng.ice import NegotiatedIce, expect_ice, ice_of_offer, request_ice
from nh.shard.ng.ice_sockets import keep_components
from nh.shard.ng.interface_choice import InterfacePair
from nh.shard.ng.negotiation import expected_of, leave_out, mux_offered, requests_of_offer
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.optional_srtp import optional_keys
from nh.shard.ng.secured import UNCHANGED, Secured
from nh.shard.ng.securing import keyed_media, secure_offer
from nh.shard.ng.seen_media import SeenOffer, see_offer
from nh.shard.ng.shown_codecs import ShownSdp
from nh.shard.ng.srtp_means import is_secure
from nh.shard.ng.two_forms import Forms, forms_to_offer, with_plain_form


class NegotiatedOffer(NamedTuple):
    """What an offer comes to.

    Attributes:
        description, shown, bundles, unseen, carriers: see SeenOffer.
        shared: the offer, in which bundled media have the transport of their tagged one.
        options: of the command.
        sender: who offers; None: it is new.
        interfaces: where the relay meets the two ends.
        offered: the m= lines.
        transports: see wanted_transports().
        secured: of each medium, its keys.
        ice: what becomes of its ICE.
        muxes: what becomes of the offer of rtcp-mux, for each medium.
        sole: of each medium, whether the receiver has no port for RTCP alone where it multiplexes.
        left_out: see leave_out().
        sender_forms, receiver_forms: of each medium, as its sender and its receiver see it.
    """

    description: SessionDescription
    shown: ShownSdp
    bundles: OfferedBundles
    unseen: frozenset[int]
    carriers: Carriers
    shared: SessionDescription
    options: OfferOptions
    sender: Party | None
    interfaces: InterfacePair
    offered: list[OfferedMedium]
    transports: list[str]
    secured: list[Secured]
    ice: NegotiatedIce
    muxes: list[Mux]
    sole: list[bool]
    left_out: str
    sender_forms: Sequence[Forms]
    receiver_forms: tuple[Forms, ...]

    @property
    def seen_secured(self) -> list[Secured]:
        """Of each medium, its keys, without the means that the client turns off for the receiver."""
        media = zip(self.secured, self.shown.description.media, self.transports, strict=True)
        return [hide_means(*each, self.options) for each in media]

    @property
    def warning(self) -> str:
        """What the client is told of it; "" for nothing."""
        kept = kept_means(self.shown.description.media, self.seen_secured, self.options)
        means = f"Ignored by nh: {', '.join(kept)} (the ends agree on SRTP with each other)" if kept else ""
        return "; ".join(
            filter(None, (self.interfaces.warning, self.bundles.warning, self.shown.warning, means))
        )

    @property
    def requests(self) -> list[MediumRequest]:
        """What its media request of the relay.

        Raises:
            IncompleteSdp: a medium has no address.
        """
        requests = requests_of_offer(
            self.shared,
            self.offered,
            self.secured,
            self.options,
            self.interfaces.far,
            shares=self.bundles.shared_by_receiver,
            unseen=self.unseen,
        )
        requests = request_ice(requests, self.ice, self.further, latching=self.options.port_latching)
        written = [each.written for each in self.ice.media]
        requests = keep_components(requests, self.shared.media, written, self.sender)
        return carry(requests, self.carriers, self.description.media) if self.carriers else requests

    @property
    def address(self) -> str:
        """The relay's, to announce to the receiver."""
        return self.options.media_address or self.interfaces.far.advertised

    @property
    def further(self) -> Sequence[Interface]:
        """Where the receiver may send beside that; not if the client says where."""
        return () if self.options.media_address else self.interfaces.far_further

    def expected(self, requests: Sequence[MediumRequest]) -> list[MediumRequest]:
        """What the media of its answer will request; `requests` are those of the offer."""
        shares = self.bundles.shared_by_sender
        expected = expected_of(requests, self.secured, self.interfaces.near, shares=shares)
        return expect_ice(expected, self.ice, self.interfaces.near_further)

    def note(self, sender: Party, receiver: Party | None) -> None:
        """Note at the parties what has been offered."""
        sender.offered_muxes = shared(tuple(self.muxes))
        sender.offered = shared(tuple(self.offered))
        sender.bundles, sender.forms = self.bundles.accepted, tuple(self.sender_forms)
        offer = RelayOffer(
            bundled=self.bundles.bundled,
            keys=of_media([each.offered for each in self.secured]),
            optional_keys=of_media(optional_keys(self.description, self.secured, self.options.sdes)),
            ice=of_media([each.offered for each in self.ice.media]),
            dtls=of_media([each.offered_dtls for each in self.secured]),
            forms=self.receiver_forms,
        )
        sender.relay_offer = offer if any(offer) else NO_RELAY_OFFER
        sender.label = self.options.label or sender.label
        note_roles(self.secured)
        self.interfaces.note(sender, receiver)
        sender.family = self.interfaces.family


def negotiate_offer(
    description: SessionDescription,
    options: OfferOptions,
    interfaces: InterfacePair,
    ends: OfferEnds,
    *,
    certificate: NewCertificate,
) -> NegotiatedOffer:
    """What an offer comes to.

    Args:
        description: the offer as it came.
        options: of the command.
        interfaces: where the relay meets the two ends.
        ends: the ends, as far as the call knows them.
        certificate: of the relay, for a new call.

    Raises:
        Unsupported: it needs transcoding, or SRTP without keys that nh can use, or without `cryptography` or
            pyOpenSSL.
        UnusableSdp: its bundles contradict its media.
    """
    if options.keeps_dscp:
        options = msgspec.structs.replace(options, dscp=ends.dscp)
    if ends.receiver is not None:
        description = with_hidden(description, ends.receiver.offered)
    offered = offered_media(description, options, ends)
    unsecured = _unsecured(offered)
    options, transports, forms = _wanted(description, options, ends, offered, unsecured)
    secured, left_out = _secure(description, transports, options, ends, unsecured, certificate=certificate)
    bundles = bundles_of_offer(description, options.bundle, secured, ends, hidden=offered)
    seen = see_offer(description, options, secured, bundles, offered, agreed=ends.carriers)
    tagged = tagged_media(seen.description, bundles.accepted, agreed=ends.receiver is not None)
    shared = share_transports(seen.description, tagged)
    muxes = _muxes(seen, options, ends.receiver)
    ice = ice_of_offer(
        shared,
        options,
        ends,
        converts=any(each != UNCHANGED for each in secured) or _components_differ(seen, muxes, ends),
        bundled=bool(seen.bundles.accepted or seen.bundles.bundled),
        address=interfaces.far.address,
    )
    secured, ice = share_security(secured, ice, tagged)
    return NegotiatedOffer(
        *seen,
        shared,
        options,
        ends.sender,
        interfaces,
        offered,
        transports,
        secured,
        ice,
        muxes,
        sole_muxes(ends.receiver, len(muxes), required=options.mux_require),
        left_out,
        ends.forms,
        forms,
    )


def _wanted(
    description: SessionDescription,
    options: OfferOptions,
    ends: OfferEnds,
    offered: Sequence[OfferedMedium],
    unsecured: Collection[int],
) -> tuple[OfferOptions, list[str], tuple[Forms, ...]]:
    """How the receiver is to have the media of an offer.

    Args:
        description, options, ends: see negotiate_offer().
        offered: the m= lines.
        unsecured: see _unsecured().

    Returns:
        The options, by which media of two forms have keys beside plain RTP; the transports, see
        wanted_transports(); and the forms, see forms_to_offer().
    """
    transports = wanted_transports(description, options, ends)
    forms = forms_to_offer(description, transports, offered, options, ends.receiver_forms)
    if any(forms) and options.osrtp_offer_twice:
        transports = with_plain_form(description, transports, offered, forms)
        options = msgspec.structs.replace(options, osrtp_offer=True)
    if unsecured:
        transports = ["" if index in unsecured else each for index, each in enumerate(transports)]
    return options, transports, forms


def _secure(
    description: SessionDescription,
    transports: Sequence[str],
    options: OfferOptions,
    ends: OfferEnds,
    unsecured: Collection[int],
    *,
    certificate: NewCertificate,
) -> tuple[list[Secured], str]:
    """The keys of each medium of an offer, and what is left out, see leave_out().

    Args:
        description, ends, certificate: see negotiate_offer().
        transports, options: see _wanted().
        unsecured: see _unsecured().
    """
    keyed = with_shared_transports(description)
    known = keyed_media(ends.receiver, len(description.media)) if options.sdes.no_new else ()
    left_out = leave_out(keyed, transports, options, keyed=known)
    secured = secure_offer(keyed, transports, options, ends, certificate=certificate)
    if unsecured:
        secured = [UNCHANGED if index in unsecured else each for index, each in enumerate(secured)]
    return secured, left_out


def _muxes(seen: SeenOffer, options: OfferOptions, receiver: Party | None) -> list[Mux]:
    """What becomes of the offer of rtcp-mux, for each medium."""
    media = seen.description.media
    agreed = agreed_muxes(receiver, len(media))
    return [
        seen.bundles.mux_of(index, mux_offered(medium, options, agreed=agreed[index]))
        for index, medium in enumerate(media)
    ]


def _components_differ(seen: SeenOffer, muxes: Sequence[Mux], ends: OfferEnds) -> bool:
    """Whether one end may have another number of components of ICE than the other.

    ICE of theirs with each other would fail then. Once they have agreed on it, it goes on.
    """
    if ends.receiver is not None and ends.receiver.agreed.ice_passes:
        return False
    media = zip(seen.description.media, muxes, strict=True)
    return any(mux.may_differ for medium, mux in media if not medium.rejected)


def _unsecured(offered: Sequence[OfferedMedium]) -> frozenset[int]:
    """The media, by index, that get no keys: plain RTP that the receiver does not see.

    SRTP that it does not see may have the transport of a bundle that ends at the relay.
    """
    return frozenset([index for index in hidden_of(offered) if is_secure(offered[index].proto) is False])
