"""Snapshots of offers: the parties and dialogs of a call in ng's model, and how they belong together."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

import msgspec

from nh.calls.media import MAX_MEDIA
from nh.calls.offer_answer.agreement import NO_CARRIERS
from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.party import Party
from nh.calls.resources import CallResources
from nh.calls.session import Session
from nh.calls.snapshots.bundle import Bundles, check_bundles, rebuild_bundles, take_bundles
from nh.calls.snapshots.media import GroupSnapshot
from nh.calls.snapshots.party import PartySnapshot
from nh.calls.snapshots.session import SessionSnapshot
from nh.calls.snapshots.values import (
    Index,
    Indexes,
    Time,
    TimeShift,
    indexes_of,
    require,
    require_distinct,
    require_index,
)
from nh.calls.sockets.group import SocketGroup


class DialogSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A dialog.

    Attributes:
        caller, callee: indexes of parties.
        sessions, superseded, replaced: (medium, index of a session).
        carriers: (medium, its carrier).
    """

    caller: Index
    callee: Index
    branch: bytes
    signalled: Time
    delete_at: float
    sessions: list[tuple[Index, Index]]
    superseded: list[tuple[Index, Index]]
    replaced: list[tuple[Index, Index]]
    bundles: tuple[Bundles, Bundles] = ([], [])
    carriers: Annotated[list[tuple[Index, Index]], msgspec.Meta(max_length=MAX_MEDIA)] = []

    @classmethod
    def take(cls, dialog: Dialog, parties: Indexes, sessions: Indexes) -> Self:
        """The snapshot of `dialog`."""
        return cls(
            # by place: see PartySnapshot
            parties[id(dialog.caller)],
            parties[id(dialog.callee)],
            dialog.branch,
            dialog.signalled,
            dialog.delete_at,
            [(index, sessions[id(each)]) for index, each in enumerate(dialog.sessions) if each is not None],
            _take(dialog.superseded.items(), sessions) if dialog.superseded else [],
            _take(dialog.replaced, sessions) if dialog.replaced else [],
            (take_bundles(dialog.bundles[0]), take_bundles(dialog.bundles[1])),
            list(dialog.carriers.items()),
        )

    @property
    def owned_sessions(self) -> list[int]:
        """Indexes of its sessions."""
        return [index for _, index in (*self.sessions, *self.superseded, *self.replaced)]

    def check(self, parties: Sequence[PartySnapshot], sessions: Sequence[SessionSnapshot]) -> None:
        """Check that its sessions pair its parties' groups.

        Raises:
            SnapshotUnreadable: one does not, or the dialog contradicts itself otherwise.
        """
        require(not math.isnan(self.delete_at), "a dialog's delete time is NaN")
        for bundles in self.bundles:
            check_bundles(bundles)
        for index in (self.caller, self.callee):
            require_index(index, parties, "party")
        require(self.caller != self.callee, "a dialog has the same party twice")
        callers, callees = (set(parties[index].groups_by_medium) for index in (self.caller, self.callee))
        for own in (self.sessions, self.superseded):
            require_distinct([medium for medium, _ in own], "media of a dialog")
        for own, replaced in ((self.sessions, False), (self.superseded, False), (self.replaced, True)):
            for medium, index in own:
                require_index(index, sessions, "session")
                session = sessions[index]
                owned = (medium, session.group_from) in callers and (medium, session.group_to) in callees
                require(owned, "a session pairs groups of other parties than its dialog's")
                marked = session.replaced_at is not None
                require(marked is replaced, "a session is replaced or not, unlike its dialog says")

    def rebuild(self, parties: Sequence[Party], sessions: Sequence[Session], times: TimeShift) -> Dialog:
        """The dialog as it was."""
        dialog = Dialog(
            parties[self.caller],
            parties[self.callee],
            branch=self.branch,
            now=times.past(self.signalled),
        )
        dialog.delete_at = times.future(self.delete_at)
        for medium, index in self.sessions:
            dialog.set_session(medium, sessions[index])
        if self.superseded:
            dialog.superseded = {medium: sessions[index] for medium, index in self.superseded}
        dialog.replaced = tuple([(medium, sessions[index]) for medium, index in self.replaced])
        dialog.mark_left()
        dialog.bundles = (rebuild_bundles(self.bundles[0]), rebuild_bundles(self.bundles[1]))
        dialog.carriers = dict(self.carriers) or NO_CARRIERS
        dialog.bundle()
        return dialog


