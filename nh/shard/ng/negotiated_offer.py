"""Negotiated offers: all that an offer and a client's options come to, before anything changes.

Signalling reads the SDP, has it negotiated here, gives the requests to the domain, and forwards the SDP with
the sockets that the domain has for them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.dialog import NO_CARRIERS
from nh.calls.offer_answer.party import MediumRequest, Mux, OfferedMedium, Party, of_media
from nh.calls.rtp.payload_types import shared
from nh.calls.socket_group import SocketGroup
from nh.commands import OfferOptions
from nh.sdp.bundles import new_tagged_media
from nh.sdp.crypto import limit_suites
from nh.sdp.description import SessionDescription
from nh.shard.ng.bundle_transports import (
    share_security,
    share_transports,
    tagged_media,
    with_new_tagged,
    with_shared_transports,
)
from nh.shard.ng.bundles import OfferedBundles, bundles_of_offer
from nh.shard.ng.carriers import Carriers, carriers_of_offer, carry, of_carriers
from nh.shard.ng.dtls import NewCertificate
from nh.shard.ng.forwarded_sdp import forward_offer
from nh.shard.ng.hidden_media import offered_media, removed_media, with_hidden
from nh.shard.ng.ice import NegotiatedIce, expect_ice, ice_of_offer, request_ice
from nh.shard.ng.interface_choice import InterfacePair
from nh.shard.ng.negotiation import expected_of, leave_out, mux_offered, requests_of_offer
from nh.shard.ng.optional_srtp import optional_keys
from nh.shard.ng.secured import UNCHANGED, Secured
from nh.shard.ng.securing import secure_offer
from nh.shard.ng.shown_codecs import ShownSdp, show_codecs
from nh.shard.ng.srtp_means import wanted_transports


class OfferEnds(NamedTuple):
    """The ends of an offer, as far as the call knows them.

    Attributes:
        sender: the party that it belongs to; None: it makes a new one.
        receiver: the party that it goes to; None if that is not known.
        same_end: all parties of the end that offers, the oldest first.
        carriers: of their dialog.
    """

    sender: Party | None = None
    receiver: Party | None = None
    same_end: Sequence[Party] = ()
    carriers: Carriers = NO_CARRIERS

    def find_met(self, branch: bytes) -> Party | None:
        """The party whose interfaces count: the sender, or the latest offer of the end that begins a branch.

        As in rtpengine, an end without Via branches stays on the interfaces that it has been met on.

        Args:
            branch: the Via branch of the offer, b"" if unknown.
        """
        if self.sender is not None or branch:
            return self.sender
        return next((party for party in reversed(self.same_end) if not party.branch), None)


class NegotiatedOffer(NamedTuple):
    """What an offer comes to.

    Attributes:
        description: the offer, with the media that are hidden from its sender.
        shared: the same, in which bundled media have the transport of their tagged one.
        options: of the command.
        interfaces: where the relay meets the two ends.
        offered: the m= lines.
        transports: see wanted_transports().
        secured: of each medium, its keys.
        muxes: what becomes of the offer of rtcp-mux, for each medium.
        bundles: what becomes of its bundles.
        ice: what becomes of its ICE.
        shown: the offer with the codecs that the receiver sees.
        unseen: indexes of the media that the relay has no sockets for, since the receiver sees them rejected.
        carriers: of its bundles that pass.
        left_out: see leave_out().
    """

    description: SessionDescription
    shared: SessionDescription
    options: OfferOptions
    interfaces: InterfacePair
    offered: list[OfferedMedium]
    transports: list[str]
    secured: list[Secured]
    muxes: list[Mux]
    bundles: OfferedBundles
    ice: NegotiatedIce
    shown: ShownSdp
    unseen: frozenset[int]
    carriers: Carriers
    left_out: str

    @property
    def warning(self) -> str:
        """What the client is told of it; "" for nothing."""
        return "; ".join(filter(None, (self.interfaces.warning, self.bundles.warning, self.shown.warning)))

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
        requests = request_ice(requests, self.ice, self._further, latching=self.options.port_latching)
        return carry(requests, self.carriers, self.description.media) if self.carriers else requests

    @property
    def _further(self) -> Sequence[Interface]:
        """Where the receiver may send beside the default; not if the client says where."""
        return () if self.options.media_address else self.interfaces.far_further

    def expected(self, requests: Sequence[MediumRequest]) -> list[MediumRequest]:
        """What the media of its answer will request; `requests` are those of the offer."""
        shares = self.bundles.shared_by_sender
        expected = expected_of(requests, self.secured, self.interfaces.near, shares=shares)
        return expect_ice(expected, self.ice, self.interfaces.near_further)

    def forward(self, groups: Sequence[SocketGroup | None], receiver: Party | None, *, mark: str) -> bytes:
        """The offer for the other end, see forward_offer()."""
        carriers = of_carriers(groups, self.carriers)
        return forward_offer(
            self.shown.description,
            # media that the receiver sees rejected may carry others
            [None if index in self.unseen else group for index, group in enumerate(carriers)],
            self.options,
            muxes=self.muxes,
            offered=self.offered,
            transports=self.transports,
            receiver=receiver,
            secured=self.secured,
            bundles=self.bundles,
            ice=self.ice,
            address=self.options.media_address or self.interfaces.far.advertised,
            further=self._further,
            mark=mark,
        )

    def note(self, sender: Party, receiver: Party | None) -> None:
        """Note at the parties what has been offered."""
        sender.mux, sender.offered = shared(tuple(self.muxes)), shared(tuple(self.offered))
        sender.bundles, sender.bundled = self.bundles.accepted, self.bundles.bundled
        sender.offered_keys = of_media([each.offered for each in self.secured])
        sender.offered_ice = of_media([each.offered for each in self.ice.media])
        keys = optional_keys(self.description, self.secured, self.options.sdes)
        sender.optional_keys = of_media(keys)
        sender.offered_dtls = of_media([each.offered_dtls for each in self.secured])
        sender.label = self.options.label or sender.label
        self.interfaces.note(sender, receiver)


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
    receiver = ends.receiver
    if receiver is not None:
        description = with_hidden(description, receiver.offered)
    kinds = options.text.removed_media
    offered = offered_media(description, kinds, sender=ends.sender, receiver=receiver)
    transports = wanted_transports(description, options, receiver)
    keyed = with_shared_transports(description)
    left_out = leave_out(keyed, transports, options)
    secured = secure_offer(
        keyed,
        transports,
        options,
        sender=ends.sender,
        same_end=ends.same_end,
        receiver=receiver,
        certificate=certificate,
    )
    bundles = bundles_of_offer(
        description, options.bundle, secured, sender=ends.sender, receiver=receiver, hidden=offered
    )
    shown = _show_offer(description, secured, options)
    rejected = shown.unseen_of(description)
    # media of a bundle that ends here go on without a codec: others have their transport
    unseen = bundles.without_transport | (rejected - bundles.accepted_media)
    unseen |= removed_media(description, kinds, offered)
    bundles = bundles.without(rejected | unseen)
    carriers: Carriers = NO_CARRIERS
    if not bundles.ends:
        gone = unseen.union(index for index, medium in enumerate(offered) if medium.hidden)
        carriers = carriers_of_offer(description, ends.carriers, gone=gone)
        new_tagged = new_tagged_media(description, gone)
        shown = shown._replace(description=with_new_tagged(shown.description, new_tagged, description))
        description = with_new_tagged(description, new_tagged, description)
    muxes = [
        bundles.mux_of(index, mux_offered(medium, options)) for index, medium in enumerate(description.media)
    ]
    tagged = tagged_media(description, bundles.accepted, agreed=receiver is not None)
    shared = share_transports(description, tagged)
    ice = ice_of_offer(
        shared,
        options,
        sender=ends.sender,
        receiver=receiver,
        converts=any(each != UNCHANGED for each in secured),
        bundled=bool(bundles.accepted or bundles.bundled),
        address=interfaces.far.address,
    )
    secured, ice = share_security(secured, ice, tagged)
    return NegotiatedOffer(
        description,
        shared,
        options,
        interfaces,
        offered,
        transports,
        secured,
        muxes,
        bundles,
        ice,
        shown,
        unseen,
        carriers,
        left_out,
    )


def _show_offer(
    description: SessionDescription, secured: Sequence[Secured], options: OfferOptions
) -> ShownSdp:
    """The offer with the suites of SRTP that passes, and the codecs, that its receiver sees."""
    passing = [index for index, each in enumerate(secured) if each == UNCHANGED]
    return show_codecs(limit_suites(description, passing, options.sdes), options, offer=True)
