"""Until when the processes of a relay may serve its calls: one word of memory in its runtime directory.

The supervisor writes it with each renewal of the lease, and shards read it. The file outlives every
supervisor, so the next one extends the deadline of shards that it has not spoken to yet, and the deadline
comes without any.

The clock is CLOCK_BOOTTIME, which goes on while the host is suspended.
"""

import mmap
import os
import time
from pathlib import Path
from typing import Final, Self

from nh.paths import is_at

DEADLINE_NAME: Final = "lease"
"""The file in the runtime directory."""

NS: Final = 1_000_000_000

_BYTES: Final = 8


def boottime() -> float:
    """The clock of deadlines and leases: seconds since the host started, those of suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedDeadline:
    """An open deadline. One process writes it at a time, the holder of the lock of the runtime directory.

    Args:
        path: of the file.
        writable: whether it may be written, and is made if it is missing; 0 is in it then.

    Raises:
        OSError: it cannot be opened or made.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        flags = os.O_RDWR | os.O_CREAT if writable else os.O_RDONLY
        fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._file = os.fstat(fd)
            if writable and os.fstat(fd).st_size < _BYTES:
                os.pwrite(fd, bytes(_BYTES), 0)  # memory without room behind it would end the process
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._memory = mmap.mmap(fd, _BYTES, access=access)
        except ValueError as exc:  # it is shorter
            raise OSError(f"{path} is empty") from exc
        finally:
            os.close(fd)
        self._words = memoryview(self._memory).cast("Q")

    @classmethod
    def replace(cls, path: Path, at_ns: int) -> Self:
        """Make the file anew. It has its name from the moment when the deadline is in it.

        Raises:
            OSError: it cannot be made.
        """
        new = path.with_suffix(".new")
        new.unlink(missing_ok=True)
        made = cls(new, writable=True)
        made.write_ns(at_ns)
        try:
            new.replace(path)
        except OSError:
            made.close()
            raise
        return made

    def is_at(self, path: Path) -> bool:
        """Whether another process finds it there: no other program has removed or replaced its file.

        Raises:
            OSError: that cannot be found out.
        """
        return is_at(path, self._file)

    def read_ns(self) -> int:
        """The deadline, nanoseconds of CLOCK_BOOTTIME; 0: there is none."""
        return self._words[0]

    def write_ns(self, at_ns: int) -> None:
        """Set the deadline; readers see the old one or the new one whole."""
        self._words[0] = at_ns

    def close(self) -> None:
        """Unmap the memory."""
        self._words.release()
        self._memory.close()
