"""The free room in glibc's heap.

glibc keeps what lies below memory in use, until it is asked to give it back.
"""

import ctypes
from typing import Final

_trim: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""malloc_trim(3); None: another C library than glibc, which gives room back by itself."""


def give_back_free_pages() -> None:
    """Give the free pages of the heap back to the system: 0.2 to 0.5 ms of CPU."""
    if _trim is not None:
        _trim(0)
