"""Negotiated offers and answers: all that one SDP and a client's options come to, before anything changes.

Signalling reads an SDP, has it negotiated here, gives the requests to the domain, and forwards the SDP with
the sockets that the domain has for them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.offer_answer.party import MediumRequest, Mux, OfferedMedium, Party
from nh.calls.socket_group import SocketGroup
from nh.commands import OfferOptions
from nh.sdp.description import SessionDescription
from nh.shard.ng.forwarded_sdp import forward_answer, forward_offer
from nh.shard.ng.hidden_media import offered_media, with_hidden
from nh.shard.ng.interface_choice import InterfacePair
from nh.shard.ng.negotiation import (
    expected_of,
    mux_offered,
    padded,
    requests_of_answer,
    requests_of_offer,
    wanted_transport,
)
from nh.shard.ng.sdes import Secured, secure_answer, secure_offer


class OfferEnds(NamedTuple):
    """The ends of an offer, as far as the call knows them.

    Attributes:
        sender: the party that it belongs to; None: it makes a new one.
        receiver: the party that it goes to; None if that is not known.
        same_end: all parties of the end that offers, the oldest first.
    """

    sender: Party | None = None
    receiver: Party | None = None
    same_end: Sequence[Party] = ()

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
        options: of the command.
        interfaces: where the relay meets the two ends.
        offered: the m= lines.
        secured: of each medium, its keys.
        muxes: what becomes of the offer of rtcp-mux, for each medium.
    """

    description: SessionDescription
    options: OfferOptions
    interfaces: InterfacePair
    offered: list[OfferedMedium]
    secured: list[Secured]
    muxes: list[Mux]

    @property
    def requests(self) -> list[MediumRequest]:
        """What its media request of the relay.

        Raises:
            IncompleteSdp: a medium has no address.
        """
        return requests_of_offer(
            self.description, self.offered, self.secured, self.options, self.interfaces.far
        )

    def expected(self, requests: Sequence[MediumRequest]) -> list[MediumRequest]:
        """What the media of its answer will request; `requests` are those of the offer."""
        return expected_of(requests, self.secured, self.interfaces.near)

    def forward(self, groups: Sequence[SocketGroup | None], receiver: Party | None, *, mark: str) -> bytes:
        """The offer for the other end, see forward_offer()."""
        return forward_offer(
            self.description,
            groups,
            self.options,
            muxes=self.muxes,
            offered=self.offered,
            receiver=receiver,
            secured=self.secured,
            address=self.options.media_address or self.interfaces.far.advertised,
            mark=mark,
        )

    def note(self, sender: Party, receiver: Party | None) -> None:
        """Note at the parties what has been offered."""
        sender.mux, sender.offered = self.muxes, self.offered
        sender.offered_keys = [each.offered for each in self.secured]
        sender.label = self.options.label or sender.label
        self.interfaces.note(sender, receiver)


def negotiate_offer(
    description: SessionDescription, options: OfferOptions, interfaces: InterfacePair, ends: OfferEnds
) -> NegotiatedOffer:
    """What an offer comes to.

    Raises:
        Unsupported: it needs SRTP, and `cryptography` is not installed.
    """
    receiver = ends.receiver
    if receiver is not None:
        description = with_hidden(description, receiver.offered)
    return NegotiatedOffer(
        description,
        options,
        interfaces,
        offered_media(description, options.text.removed_media, receiver),
        secure_offer(
            description,
            wanted_transport(options),
            options.sdes,
            sender=ends.sender,
            same_end=ends.same_end,
            receiver=receiver,
        ),
        [mux_offered(medium, options) for medium in description.media],
    )


class NegotiatedAnswer(NamedTuple):
    """What an answer comes to.

    Attributes:
        description: the answer, with the media that are hidden from its sender.
        options: of the command.
        offerer: whose offer it answers.
        near: where the relay meets the offerer.
        secured: of each medium, its keys.
        muxes: of each medium, whether the offerer and whether the answerer sends RTCP on its RTP port.
    """

    description: SessionDescription
    options: OfferOptions
    offerer: Party
    near: Interface
    secured: list[Secured]
    muxes: list[tuple[bool, bool]]

    @property
    def requests(self) -> list[MediumRequest]:
        """What its media request of the relay.

        Raises:
            IncompleteSdp: a medium has no address.
        """
        return requests_of_answer(
            self.description, self.muxes, self.secured, self.options, self.near, offerer=self.offerer
        )

    def forward(self, groups: Sequence[SocketGroup | None], *, mark: str) -> bytes:
        """The answer for the offerer, see forward_answer()."""
        return forward_answer(
            self.description,
            groups,
            self.options,
            offerer=self.offerer,
            muxes=self.muxes,
            secured=self.secured,
            address=self.options.media_address or self.near.advertised,
            mark=mark,
        )


def negotiate_answer(
    description: SessionDescription,
    options: OfferOptions,
    near: Interface,
    *,
    offerer: Party,
    answerer: Party | None,
) -> NegotiatedAnswer:
    """What an answer comes to.

    Args:
        description: the answer as it came.
        options: of the command.
        near: where the relay meets the offerer.
        offerer: whose offer it answers.
        answerer: who answers; None: it is new.

    Raises:
        UnusableSdp: it takes no key that was offered.
    """
    description = with_hidden(description, offerer.offered)
    offered = padded(offerer.mux, len(description.media))
    muxes = [mux.answered(medium.rtcp_mux) for medium, mux in zip(description.media, offered, strict=True)]
    secured = secure_answer(description, options.sdes, offerer=offerer, answerer=answerer)
    return NegotiatedAnswer(description, options, offerer, near, secured, muxes)
