"""Participants of one call: parties by tag, dialogs between them, early dialogs, unanswered branches.

This module finds and removes them; nh.calls.offer_answer.offers has the rules of offer and answer.
"""

from collections.abc import Iterable, Iterator

from nh.calls.media import Side
from nh.calls.offer_answer.branches import Branch, Branches
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup
from nh.errors import LimitReached, UnknownCall

MAX_PARTIES = 64
"""Most parties of one call: forks need some, and a client may invent tags."""


class Participants:
    """Parties, dialogs and branches of one call.

    Args:
        resources: sockets, limits and media plane.

    Attributes:
        parties: by tag.
        dialogs: the established ones, the oldest first.
        early: the dialogs between an offerer and the party that will answer its first offer. That party has
            no tag yet and is not among `parties`, but has sockets and may send media already.
        branches: the unanswered ones.
    """

    __slots__ = ("_resources", "branches", "dialogs", "early", "parties")

    def __init__(self, resources: CallResources) -> None:
        self._resources = resources
        self.parties: dict[bytes, Party] = {}
        self.dialogs: list[Dialog] = []
        self.early: list[Dialog] = []
        self.branches = Branches()

    # --- look-ups ---------------------------------------------------------------------------------

    def get_party(self, tag: bytes) -> Party:
        """The party with this tag.

        Raises:
            UnknownCall: no party has it.
        """
        party = self.parties.get(tag)
        if party is None:
            raise UnknownCall("no party of the call has this tag")
        return party

    def find_or_make(self, tag: bytes, side: Side, *, now: float) -> Party:
        """The party with this tag, or a new one that is not among `parties` yet.

        Raises:
            LimitReached: the call has MAX_PARTIES others.
        """
        party = self.parties.get(tag)
        if party is None and len(self.parties) >= MAX_PARTIES:
            raise LimitReached(f"the call has {MAX_PARTIES} parties, the limit")
        return party or Party(tag, side, now=now)

    def find_dialog(self, one: bytes, other: bytes) -> Dialog | None:
        """The established dialog between two tags, None if there is none."""
        return next((dialog for dialog in self.dialogs if dialog.tags == {one, other}), None)

    def find_early(self, offerer: Party) -> Dialog | None:
        """The early dialog of an offerer, None if it has none."""
        return next((dialog for dialog in self.early if dialog.caller is offerer), None)

    def dialogs_of(self, party: Party) -> list[Dialog]:
        """The established and early dialogs of a party."""
        return [dialog for dialog in self.all_dialogs if dialog.has(party)]

    @property
    def all_dialogs(self) -> Iterator[Dialog]:
        """The established dialogs, then the early ones."""
        yield from self.dialogs
        yield from self.early

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All socket groups of all parties, and of those that will answer."""
        for party in self.parties.values():
            yield from (group for group in party.groups if group is not None)
            yield from (group for _, group in party.superseded)
        for dialog in self.early:
            yield from (group for group in dialog.callee.groups if group is not None)

    @property
    def deletable(self) -> Iterator[Dialog | Party | Branch]:
        """Everything that has a `delete_at`."""
        yield from self.dialogs
        yield from self.parties.values()
        yield from self.branches

    @property
    def without_dialog(self) -> set[bytes]:
        """The tags of the parties that are in no established dialog."""
        return self.parties.keys() - {tag for dialog in self.dialogs for tag in dialog.tags}

    def expires_at(self, party: Party, rules: RelaySettings) -> float:
        """Monotonic seconds at which a party without a dialog is removed."""
        times = [party.created if party.waiting_since is None else party.waiting_since]
        early = self.find_early(party)
        if early is not None:
            times += [session.last_active for session in early.sessions.values()]
        elif party.waiting_since is None:
            unneeded = [
                group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s)
                for group in party.groups
                if group is not None
            ]
            return max(unneeded, default=party.created + rules.unused_s)
        return max(times) + rules.unused_s

    # --- removal ----------------------------------------------------------------------------------

    def end_dialog(self, dialog: Dialog, *, now: float, silent: bool = False) -> None:
        """Stop the sessions of an established dialog and remove it.

        Args:
            silent: it ends because no packet came, not by a command.
        """
        dialog.stop_all(self._resources, now=now, silent=silent)
        self.dialogs.remove(dialog)

    def close_party(self, party: Party, *, now: float) -> None:
        """Close all sockets of a party that is in no established dialog, and remove it."""
        del self.parties[party.tag]
        self.branches.forget(party)
        self.drop_early(party, now=now)
        self.close_groups([*party.groups, *(group for _, group in party.superseded)])
        party.groups, party.superseded = [], []

    def drop_early(self, party: Party, *, now: float) -> None:
        """End the early dialog of an offerer, if it has one, and close the sockets kept for the answerer."""
        early = self.find_early(party)
        if early is not None:
            self.early.remove(early)
            early.stop_all(self._resources, now=now)
            self.close_groups(early.callee.groups)

    def close_all_superseded(self) -> None:
        """Close the superseded groups of all parties that no session uses any more."""
        for party in self.parties.values():
            self.close_superseded(party)

    def close_superseded(self, party: Party) -> None:
        """Close the superseded groups of one party that no session uses any more."""
        needed = [(index, group) for index, group in party.superseded if group.users]
        self.close_groups(group for _, group in party.superseded if not group.users)
        party.superseded = needed

    def close_groups(self, groups: Iterable[SocketGroup | None]) -> None:
        """Close the sockets of groups that no session uses."""
        for group in groups:
            if group is not None:
                self._resources.close_group(group)
