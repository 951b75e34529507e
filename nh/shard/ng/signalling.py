"""Signalling: the commands of ng, carried out on the calls. SDP comes in and leaves with the relay's ports.

What an SDP requests (holds, relayed media, keys) and what the other end gets is decided in
nh.shard.ng.negotiated_offer and negotiated_answer.
The domain decides what becomes of calls (nh.calls.offer_answer.offers).
"""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.media import Block
from nh.calls.offer_answer.agreement import NO_CARRIERS
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.matching import find_answered, tag_of_offerer
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.offer_answer.selection import tag_at_address, tag_with_label
from nh.calls.offer_answer.untagged import Answered
from nh.calls.sockets.group import SocketGroup
from nh.calls.table import CallTable
from nh.commands import (
    DEFAULT_DTLS,
    DEFAULT_SDES,
    Answer,
    BlockMedia,
    Delete,
    NgCommand,
    Offer,
    OfferOptions,
    Query,
)
from nh.errors import PortsExhausted
from nh.printable import short_id
from nh.results import Blocked, Queried, RelayResult, Rewritten
from nh.sdp.description import SessionDescription
from nh.shard.ng.agreed_transports import note_transports
from nh.shard.ng.bundle_transports import with_shared_transports
from nh.shard.ng.certificates import Certificates
from nh.shard.ng.forwarded_sdp import forward_answer, forward_offer
from nh.shard.ng.interface_choice import InterfaceChoice, note_answerer
from nh.shard.ng.known_ends import find_offer_ends, forms_of_offer
from nh.shard.ng.negotiated_answer import NegotiatedAnswer, negotiate_answer
from nh.shard.ng.negotiated_offer import NegotiatedOffer, negotiate_offer
from nh.shard.ng.negotiation import (
    leave_out,
    policy_for,
    read_sdp,
)
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.peer_address import held_family, known_family, said_family, told_family
from nh.shard.ng.queries import query_call
from nh.shard.ng.srtp_means import wanted_transport
from nh.shard.ng.targets import Targets
from nh.shard.ng.two_forms import with_one_form

UNKNOWN_FROM_TAG: Final = (
    "from-tag: no end of the call has it; the answer is taken as one to the only other end, '{}'"
)
"""The warning of an answer whose `from-tag` is unknown, with the tag of the end that is taken."""


