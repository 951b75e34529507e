"""Branches of forked offers that have no answer yet (RFC 3261 16.6).

A proxy may delete one branch while the others still ring.
"""

import math
from collections.abc import Iterable, Iterator

from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.errors import LimitReached

MAX_BRANCHES = 64
"""Most unanswered branches of one call."""


class Branch:
    """One unanswered branch of a forked offer.

    Args:
        offerer: the party that sent the offer.

    Attributes:
        delete_at: monotonic seconds at which a delete removes the branch; infinite without one.
    """

    __slots__ = ("delete_at", "offerer")

    def __init__(self, offerer: Party) -> None:
        self.offerer = offerer
        self.delete_at = math.inf


class Branches:
    """The unanswered branches of one call, by their Via branch; b"" names none."""

    __slots__ = ("_branches",)

    def __init__(self) -> None:
        self._branches: dict[bytes, Branch] = {}

    def __iter__(self) -> Iterator[Branch]:
        return iter(self._branches.values())

    def items(self) -> Iterable[tuple[bytes, Branch]]:
        """All branches with their names."""
        return self._branches.items()

    def add(self, name: bytes, branch: Branch) -> None:
        """Add a branch of a restored call."""
        self._branches[name] = branch

    def find(self, name: bytes) -> Branch | None:
        """The branch of that name; None if it is unknown or has been answered."""
        return self._branches.get(name)

    @property
    def tags(self) -> set[bytes]:
        """The tags of the offerers that wait for an answer."""
        return {branch.offerer.tag for branch in self}

    def check_room(self, name: bytes) -> None:
        """Check that a branch of this name may be added.

        Raises:
            LimitReached: MAX_BRANCHES others are unanswered.
        """
        if name and name not in self._branches and len(self._branches) >= MAX_BRANCHES:
            raise LimitReached(f"the call has {MAX_BRANCHES} unanswered branches, the limit")

    def offered(self, name: bytes, offerer: Party, dialog: Dialog | None, known: Iterable[Dialog]) -> None:
        """Record that an offer was sent.

        Args:
            name: its Via branch, b"" if unknown.
            offerer: the party that sent it.
            dialog: the dialog that the offer is within; it takes the name over. None: a first offer.
            known: all established dialogs.
        """
        if name and dialog is not None:
            dialog.branch = name
        elif name and all(each.branch != name for each in known):
            self._branches.setdefault(name, Branch(offerer))

    def answered(self, name: bytes, offerer: Party, known: Iterable[Dialog]) -> None:
        """Record that an offer of `offerer` was answered on the branch `name` (b"" if unknown)."""
        if self._branches.pop(name, None) is not None:
            return
        if name and any(dialog.branch == name for dialog in known):
            return
        # without the branch, which one was answered is unknown: later deletes are matched by tags only
        self.forget(offerer)

    def forget(self, offerer: Party) -> None:
        """Remove all branches of this party's offers."""
        for name in [name for name, each in self._branches.items() if each.offerer is offerer]:
            del self._branches[name]

    def pop_due(self, *, now: float) -> set[bytes]:
        """Remove the branches whose time to be deleted has come; returns the tags of their offerers."""
        due = {name: branch for name, branch in self._branches.items() if now >= branch.delete_at}
        for name in due:
            del self._branches[name]
        return {branch.offerer.tag for branch in due.values()}
