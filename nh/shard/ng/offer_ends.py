"""The ends of an offer: what the call knows of who offers, and of who will be offered to."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nh.calls.offer_answer.agreement import NO_CARRIERS, Carriers
from nh.calls.offer_answer.party import Party
from nh.shard.ng.two_forms import Forms


class OfferEnds(NamedTuple):
    """The ends of an offer, as far as the call knows them.

    Attributes:
        sender: the party that it belongs to; None: it makes a new one.
        receiver: the party that it goes to, if that end has answered before; None if that is not known.
        same_end: all parties of the end that offers, the oldest first: a new one may go on with the keys of
            another.
        carriers: of their dialog.
        forms: of each medium of the offer, as the sender has it (nh.shard.ng.two_forms).
        receiver_forms: of each medium, as the receiver has it.
        exchanges: what takes back that media have exchanged their sockets for the offer, the latest last.
    """

    sender: Party | None = None
    receiver: Party | None = None
    same_end: Sequence[Party] = ()
    carriers: Carriers = NO_CARRIERS
    forms: Sequence[Forms] = ()
    receiver_forms: Sequence[Forms] = ()
    exchanges: Sequence[Callable[[], None]] = ()

    @property
    def dscp(self) -> int | None:
        """The DiffServ code point of what the sender's media send, 0 to 63; None: that of the settings."""
        parties = [party for party in (self.sender, *reversed(self.same_end)) if party is not None]
        return next((group.dscp for party in parties for group in party.groups if group is not None), None)

    def take_back(self) -> None:
        """The offer is refused: media have the sockets that they had before it."""
        for exchange in reversed(self.exchanges):
            exchange()

    def find_met(self, branch: bytes) -> Party | None:
        """The party whose interfaces count: the sender, or the latest offer of the end that begins a branch.

        As in rtpengine, an end without Via branches stays on the interfaces that it has been met on.

        Args:
            branch: the Via branch of the offer, b"" if unknown.
        """
        if self.sender is not None or branch:
            return self.sender
        return next((party for party in reversed(self.same_end) if not party.branch), None)