class Signalling:
    """Offers and answers of one relay.

    Args:
        table: the calls.
        interfaces: where the relay receives, the default first; without any, offers are refused.
    """

    def __init__(self, table: CallTable, interfaces: Sequence[Interface]) -> None:
        self._table = table
        self._interfaces = InterfaceChoice(interfaces)
        self._certificates = Certificates()
        self._targets = Targets(table)
        # for loop protection: all shards of a relay have the same mark, other relays have others
        self._mark = "-".join(each.advertised.replace(":", ".") for each in interfaces)

    def execute(self, command: NgCommand) -> RelayResult:
        """Carry out a command of ng.

        Raises:
            UnknownCall, UnusableSdp, IncompleteSdp, WrongDialog, Unsupported, LimitReached, PortsExhausted,
            AddressUnavailable.
        """
        match command:
            case Offer():
                return self._targets.note(command, self.offer(command))
            case Answer():
                return self._targets.note(command, self.answer(command))
            case Delete():
                return self._delete(command)
            case Query():
                return self._query(command.call_id, command.from_tag, detailed=True)
            case BlockMedia():
                self._block(command)
                return Blocked()

    def offer(self, command: Offer) -> Rewritten:
        """The offer with the relay's ports, for the other party.

        A branch for which there are no ports is removed if it is unanswered; an answered one goes on.

        Raises:
            UnusableSdp, IncompleteSdp, Unsupported, and the errors of CallTable.offer.
        """
        if _changes_nothing(command):
            return Rewritten(b"")
        description = read_sdp(command.sdp, command.options)
        if self._is_looped(description, command.options):
            return Rewritten(command.sdp)
        participants = self._find_participants(command.call_id)
        forms = forms_of_offer(participants, command, description)
        description = with_one_form(description, forms)
        ends = find_offer_ends(participants, command, description, forms)
        try:
            return self._offer_between(command, description, ends)
        except BaseException:
            ends.take_back()
            raise

    def _offer_between(self, command: Offer, description: SessionDescription, ends: OfferEnds) -> Rewritten:
        met = ends.find_met(command.via_branch)
        said = said_family(description, command.options)
        interfaces = self._interfaces.for_offer(
            command.options,
            held_family(description),
            met,
            ends.receiver,
            said=said,
            told=said or told_family(description, command.options),  # what it says, it tells first
            known=known_family(met),
            call_id=command.call_id,
        )
        negotiated = negotiate_offer(
            description, command.options, interfaces, ends, certificate=self._certificates.current
        )
        sdp, sender = self._apply_offer(command, negotiated, ends.sender)
        negotiated.note(sender, ends.receiver)
        self._block_dtmf(command, command.from_tag)
        left_out = "; ".join(filter(None, (negotiated.left_out, negotiated.shown.left_out)))
        return Rewritten(sdp, negotiated.warning, left_out)

    def _apply_offer(
        self, command: Offer, negotiated: NegotiatedOffer, known: Party | None
    ) -> tuple[bytes, Party]:
        """Change the call by an offer; returns the SDP for the other end, and the offerer."""
        now = time.monotonic()
        requests = negotiated.requests
        forwarded: list[bytes] = []

        def forward(groups: Sequence[SocketGroup | None], receiver: Party | None) -> None:
            forwarded.append(forward_offer(negotiated, groups, receiver, mark=self._mark))

        try:
            sender = self._table.offer(
                call_id=command.call_id,
                from_tag=command.from_tag,
                to_tag=command.to_tag,
                branch=command.via_branch,
                requests=requests,
                expected=negotiated.expected(requests),
                policy=policy_for(command.options, self._table.resources.settings.policy),
                prepare=forward,
                now=now,
            )
        except PortsExhausted:
            # as rtpengine; other branches go on, and so does an answered call (RFC 3261 14.1)
            if known is not None:
                self._table.withdraw(call_id=command.call_id, party=known, now=now)
            raise
        (sdp,) = forwarded
        return sdp, sender

    def answer(self, command: Answer) -> Rewritten:
        """The answer with the relay's ports, for the offerer.

        Raises:
            UnknownCall, and the errors of offer().
        """
        if _changes_nothing(command):
            return Rewritten(b"")
        description = read_sdp(command.sdp, command.options)
        if self._is_looped(description, command.options):
            return Rewritten(command.sdp)
        now = time.monotonic()
        offers = self._table.get_call(command.call_id).get_offers(now=now)
        from_tag = tag_of_offerer(offers.participants, command.from_tag, command.to_tag)
        answered = find_answered(offers.participants, from_tag, command.to_tag, command.via_branch)
        offerer, joint = answered.offerer, answered.dialog
        description = with_one_form(description, offerer.relay_offer.forms)
        wanted = [wanted_transport(command.options)] * len(description.media)
        decided = command.options  # but for SRTP: the offer has decided how its sender has that
        if decided.sdes is not DEFAULT_SDES or decided.dtls is not DEFAULT_DTLS:
            decided = msgspec.structs.replace(decided, sdes=DEFAULT_SDES, dtls=DEFAULT_DTLS)
        left_out = leave_out(with_shared_transports(description), wanted, decided)
        near = self._interfaces.for_answer(command.options, offerer)
        negotiated = negotiate_answer(
            description,
            command.options,
            near,
            self._interfaces.beside(near),
            offerer=offerer,
            answerer=joint.party_with(command.to_tag) if joint is not None else None,
            agreed=joint.carriers if joint is not None else NO_CARRIERS,
        )
        sdp, dialog = self._apply_answer(command, offers, answered, negotiated, now=now)
        offerer, answerer = dialog.party_with(from_tag), dialog.party_with(command.to_tag)
        answerer.label = command.options.label or answerer.label
        answerer.bundles, answerer.forms = negotiated.bundles.answerer, offerer.relay_offer.forms
        note_answerer(answerer, offerer, near)
        answerer.family = answerer.family or told_family(description, command.options)
        note_transports(
            negotiated.description,
            negotiated.muxes,
            ice_passes=negotiated.ice_passes,
            offerer=offerer,
            answerer=answerer,
        )
        self._block_dtmf(command, command.to_tag)
        unknown = "" if from_tag == command.from_tag else UNKNOWN_FROM_TAG.format(short_id(from_tag))
        return Rewritten(sdp, "; ".join(filter(None, (unknown, negotiated.warning))), left_out)

    def _apply_answer(
        self,
        command: Answer,
        offers: Offers,
        answered: Answered,
        negotiated: NegotiatedAnswer,
        *,
        now: float,
    ) -> tuple[bytes, Dialog]:
        """Change the call by an answer; returns the SDP for the offerer, and the dialog."""
        forwarded: list[bytes] = []

        def forward(groups: Sequence[SocketGroup | None], _receiver: Party | None) -> None:
            forwarded.append(forward_answer(negotiated, groups, mark=self._mark))
            negotiated.note()

        try:
            dialog = offers.answer(
                answered,
                to_tag=command.to_tag,
                branch=command.via_branch,
                requests=negotiated.requests,
                policy=policy_for(command.options, self._table.resources.settings.policy),
                agreement=negotiated.agreement,
                prepare=forward,
                now=now,
            )
        except PortsExhausted:
            self._table.withdraw(call_id=command.call_id, party=negotiated.offerer, now=now)
            raise
        (sdp,) = forwarded
        return sdp, dialog

    # --- SDP --------------------------------------------------------------------------------------

    def _is_looped(self, description: SessionDescription, options: OfferOptions) -> bool:
        return options.loop_protect and self._mark in description.marks

    def _block(self, command: BlockMedia) -> None:
        offers, tag = self._offers(command.call_id), command.from_tag
        if command.label:
            tag = tag_with_label(offers.participants, command.label)
        elif command.address:
            tag = tag_at_address(offers.participants, command.address)
        offers.block(tag, command.what, blocked=command.blocked)

    def _block_dtmf(self, command: Offer | Answer, sender: bytes) -> None:
        """Drop the DTMF events of the sender of an SDP from now on, if its options say so."""
        if command.options.block_dtmf:
            self._offers(command.call_id).block(sender, Block.DTMF, blocked=True)

    # --- calls ------------------------------------------------------------------------------------

    def _delete(self, command: Delete) -> Queried:
        """End dialogs or the call; returns the statistics of the call until then."""
        known = self._query(command.call_id, b"", detailed=False)
        self._table.delete(
            call_id=command.call_id,
            from_tag=command.from_tag,
            to_tag=command.to_tag,
            branch=command.via_branch,
            delay_s=command.delay_s,
            now=time.monotonic(),
        )
        return known

    def _query(self, call_id: bytes, from_tag: bytes, *, detailed: bool) -> Queried:
        call = self._table.get_call(call_id)
        call.note(now=time.monotonic())
        return query_call(
            call.get_offers(now=time.monotonic()),
            created=call.created,
            from_tag=from_tag,
            wall_offset_s=time.time() - time.monotonic(),
            detailed=detailed,
        )

    def _find_participants(self, call_id: bytes) -> Participants | None:
        """Those of a call; None: it has none, as before its first offer."""
        call = self._table.find_call(call_id)
        return None if call is None or call.offers is None else call.offers.participants

    def _offers(self, call_id: bytes) -> Offers:
        return self._table.get_call(call_id).get_offers(now=time.monotonic())


def _changes_nothing(command: Offer | Answer) -> bool:
    """Whether an SDP has nothing for the relay.

    That of an INVITE without SDP is empty: the offer follows in its response. A fragment has further
    candidates (RFC 8840), of no use to a relay that sends no checks.
    """
    return not command.sdp or command.options.fragment
