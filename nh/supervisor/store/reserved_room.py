"""Room on a file system that is kept for a moment in which there is no other."""

import contextlib
import os
from pathlib import Path
from typing import Final

RESERVED_BYTES: Final = 256 << 10
"""What is kept: four parts of what the journal moves through it."""


class ReservedRoom:
    """A file that takes the room. Without room for it there is none; reserve() tries again.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        self.reserve()

    @property
    def size(self) -> int:
        """Bytes that release() gives free."""
        return self._size

    def reserve(self) -> None:
        """Take the room, if that is possible; again, if another program removed the file."""
        if self._size and os.path.lexists(self.path):
            return
        self._size = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.suppress(OSError):
            fd = os.open(self.path, flags, 0o600)
            try:
                os.posix_fallocate(fd, 0, RESERVED_BYTES)
                self._size = RESERVED_BYTES
            except OSError:
                self.release()
            finally:
                os.close(fd)

    def release(self) -> None:
        """Give the room free."""
        self._size = 0
        with contextlib.suppress(OSError):
            self.path.unlink()
