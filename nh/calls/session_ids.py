"""Session ids: unique in the relay, although each shard assigns its own."""


class SessionIds:
    """Assigns ids at a fixed distance, so that those of several tables are disjoint.

    Args:
        first: the first id, 1 or more; another one for each table.
        step: the distance: the number of tables.
    """

    __slots__ = ("_next", "_step")

    def __init__(self, first: int = 1, step: int = 1) -> None:
        self._next = first
        self._step = step

    @property
    def known(self) -> int:
        """No id above this one was assigned here or has been passed to advance_past()."""
        return self._next - 1

    def take(self) -> int:
        """Assign the next id."""
        taken = self._next
        self._next += self._step
        return taken

    def advance_past(self, known: int) -> None:
        """Assign only ids above `known`, that of a restored session."""
        if known >= self._next:
            self._next += ((known - self._next) // self._step + 1) * self._step
