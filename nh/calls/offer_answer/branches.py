"""Branches: what is known of a forked offer's ways that nobody has answered yet (RFC 3261 16.6).

A proxy may delete one of them while the others ring on.
"""

import math
from collections.abc import Iterable, Iterator

from nh.calls.offer_answer.dialog import Dialog
from nh.calls.offer_answer.party import Party
from nh.errors import LimitReached

MAX_BRANCHES = 64
"""Most of them in one call."""


class Branch:
    """A branch of a forked offer that nobody has answered yet.

    Arguments:
        offerer: whose offer it is.
    """

    __slots__ = ("delete_at", "offerer")

    def __init__(self, offerer: Party) -> None:
        self.offerer = offerer
        self.delete_at = math.inf


class Branches:
    """The branches of one call by what their Via says; b"" is none."""

    __slots__ = ("_branches",)

    def __init__(self) -> None:
        self._branches: dict[bytes, Branch] = {}

    def __iter__(self) -> Iterator[Branch]:
        return iter(self._branches.values())

    def items(self) -> Iterable[tuple[bytes, Branch]]:
        """All of them with their names."""
        return self._branches.items()

    def add(self, name: bytes, branch: Branch) -> None:
        """Keep one that is restored."""
        self._branches[name] = branch

    def find(self, name: bytes) -> Branch | None:
        """The branch of that name; None if it is not known, or was answered."""
        return self._branches.get(name)

    @property
    def tags(self) -> set[bytes]:
        """Of those who wait for an answer on one."""
        return {branch.offerer.tag for branch in self}

    def check_room(self, name: bytes) -> None:
        """Raises LimitReached if there cannot be one more."""
        if name and name not in self._branches and len(self._branches) >= MAX_BRANCHES:
            raise LimitReached(f"{MAX_BRANCHES} branches of the call wait for an answer, the most that may")

    def offered(self, name: bytes, offerer: Party, dialog: Dialog | None, known: Iterable[Dialog]) -> None:
        """An offer went out.

        Arguments:
            dialog: between the two ends, if there is one: it has another branch from now on.
            known: all dialogs.
        """
        if name and dialog is not None:
            dialog.branch = name
        elif name and all(each.branch != name for each in known):
            self._branches.setdefault(name, Branch(offerer))

    def answered(self, name: bytes, offerer: Party, known: Iterable[Dialog]) -> None:
        """An answer to `offerer` came back."""
        if self._branches.pop(name, None) is not None:
            return
        if name and any(dialog.branch == name for dialog in known):
            return
        # which one it was cannot be told: a delete is to be told by its tags then
        self.forget(offerer)

    def forget(self, offerer: Party) -> None:
        """It waits for nobody."""
        for name in [name for name, each in self._branches.items() if each.offerer is offerer]:
            del self._branches[name]

    def take_due(self, *, now: float) -> set[bytes]:
        """Take out those that are to be deleted by now; the tags of their offerers."""
        due = {name: branch for name, branch in self._branches.items() if now >= branch.delete_at}
        for name in due:
            del self._branches[name]
        return {branch.offerer.tag for branch in due.values()}
