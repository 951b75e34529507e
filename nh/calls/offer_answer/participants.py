"""Ends: who is in one call: parties by their tags, dialogs between them, branches that nobody answered yet.

It finds them and takes them out; what is offered and agreed between them is nh.calls.offer_answer.offers'.
"""

from collections.abc import Iterable, Iterator

from nh.calls.media import Side
from nh.calls.offer_answer.branches import Branch, Branches
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.calls.resources import Resources
from nh.calls.socket_group import SocketGroup
from nh.errors import LimitReached, UnknownCall

MAX_PARTIES = 64
"""Most ends of one call: forks, and what a client invents."""


class Participants:
    """Parties, dialogs and branches of one call.

    Arguments:
        resources: sockets, limits, plane.
    """

    __slots__ = ("_resources", "branches", "dialogs", "parties")

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self.parties: dict[bytes, Party] = {}
        self.dialogs: list[Dialog] = []
        self.branches = Branches()

    # --- who is there -----------------------------------------------------------------------------

    def get_party(self, tag: bytes) -> Party:
        """The end with this tag. Raises UnknownCall."""
        party = self.parties.get(tag)
        if party is None:
            raise UnknownCall("nobody in the call has this tag")
        return party

    def find_or_make(self, tag: bytes, side: Side, *, now: float) -> Party:
        """The party with this tag, or a new one that is yet to be kept. Raises LimitReached."""
        party = self.parties.get(tag)
        if party is None and len(self.parties) >= MAX_PARTIES:
            raise LimitReached(f"the call has {MAX_PARTIES} ends, the most that one may have")
        return party or Party(tag, side, now=now)

    def find_dialogue(self, one: bytes, other: bytes) -> Dialog | None:
        """The dialog between two tags, None if there is none."""
        return next((d for d in self.dialogs if d.tags == {one, other}), None)

    def dialogues_of(self, party: Party) -> list[Dialog]:
        """Those that a party is in, with whoever will answer it too."""
        return [dialog for dialog in self.all_dialogues if dialog.has(party)]

    @property
    def all_dialogues(self) -> Iterator[Dialog]:
        """Those that were agreed, and those with whoever will answer."""
        yield from self.dialogs
        for party in self.parties.values():
            if party.early is not None:
                yield party.early

    @property
    def groups(self) -> Iterator[SocketGroup]:
        """All groups of all parties, and of those who will answer."""
        for party in self.parties.values():
            yield from (group for group in party.groups if group is not None)
            yield from (group for _, group in party.former)
            if party.early is not None:
                yield from (group for group in party.early.callee.groups if group is not None)

    @property
    def deletable(self) -> Iterator[Dialog | Party | Branch]:
        """All that has a time at which it is to be deleted."""
        yield from self.dialogs
        yield from self.parties.values()
        yield from self.branches

    @property
    def alone(self) -> set[bytes]:
        """The tags of those who are in no dialog."""
        return self.parties.keys() - {tag for dialog in self.dialogs for tag in dialog.tags}

    # --- who goes ---------------------------------------------------------------------------------

    def end_dialogue(self, dialog: Dialog, *, now: float) -> None:
        """End its sessions and forget it."""
        dialog.stop_all(self._resources, now=now)
        self.dialogs.remove(dialog)

    def close_party(self, party: Party, *, now: float) -> None:
        """Close all that a party has, and forget it; it is in no dialog."""
        del self.parties[party.tag]
        self.branches.forget(party)
        self.drop_early(party, now=now)
        self.close_groups([*party.groups, *(group for _, group in party.former)])
        party.groups, party.former = [], []

    def drop_early(self, party: Party, *, now: float) -> None:
        """Close what was ready for an answer that does not come any more."""
        if party.early is not None:
            party.early.stop_all(self._resources, now=now)
            self.close_groups(party.early.callee.groups)
            party.early = None

    def close_unneeded(self) -> None:
        """Close what no session needs any more of the groups that offers replaced."""
        for party in self.parties.values():
            self.close_former(party)

    def close_former(self, party: Party) -> None:
        """The same for one party."""
        needed = [(index, group) for index, group in party.former if group.users]
        self.close_groups(group for _, group in party.former if not group.users)
        party.former = needed

    def close_groups(self, groups: Iterable[SocketGroup | None]) -> None:
        """Close the sockets of groups that no session uses."""
        for group in groups:
            if group is not None:
                self._resources.close_group(group)