def _take(members: Iterable[tuple[int, Session]], sessions: Indexes) -> list[tuple[int, int]]:
    """(medium, index of a session) of sessions by their media."""
    return [(medium, sessions[id(session)]) for medium, session in members]


class OffersSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Offers.

    Attributes:
        parties: those that have a tag. Indexes of parties count these first, then `expected`.
        expected: for each early dialog, the party that will answer.
        dialogs: the established ones.
        early: the early ones.
    """

    last_signal: Time
    parties: list[PartySnapshot]
    expected: list[PartySnapshot]
    dialogs: list[DialogSnapshot]
    early: list[DialogSnapshot]
    delete_at: float = math.inf

    @classmethod
    def take(cls, offers: Offers, groups: Indexes, sessions: Indexes) -> Self:
        """The snapshot of `offers`."""
        participants = offers.participants
        known = participants.parties
        early = participants.early
        expected = [dialog.callee for dialog in early]
        parties = indexes_of((*known, *expected))
        return cls(
            last_signal=offers.last_signal,
            parties=[PartySnapshot.take(party, groups, parties) for party in known],
            expected=[PartySnapshot.take(party, groups, parties) for party in expected],
            dialogs=[DialogSnapshot.take(each, parties, sessions) for each in participants.dialogs],
            early=[DialogSnapshot.take(each, parties, sessions) for each in early],
            delete_at=offers.delete_at,
        )

    @property
    def owned_groups(self) -> list[int]:
        """Indexes of all groups of its parties."""
        return [index for party in (*self.parties, *self.expected) for _, index in party.groups_by_medium]

    @property
    def owned_sessions(self) -> list[int]:
        """Indexes of all sessions of its dialogs."""
        return [index for dialog in (*self.dialogs, *self.early) for index in dialog.owned_sessions]

    def check(self, groups: Sequence[GroupSnapshot], sessions: Sequence[SessionSnapshot]) -> None:
        """Check that parties and dialogs belong together.

        Raises:
            SnapshotUnreadable: they do not.
        """
        require(not math.isnan(self.delete_at), "the call's delete time is NaN")
        parties = [*self.parties, *self.expected]
        for party in parties:
            party.check(groups)
            self._check_split(party)
        for dialog in self.dialogs:
            dialog.check(self.parties, sessions)
        require_distinct([frozenset((each.caller, each.callee)) for each in self.dialogs], "dialogs")
        for dialog in self.early:
            dialog.check(parties, sessions)
            require(dialog.caller < len(self.parties), "the offerer of an early dialog has no tag")
        callees = [dialog.callee for dialog in self.early]
        require(
            callees == list(range(len(self.parties), len(parties))),
            "the early dialogs and the parties that will answer differ",
        )
        require_distinct([dialog.caller for dialog in self.early], "offerers of early dialogs")

    def _check_split(self, party: PartySnapshot) -> None:
        if party.split_from is not None:
            require_index(party.split_from, self.parties, "party")
            first = self.parties[party.split_from]
            is_split = party.single and first.split_from is None and party.tag == first.tag
            require(is_split, "a party is split from one that it cannot be split from")

    def rebuild(
        self,
        resources: CallResources,
        groups: Sequence[SocketGroup],
        sessions: Sequence[Session],
        times: TimeShift,
    ) -> Offers:
        """The offers as they were."""
        offers = Offers(resources)
        offers.last_signal = times.past(self.last_signal)
        offers.delete_at = times.future(self.delete_at)
        parties = [party.rebuild(groups, times) for party in (*self.parties, *self.expected)]
        for party, snapshot in zip(parties, self.parties, strict=False):
            party.split_from = None if snapshot.split_from is None else parties[snapshot.split_from]
        participants = offers.participants
        participants.parties = tuple(parties[: len(self.parties)])
        participants.dialogs = tuple([each.rebuild(parties, sessions, times) for each in self.dialogs])
        participants.early = tuple([each.rebuild(parties, sessions, times) for each in self.early])
        return offers
