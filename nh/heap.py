"""The free room in glibc's heap.

glibc keeps what lies below memory in use, until it is asked to give it back.
"""

import ctypes
from typing import Final

_libc: Final = ctypes.CDLL(None)
_trim: Final = getattr(_libc, "malloc_trim", None)
"""malloc_trim(3); None: another C library than glibc, which gives room back by itself."""

_sbrk: Final = _libc.sbrk
_sbrk.argtypes = [ctypes.c_ssize_t]
_sbrk.restype = ctypes.c_size_t

_end_at_start: Final[int] = _sbrk(0)


def grown_bytes() -> int:
    """Bytes by which the heap has grown since this module was imported; less than 0 if it has shrunk."""
    return int(_sbrk(0)) - _end_at_start


def give_back_free_pages() -> None:
    """Give the free pages of the heap back to the system.

    It takes 0.2 to 0.5 ms of CPU as a rule, and 0.3 ms for each MiB of a heap in small pieces: glibc asks the
    kernel about each piece, even if its pages are gone already.
    """
    if _trim is not None:
        _trim(0)
