"""HeapTrim: gives back what commands and checkpoints of calls have left free in the heap."""

from typing import Final

from nh.calls.events import CallObserver
from nh.memory import give_back_free_pages, grown_bytes

TRIM_S: Final = 10.0
"""Seconds between two times: rare enough for what it costs, and for the pages that are needed again."""

MAX_GROWN_BYTES: Final = 4 * 1024 * 1024
"""A heap that has grown more is left alone: it might take more than 2 ms, and packets wait meanwhile.

It takes 1.1 ms at most with this much in pieces, and up to 70 ms with 200 MB. 4,500 calls of Net::SIP take
less than 1 MiB: most of a call is in Python's own arenas.
"""


class HeapTrim(CallObserver):
    """Gives free pages back, while the heap is small: those of the start first, and then every TRIM_S."""

    def __init__(self) -> None:
        self._due = 0.0

    def housekeeping(self, now: float) -> None:
        """See CallObserver."""
        if now >= self._due:
            self._due = now + TRIM_S
            if grown_bytes() <= MAX_GROWN_BYTES:
                give_back_free_pages()
