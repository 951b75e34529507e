"""Offers: the parties and dialogs of one call, and the rules of offer and answer (those of rtpengine).

An offer is applied at once, as rtpengine does; nh.calls.offer_answer.announcing says what becomes of what was
agreed before.
"""

import math
from collections.abc import Callable, Sequence

from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Block, Side
from nh.calls.offer_answer import expiry
from nh.calls.offer_answer.accepted_bundle import share_transports
from nh.calls.offer_answer.agreement import OWN_TRANSPORTS, Agreement
from nh.calls.offer_answer.announcing import Announcer
from nh.calls.offer_answer.deletion import cancel_delete, delete_due, schedule
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.early import early_dialog_of, relay_early
from nh.calls.offer_answer.matching import find_offerer
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.opening import Opening
from nh.calls.offer_answer.participants import Participants
from nh.calls.offer_answer.party import Party
from nh.calls.offer_answer.untagged import Answered, take_over
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup
from nh.errors import LimitReached, PortsExhausted, UnknownCall, WrongDialog

Prepare = Callable[[Sequence[SocketGroup | None], Party | None], None]
"""What a protocol does when ports are open and nothing has changed yet: nothing changes if it raises.

It gets the groups of the SDP, and the party that the SDP goes to, None if that is not known."""


class Offers:
    """Offer and answer within one call.

    Args:
        resources: sockets, limits and media plane.

    Attributes:
        participants: parties and dialogs of the call.
        last_signal: monotonic seconds of the last offer or answer.
        delete_at: monotonic seconds at which a delete ends the whole call; infinite without one.
    """

    __slots__ = ("_resources", "delete_at", "last_signal", "participants")

    def __init__(self, resources: CallResources) -> None:
        self._resources = resources
        self.participants = Participants(resources)
        self.last_signal = 0.0
        self.delete_at = math.inf

    @property
    def _announcer(self) -> Announcer:  # made when it is needed: it takes as much memory as what it knows
        return Announcer(self._resources, self.participants)

    @property
    def parties(self) -> tuple[Party, ...]:
        """The parties of the call."""
        return self.participants.parties

    @property
    def dialogs(self) -> tuple[Dialog, ...]:
        """The established dialogs."""
        return self.participants.dialogs

    @property
    def is_empty(self) -> bool:
        """Whether no party is left."""
        return not self.parties

    @property
    def running(self) -> list[Session]:
        """All sessions that relay."""
        found: list[Session] = []
        for dialog in self.participants.all_dialogs:
            found += dialog.all_sessions
        return found

    @property
    def groups(self) -> list[SocketGroup]:
        """All socket groups of all parties, and of those that will answer."""
        return self.participants.groups

    def offer(
        self,
        *,
        from_tag: bytes,
        to_tag: bytes,
        branch: bytes,
        requests: list[MediumRequest],
        expected: Sequence[MediumRequest] = (),
        policy: SourcePolicy | None,
        prepare: Prepare | None = None,
        now: float,
    ) -> Party:
        """Apply an offer.

        Args:
            from_tag: the tag of the offerer.
            to_tag: the tag of the other end, b"" if unknown.
            branch: the Via branch that the offer goes out on, b"" if unknown.
            requests: one for each medium of the offer.
            expected: what the answer is expected to ask for. Its sockets are opened with a first offer, so
                that the answer finds room and media may arrive before it.
            policy: source policy for packets from the offerer; None: the setting's.
            prepare: see Prepare.
            now: monotonic seconds.

        Returns:
            The offerer: the party that made the offer, with its groups.

        Raises:
            PortsExhausted, AddressUnavailable: then nothing has changed.
            LimitReached: the same, and the call has no offers yet: limits refuse new calls, no branches.
        """
        media = [request.media for request in requests]
        known = find_offerer(self.participants, from_tag, to_tag, branch, media)
        party = known or Party(from_tag, Side.FROM, branch=branch, now=now)
        dialog = self.participants.find_joint(party, to_tag)
        early = early_dialog_of(self.participants, party, now=now) if expected else None
        ready: Sequence[SocketGroup | None] = ()
        with Opening(self._resources, now=now) as opening:
            groups = self._open_groups(opening, party, requests)
            if early is not None:
                ready = self._open_groups(opening, early.callee, expected)
            if prepare is not None:
                prepare(groups, early.callee if early else self.participants.find_receiver(party, to_tag))
        # nothing fails from here on
        if known is None:
            self.participants.add(party, now=now)
        elif not to_tag:
            self.participants.open_to_others(party, now=now)
        if dialog is not None:
            party, groups = self._split(dialog, party, groups, now=now)
        self._signalled(party, now=now)
        announcer = self._announcer
        announcer.announce(party, groups, requests, policy, now=now)
        party.waiting_since = now
        if early is not None:
            relay_early(announcer, early, ready, expected, now=now)
        if dialog is not None:
            dialog.branch = branch or dialog.branch
        return party

    def answer(
        self,
        answered: Answered,
        *,
        to_tag: bytes,
        branch: bytes,
        requests: list[MediumRequest],
        policy: SourcePolicy | None,
        agreement: Agreement = OWN_TRANSPORTS,
        prepare: Prepare | None = None,
        now: float,
    ) -> Dialog:
        """Apply the answer of `to_tag` to the offer of a party, and relay media between the two.

        Args:
            answered: the offer, see matching.find_answered().
            to_tag: the tag of the answerer.
            branch: the Via branch that the offer arrived on, b"" if unknown.
            requests: one for each medium of the answer.
            policy: source policy for packets from the answerer; None: the setting's.
            agreement: on the transports of the media.
            prepare: see Prepare.
            now: monotonic seconds.

        Returns:
            The dialog of the two. Its offerer is another party than before if other ends may still answer the
            offer, see Participants.split_for().

        Raises:
            WrongDialog: both tags are the same.
            PortsExhausted, AddressUnavailable: then nothing has changed.
        """
        offerer = answered.offerer
        if offerer.tag == to_tag:
            raise WrongDialog("an end cannot answer its own offer")
        dialog = (
            answered.dialog
            or self.participants.find_early(offerer)
            or Dialog(offerer, Party(to_tag, Side.TO, now=now), branch=branch, now=now)
        )
        answerer = dialog.party_with(to_tag)
        with Opening(self._resources, now=now) as opening:
            groups = self._open_groups(opening, answerer, requests)
            if prepare is not None:
                prepare(groups, offerer)
        # nothing fails from here on
        announcer = self._announcer
        if answered.untagged is not None:
            offerer = take_over(announcer, dialog, answered, now=now)
        answerer, groups = self._split(dialog, answerer, groups, now=now)
        self.participants.establish(dialog, to_tag, offerer=offerer, now=now)
        dialog.branch = branch or dialog.branch
        for party in (offerer, answerer):
            self._signalled(party, now=now)
        of_offerer, of_answerer = agreement.bundles
        offerer = share_transports(announcer, dialog, offerer, of_answerer, now=now)
        announcer.apply_security(offerer, of_offerer)
        announcer.end_changed(offerer, requests, now=now)
        announcer.announce(answerer, groups, requests, policy, completes=dialog, now=now)
        announcer.apply_pending(offerer, now=now)
        self._commit(dialog, now=now)
        dialog.agree(self._resources, agreement, offerer=offerer)
        return dialog

    def block(self, tag: bytes, what: Block = Block.MEDIA, *, blocked: bool) -> None:
        """Stop or resume forwarding what one party sends (b"": what all parties send).

        Args:
            tag: the party's.
            what: one does not change the others.
            blocked: whether to stop.

        Raises:
            UnknownCall: no party has this tag.
        """
        chosen = [party for party in self.parties if tag in (b"", party.tag)]
        if not chosen:
            raise UnknownCall("no party of the call has this tag")
        for party in chosen:
            party.block(what, blocked=blocked)
        for dialog in self.participants.all_dialogs:
            dialog.block(self._resources)

    def delete(self, *, from_tag: bytes, to_tag: bytes, branch: bytes, at: float, now: float) -> None:
        """Delete dialogs, and the parties that have none left, unless an offer or answer comes before.

        Args:
            from_tag: the tag of one end; b"" for the whole call.
            to_tag: the tag of the other end; b"" for any.
            branch: a Via branch, see nh.calls.offer_answer.deletion.
            at: monotonic seconds of the deletion.
            now: monotonic seconds.

        Raises:
            UnknownCall: nothing matches.
        """
        if from_tag:
            schedule(self.participants, from_tag=from_tag, to_tag=to_tag, branch=branch, at=at)
        else:
            self.delete_at = min(self.delete_at, at)
        self._delete_due(now=now)

    def withdraw(self, party: Party, *, now: float) -> None:
        """Remove a party whose offer found no ports, unless a dialog began with it."""
        if party in self.parties and not self.participants.is_answered(party):
            self.participants.close_party(party, now=now)

    def delete_offered(self, offerers: Sequence[Party], *, now: float) -> None:
        """Delete what some parties have offered first: they, their dialogs, and the parties of only these."""
        for party in offerers:
            party.delete_at = now
            for dialog in self.dialogs:
                if dialog.caller is party:
                    dialog.delete_at = now
        delete_due(self.participants, now=now)

    def close(self, *, now: float) -> None:
        """End everything."""
        self.delete_at = math.inf
        self.participants.close_all(now=now)

    def expire(self, *, now: float) -> float:
        """End what has been deleted, or is silent, and is due.

        Returns:
            See next_expiry().
        """
        next_expiry = self.next_expiry(now=now)
        if now < next_expiry:  # as of most calls, which are alive when their time comes
            self.participants.close_all_superseded()  # what a dialog used that gave way to another
            return next_expiry
        self._delete_due(now=now)
        expiry.expire(self.participants, self._resources, delete_at=self.delete_at, now=now)
        return self.next_expiry(now=now)

    def next_expiry(self, *, now: float) -> float:
        """Monotonic seconds before which nothing of this can expire; see nh.calls.offer_answer.expiry."""
        return min(self.delete_at, expiry.next_expiry(self.participants, self._resources.settings, now=now))

    def expires_at(self, party: Party) -> float:
        """Monotonic seconds at which the media of a party end unless a packet arrives."""
        return expiry.expires_at(self.participants, party, self._resources.settings)

    def _open_groups(
        self, opening: Opening, party: Party, requests: Sequence[MediumRequest]
    ) -> Sequence[SocketGroup | None]:
        try:
            return opening.open_groups(party, requests)
        except LimitReached as exc:
            if self.is_empty:
                raise
            raise PortsExhausted(str(exc)) from exc

    def _split(
        self, dialog: Dialog, party: Party, groups: Sequence[SocketGroup | None], *, now: float
    ) -> tuple[Party, list[SocketGroup | None]]:
        """See Participants.split_for(); with the groups of the split party in the place of those it had."""
        own = self.participants.split_for(dialog, party, now=now)
        if own is party:
            return own, list(groups)
        shared = dict(zip(party.all_groups, own.all_groups, strict=True))
        return own, [shared.get(group, group) for group in groups]

    def _delete_due(self, *, now: float) -> None:
        if now >= self.delete_at:
            self.close(now=now)
            return
        delete_due(self.participants, now=now)

    def _commit(self, agreed: Dialog, *, now: float) -> None:
        """End the offers of two parties that have agreed, and what the agreement replaces."""
        for party in (agreed.caller, agreed.callee):
            party.waiting_since = None
            self.participants.drop_early(party, now=now)
        agreed.commit(self._resources, now=now)
        self.participants.close_all_superseded()

    def _signalled(self, party: Party, *, now: float) -> None:
        """Note that a party signals: it cancels the delayed deletes of the call, and of what it is in."""
        self.last_signal = now
        self.delete_at = math.inf
        cancel_delete(self.participants, party)
