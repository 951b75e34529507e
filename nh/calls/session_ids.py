"""Numbers of sessions: unique in the relay, though each shard hands out its own."""


class SessionIds:
    """Numbers in steps, so that those of several tables never meet, as long as there are as many tables.

    Arguments:
        first: the first number, 1 or more.
        step: how many tables there are.
    """

    __slots__ = ("_next", "_step")

    def __init__(self, first: int = 1, step: int = 1) -> None:
        self._next = first
        self._step = step

    @property
    def known(self) -> int:
        """No number above this one was handed out, or is known."""
        return self._next - 1

    def take(self) -> int:
        """The next number."""
        taken = self._next
        self._next += self._step
        return taken

    def go_on_above(self, known: int) -> None:
        """Hand out nothing up to `known` any more: a session that was restored has that number."""
        if known >= self._next:
            self._next += ((known - self._next) // self._step + 1) * self._step
