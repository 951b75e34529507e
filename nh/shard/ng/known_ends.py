"""Known ends: what a call knows of the ends of an offer."""

from collections.abc import Callable, Iterator, Sequence

from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.matching import find_offerer
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.commands import Offer
from nh.sdp.description import SessionDescription
from nh.shard.ng.carriers import displaced_carriers
from nh.shard.ng.hidden_media import with_hidden
from nh.shard.ng.negotiation import announced_media
from nh.shard.ng.offer_ends import OfferEnds
from nh.shard.ng.two_forms import Forms, known_forms, read_forms


def forms_of_offer(
    participants: Participants | None, offer: Offer, description: SessionDescription
) -> Sequence[Forms]:
    """The forms of each medium of an offer, as its sender has it.

    Args:
        participants: those of the call; None: this is its first offer.
        offer: the command.
        description: its SDP.
    """
    known = () if participants is None else known_forms(participants, offer.from_tag)
    return read_forms(description, known, new=offer.options.osrtp_accept_twice)


def find_offer_ends(
    participants: Participants | None,
    offer: Offer,
    description: SessionDescription,
    forms: Sequence[Forms],
) -> OfferEnds:
    """The ends of an offer, as far as the call knows them.

    Bundles keep their sockets where the place of their carrier is offered again for another medium.

    Args:
        participants: those of the call; None: this is its first offer.
        offer: the command.
        description: its SDP, with one form of each medium.
        forms: see forms_of_offer().
    """
    if participants is None:
        return OfferEnds(forms=forms)
    media = announced_media(description, offer.options)
    sender = find_offerer(participants, offer.from_tag, offer.to_tag, offer.via_branch, media)
    same_end = participants.with_tag(offer.from_tag)
    dialog = participants.find_joint(sender, offer.to_tag) if sender is not None else None
    if dialog is None:
        return OfferEnds(sender, None, same_end, forms=forms)
    receiver = dialog.party_with(offer.to_tag)
    exchanges = list(_exchange_carriers(participants, dialog, receiver, description))
    receiver_forms = known_forms(participants, offer.to_tag)
    return OfferEnds(sender, receiver, same_end, dialog.carriers, forms, receiver_forms, exchanges)


def _exchange_carriers(
    participants: Participants, dialog: Dialog, receiver: Party, description: SessionDescription
) -> Iterator[Callable[[], None]]:
    """Let the media at the places of carriers have their sockets; gives what takes each exchange back."""
    if not dialog.carriers:
        return
    seen = with_hidden(description, receiver.offered)  # carriers are known by these places
    for carrier, medium in displaced_carriers(seen, dialog.carriers):
        exchange = participants.exchange_media(dialog, carrier, medium)
        if exchange is not None:
            yield exchange
