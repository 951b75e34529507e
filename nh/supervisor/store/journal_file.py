"""One file of the journal: records are appended, and cut off at its end."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nh.paths import is_at, open_private
from nh.supervisor.store.journal_records import JournalRecord, read_records


class JournalFile:
    """A file that is open for reading and appending.

    Args:
        path: of the file; it is made if it is missing.

    Attributes:
        path: of the file.
        size: bytes of whole records.

    Raises:
        OSError: it cannot be opened, or other users may write to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._ends_partial = False  # a part of a record is behind `size`
        self._fd = _open(path)

    def read(self) -> list[tuple[int, int, JournalRecord]]:
        """Number, end and record, of all; an incomplete record would hide those that are appended: it is cut
        off.
        """
        records = list(read_records(self._fd))
        self.cut(max((end for _, end, _ in records), default=0))
        return records

    def ends(self) -> list[tuple[int, bytes]]:
        """End and call-id of each record."""
        return [(end, record.call_id) for _, end, record in read_records(self._fd)]

    def append(self, data: bytes) -> None:
        """Append records.

        Raises:
            OSError: there is no room for all of them; none is there.
        """
        if self._ends_partial:  # it would end the file for the next start
            self.cut(self.size)
        try:
            if os.write(self._fd, data) < len(data):
                raise OSError("no room for a record")
        except OSError:
            self._ends_partial = True
            with contextlib.suppress(OSError):  # it is tried again before the next record
                self.cut(self.size)
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Drop what is behind an offset in bytes, which is the end of a record. Raises OSError."""
        os.ftruncate(self._fd, size)
        self.size = size
        self._ends_partial = False

    def empty(self) -> None:
        """Drop all records."""
        if self.size:
            self.cut(0)

    def replace(self, new: Path, size: int) -> None:
        """Have another file in the place of this one.

        Args:
            new: the other file, which gets the name of this one.
            size: its bytes.

        Raises:
            OSError: that failed; this file is still there.
        """
        fd = _open(new)
        try:
            new.rename(self.path)
        except BaseException:
            os.close(fd)
            raise
        before, self._fd = self._fd, fd
        self.size, self._ends_partial = size, False
        with contextlib.suppress(OSError):  # what it tells of is in the file that is not used any more
            os.close(before)

    def rewrite(self, new: Path, begin: int = 0) -> None:
        """Have a new file in the place of this one, with what is behind an offset in bytes.

        Args:
            new: where it is made.
            begin: the offset, which is the end of a record.

        Raises:
            OSError: that failed; this file is still used.
        """
        tail = os.pread(self._fd, self.size - begin, begin)
        with new_file(new) as stream:
            stream.write(tail)
        self.replace(new, len(tail))

    def is_in_place(self) -> bool:
        """Whether the next start finds this file by its name: no other program has removed or replaced it.

        Raises:
            OSError: that cannot be found out.
        """
        return is_at(self.path, os.fstat(self._fd))

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that replaces another one. If it cannot be written, it leaves its room to others."""
    try:
        with open(path, "wb", opener=open_private) as stream:
            yield stream
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _open(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise OSError(f"{path} is not a file of this user alone")
    return fd
