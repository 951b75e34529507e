"""Participants of one call: parties, dialogs between them, early dialogs.

This module has and removes them; nh.calls.offer_answer.matching finds the one that a message belongs to, and
nh.calls.offer_answer.offers has the rules of offer and answer.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.calls.origin import SentOrigin
from nh.calls.resources import CallResources
from nh.calls.sockets.group import SocketGroup

MAX_PARTIES: Final = 256
"""Most parties of one call: forks and hunting need some, and a client may invent tags and branches."""

T = TypeVar("T")


class Participants:
    """Parties and dialogs of one call.

    Args:
        resources: sockets, limits and media plane.

    Attributes:
        parties: those that have a tag, the oldest first. An end has one for each branch that it offers
            on, and one for each of its dialogs with other ends.
        dialogs: the established ones, the oldest first.
        early: the dialogs between an offerer and the party that will answer its first offer. That party has
            no tag yet and is not among `parties`, but has sockets and may send media already.
    """

    __slots__ = ("_resources", "dialogs", "early", "parties")

    def __init__(self, resources: CallResources) -> None:
        self._resources = resources
        self.parties: tuple[Party, ...] = ()
        self.dialogs: tuple[Dialog, ...] = ()
        self.early: tuple[Dialog, ...] = ()

    # --- look-ups ---------------------------------------------------------------------------------

    def with_tag(self, tag: bytes) -> list[Party]:
        """The parties of one end, the oldest first."""
        return [party for party in self.parties if party.tag == tag]

    def find_dialog(self, one: bytes, other: bytes, branch: bytes = b"") -> Dialog | None:
        """The established dialog between two tags, None if there is none.

        Of several, the one on `branch` comes first, then the last one that was signalled.
        """
        if not self.dialogs:  # as before each first answer
            return None
        between = [dialog for dialog in self.dialogs if dialog.tags == {one, other}]
        return max(between, key=lambda each: (each.branch == branch, each.signalled), default=None)

    def find_joint(self, party: Party, tag: bytes) -> Dialog | None:
        """The established dialog of a party with the end that has this tag, None if there is none."""
        for dialog in self.dialogs:
            if dialog.has(party) and tag in dialog.tags:
                return dialog
        return None

    def find_early(self, offerer: Party) -> Dialog | None:
        """The early dialog of an offerer, None if it has none."""
        for dialog in self.early:
            if dialog.caller is offerer:
                return dialog
        return None

    def find_receiver(self, offerer: Party, tag: bytes) -> Party | None:
        """The party that an offer goes to: that with this tag, or the one that will answer a first offer."""
        dialog = self.find_joint(offerer, tag)
        if dialog is not None:
            return dialog.party_with(tag)
        early = self.find_early(offerer)
        return early.callee if early is not None else None

    def find_origin_sent_by(self, tag: bytes) -> SentOrigin | None:
        """The origin of the SDPs that an end has offered to others so far; it stays for those that come."""
        callees = [dialog.callee for dialog in self.dialogs if dialog.caller.tag == tag]
        return next((callee.sent_origin for callee in callees if callee.sent_origin), None)

    def has_dialog(self, party: Party) -> bool:
        """Whether a party is in an established dialog."""
        return bool(self.dialogs) and any(dialog.has(party) for dialog in self.dialogs)

    def is_answered(self, party: Party) -> bool:
        """Whether a party has an established dialog, or one has begun with its offer."""
        return self.has_dialog(party) or bool(self.splits_of(party))

    def splits_of(self, party: Party) -> list[Party]:
        """The parties that a party has become in single dialogs."""
        if len(self.parties) < 2:  # it may be the only one
            return []
        return [each for each in self.parties if each.split_from is party]

    def dialogs_of(self, party: Party) -> list[Dialog]:
        """The established and early dialogs of a party."""
        return [dialog for dialog in self.all_dialogs if dialog.has(party)]

    @property
    def all_dialogs(self) -> list[Dialog]:
        """The established dialogs, then the early ones."""
        return [*self.dialogs, *self.early]

    @property
    def all_parties(self) -> list[Party]:
        """The parties, then those that will answer, in the order of their offers."""
        return [*self.parties, *(dialog.callee for dialog in self.early)]

    @property
    def groups(self) -> list[SocketGroup]:
        """All socket groups of all parties, and of those that will answer."""
        found: list[SocketGroup | None] = []
        for party in self.parties:
            found += party.groups
            if party.superseded:
                found += [group for _, group in party.superseded]
        for dialog in self.early:
            found += dialog.callee.groups
        return [group for group in found if group is not None]

    @property
    def deletable(self) -> tuple[Dialog | Party, ...]:
        """Everything that has a `delete_at`."""
        return (*self.dialogs, *self.parties)

    @property
    def without_dialog(self) -> list[Party]:
        """The parties that are in no established dialog."""
        engaged = {id(party) for dialog in self.dialogs for party in (dialog.caller, dialog.callee)}
        return [party for party in self.parties if id(party) not in engaged]

    # --- changes ----------------------------------------------------------------------------------

    def add(self, party: Party, *, sparing: Party | None = None, now: float) -> None:
        """Add a party, for which another one may give way.

        Args:
            party: the new one.
            sparing: gives no way.
            now: monotonic seconds.
        """
        if len(self.parties) >= MAX_PARTIES:
            self._give_way(sparing, now=now)
        self.parties += (party,)

    def establish(self, dialog: Dialog, tag: bytes, *, offerer: Party, now: float) -> None:
        """Let a dialog be an established one: an early one, or a new one, if it is not one already.

        Args:
            dialog: the dialog.
            tag: of its answerer.
            offerer: the other party of it.
            now: monotonic seconds.
        """
        if dialog in self.dialogs:
            return
        if dialog in self.early:
            self.early = _without(self.early, dialog)
            # the first answerer takes over the sockets that were kept for it
            dialog.callee.set_tag(tag)
            for session in dialog.all_sessions:
                session.created = now
        else:
            dialog.callee.sent_origin = self.find_origin_sent_by(offerer.tag)
        self.add(dialog.callee, sparing=offerer, now=now)
        self.dialogs += (dialog,)

    def exchange_media(self, dialog: Dialog, one: int, other: int) -> Callable[[], None] | None:
        """See Dialog.exchange_media(); nothing changes where a party has other dialogs, or may get some."""
        alone = all(self.dialogs_of(each) == [dialog] for each in (dialog.caller, dialog.callee))
        if dialog.caller.single and alone and dialog in self.dialogs:
            return dialog.exchange_media(one, other)
        return None

    def split_for(self, dialog: Dialog, party: Party, *, now: float) -> Party:
        """The party that an end has in a dialog in which it signals again.

        The other ends that have answered, or will answer, the offer with which the dialog began know what
        the end announced then.

        Args:
            dialog: the dialog.
            party: one of its two.
            now: monotonic seconds.
        """
        if party.single or party is not dialog.caller or len(self.parties) >= MAX_PARTIES:
            return party
        if len(self.dialogs_of(party)) <= 1 and now >= self.answerable_until(party):
            party.single = True
            self._release_splits(party)
            return party
        dialog.caller = party.split([session for _, session in dialog.running], now=now)
        self.parties += (dialog.caller,)
        return dialog.caller

    def open_to_others(self, party: Party, *, now: float) -> None:
        """Let other ends answer the offer of a party of one dialog alone: it has offered without a to-tag.

        They have been sent this offer, and not the one with which the dialog began.

        Args:
            party: any party; nothing changes for one that others may answer already.
            now: monotonic seconds.
        """
        if not party.single:
            return
        party.single, first, party.split_from = False, party.split_from, None
        if first is not None and not self.is_answered(first):
            self.close_party(first, now=now)

    def answerable_until(self, party: Party) -> float:
        """Monotonic seconds until which further ends may answer the offer of a party."""
        return party.signalled + self._resources.settings.unused_s

    # --- removal ----------------------------------------------------------------------------------

    def _give_way(self, sparing: Party | None, *, now: float) -> None:
        """Remove the offer that has waited longest for an answer, or else the dialog that is silent longest.

        One that never had a packet goes first, one on hold goes last: it is silent on purpose.
        """
        waiting = [party for party in self.without_dialog if party is not sparing]
        if waiting:
            self.close_party(min(waiting, key=lambda each: each.waiting_since or each.created), now=now)
            return
        others = [dialog for dialog in self.dialogs if sparing is None or not dialog.has(sparing)]
        dialog = min(others or self.dialogs, key=lambda each: each.importance(now=now))
        self.end_dialog(dialog, now=now)
        for party in self.without_dialog:
            if dialog.has(party) and party is not sparing:
                self.close_party(party, now=now)

    def end_dialog(self, dialog: Dialog, *, now: float, silent: bool = False) -> None:
        """Stop the sessions of an established dialog and remove it.

        Args:
            dialog: the dialog.
            now: monotonic seconds.
            silent: it ends because no packet came, not by a command.
        """
        dialog.stop_all(self._resources, now=now, silent=silent)
        self.dialogs = _without(self.dialogs, dialog)

    def close_all(self, *, now: float) -> None:
        """Stop all sessions, then close all sockets, and remove all parties and dialogs."""
        for dialog in self.all_dialogs:
            dialog.stop_all(self._resources, now=now)
        groups = self.groups
        self.parties = self.dialogs = self.early = ()
        self.close_groups(groups)

    def close_party(self, party: Party, *, now: float) -> None:
        """Close all sockets of a party that is in no established dialog, and remove it."""
        self.parties = _without(self.parties, party)
        self._release_splits(party)
        self.drop_early(party, now=now)
        self.close_groups(party.all_groups)
        party.groups = party.superseded = ()

    def _release_splits(self, party: Party) -> None:
        """No end answers the offer of a party any more: those that were split from it are on their own."""
        for split in self.splits_of(party):
            split.split_from = None

    def drop_early(self, party: Party, *, now: float) -> None:
        """End the early dialog of an offerer, if it has one, and close the sockets kept for the answerer."""
        early = self.find_early(party)
        if early is not None:
            self.early = _without(self.early, early)
            early.stop_all(self._resources, now=now)
            self.close_groups(early.callee.groups)

    def close_all_superseded(self) -> None:
        """Close the superseded groups of all parties that no session uses any more."""
        for party in self.parties:
            self.close_superseded(party)

    def close_superseded(self, party: Party) -> None:
        """Close the superseded groups of one party that no session uses any more."""
        if not party.superseded:
            return
        needed = tuple([each for each in party.superseded if each[1].users])
        self.close_groups(group for _, group in party.superseded if not group.users)
        party.superseded = needed

    def close_groups(self, groups: Iterable[SocketGroup | None]) -> None:
        """Close the sockets of groups that no session uses."""
        for group in groups:
            if group is not None:
                self._resources.close_group(group)


def _without(members: tuple[T, ...], gone: T) -> tuple[T, ...]:
    return tuple([each for each in members if each is not gone])
