"""HeapTrim: gives back what commands and checkpoints of calls have left free in the heap."""

from typing import Final

from nh.calls.events import CallObserver
from nh.heap import give_back_free_pages

TRIM_S: Final = 10.0
"""Seconds between two times: rare enough for what it costs, and for the pages that are needed again."""


class HeapTrim(CallObserver):
    """Gives free pages back at the first turn, which has those of the start, and every TRIM_S."""

    def __init__(self) -> None:
        self._due = 0.0

    def housekeeping(self, now: float) -> None:
        """See CallObserver."""
        if now >= self._due:
            self._due = now + TRIM_S
            give_back_free_pages()
