"""Where records go: a file, a Unix datagram socket, syslog, the journal. Each may block its own thread."""

import contextlib
import errno
import os
import select
import socket
import stat
import struct
from pathlib import Path
from typing import Final, Protocol

from nh.paths import foreign_name, is_open_to_all, is_read_only, mode_of
from nh.reasons import reason

FILE_MODE: Final = 0o640
"""Permissions of a file of records: who may read it reads who called whom."""

OF_ANOTHER: Final = (
    "it, or a directory on the way to it, is a link or another user's, where every user can write"
)
"""Why a file is not written."""

TIMEOUT_S: Final = 1.0
"""Longest wait for a reader that does not read."""

SYSLOG: Final = "syslog"
JOURNAL: Final = "journal"
UNIX: Final = "unix:"

SYSLOG_PATH: Final = "/dev/log"
JOURNAL_PATH: Final = "/run/systemd/journal/socket"

_SYSLOG_HEAD: Final = b"<134>nh[%d]: @cee: "
"""Facility local0, severity info (RFC 3164); the cookie by which rsyslog and others tell JSON."""


class Target(Protocol):
    """Takes records, one line of JSON each, in one thread. What it raises loses the record."""

    def write(self, line: bytes) -> None:
        """Take one record.

        Args:
            line: JSON without a line break.

        Raises:
            OSError: it cannot be taken.
        """

    def reopen(self) -> None:
        """Open the file or socket anew with the next record."""


class FileTarget:
    """Appends to a file, or to a pipe that has a reader.

    A record that does not fit on the disk leaves no part of a line behind. In a pipe the next record begins a
    line of its own.

    Args:
        path: the file; it is made if it does not exist, its directory is not.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._begin = b""  # of the next line

    def write(self, line: bytes) -> None:
        """See Target."""
        if self._fd < 0:
            self._fd = _open_file(self._path)
        size = os.fstat(self._fd).st_size
        data = whole = memoryview(b"%b%b\n" % (self._begin, line))
        try:
            while data:
                data = data[_write_some(self._fd, data) :]
        except OSError:
            try:
                os.ftruncate(self._fd, size)
            except OSError:  # no file: a pipe or a device
                self._begin = self._begin if data is whole else b"\n"
            raise
        self._begin = b""

    def reopen(self) -> None:
        """See Target."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # a file of a server, whose disk is full
                os.close(fd)


def _write_some(fd: int, data: memoryview) -> int:
    """Write as much as there is room for; returns how many bytes.

    Raises:
        OSError: it cannot be written, or the reader of a pipe makes no room in TIMEOUT_S.
    """
    with contextlib.suppress(BlockingIOError):
        return os.write(fd, data)
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(TIMEOUT_S * 1000):
        raise TimeoutError(errno.ETIMEDOUT, "the program that reads it is too slow")
    return os.write(fd, data)


def _open_file(path: Path) -> int:
    """Open a file for records.

    Raises:
        OSError: it cannot be opened; or its directory is open to every user, such as /tmp, and what is there
            is a link, symbolic or hard, or a file of another user, who could read the records; or another
            user can have a directory on the way to it lead elsewhere.
    """
    # O_NONBLOCK: neither a pipe without a reader nor one that is full may hold up the thread
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    shared = is_open_to_all(path.parent)
    if foreign_name(path.parent):
        raise PermissionError(errno.EPERM, OF_ANOTHER)
    try:
        fd = os.open(path, flags | (os.O_NOFOLLOW if shared else 0), FILE_MODE)
    except OSError as exc:
        if exc.errno == errno.ENXIO and path.is_fifo():  # so says a socket, too
            raise OSError(errno.ENXIO, "no program reads this pipe; start it") from exc
        raise
    if shared and not _is_trusted(os.fstat(fd)):
        os.close(fd)
        raise PermissionError(errno.EPERM, OF_ANOTHER)
    return fd


def _is_trusted(status: os.stat_result) -> bool:
    """Whether what is there is no link, symbolic or hard, and belongs to this user or root."""
    is_link = stat.S_ISLNK(status.st_mode) or status.st_nlink > 1
    return not is_link and status.st_uid in (0, os.geteuid())


class DatagramTarget:
    """Sends each record in a datagram to a Unix socket.

    Args:
        path: where the reader listens. One that comes anew is found with the next record.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None

    def write(self, line: bytes) -> None:
        """See Target."""
        if self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.settimeout(TIMEOUT_S)
        self._sock.sendto(self._datagram(line), self._path)

    def reopen(self) -> None:
        """See Target."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _datagram(self, line: bytes) -> bytes:
        return line


class SyslogTarget(DatagramTarget):
    """Sends to the host's syslog."""

    def __init__(self) -> None:
        super().__init__(SYSLOG_PATH)

    def _datagram(self, line: bytes) -> bytes:
        return _SYSLOG_HEAD % os.getpid() + line


class JournalTarget(DatagramTarget):
    """Sends to systemd's journal in its native protocol; the record is MESSAGE, and NH_RECORD=1 finds it."""

    def __init__(self) -> None:
        super().__init__(JOURNAL_PATH)

    def _datagram(self, line: bytes) -> bytes:
        size = struct.pack("<Q", len(line))
        return b"SYSLOG_IDENTIFIER=nh\nPRIORITY=6\nNH_RECORD=1\nMESSAGE\n" + size + line + b"\n"


def fault_of(text: str) -> str:
    """Why the target that an entry of the setting `records` names can take no record now; "" if it can.

    Nothing is made or sent. Says what to do, too, in one line without a full stop.
    """
    paths = {SYSLOG: SYSLOG_PATH, JOURNAL: JOURNAL_PATH}
    if text in paths or text.startswith(UNIX):
        return _fault_of_reader(paths.get(text) or text.removeprefix(UNIX))
    path = Path(text)
    try:
        mode, parent_mode = mode_of(path), mode_of(path.parent)
    except OSError as exc:  # a directory that the user of nh may not search, or a name that is too long
        return f"{reason(exc)}; correct the path, or let the user of nh reach it"
    if not stat.S_ISDIR(parent_mode or 0):
        return f"there is no directory {path.parent}; make it"
    if stat.S_ISDIR(mode or 0):
        return "it is a directory; name a file in it"
    is_planted = os.path.lexists(path) and is_open_to_all(path.parent) and not _is_trusted(path.lstat())
    if is_planted or foreign_name(path.parent):
        return f"{OF_ANOTHER}; name a file in another directory"
    return _why_not_writable(path.parent if mode is None else path)


def _why_not_writable(existing: Path) -> str:
    if os.access(existing, os.W_OK):
        return ""
    if is_read_only(existing):
        return "its file system is mounted read-only; mount it for writing, or name a file elsewhere"
    return "the user of nh may not write it; change its owner or its permissions"


def _fault_of_reader(path: str) -> str:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.connect(path)
    except OSError as exc:
        return f"{path}: {reason(exc)}; start the program that reads it, or name another target"
    return ""


def open_target(text: str) -> Target:
    """The target that an entry of the setting `records` names."""
    if text == SYSLOG:
        return SyslogTarget()
    if text == JOURNAL:
        return JournalTarget()
    if text.startswith(UNIX):
        return DatagramTarget(text.removeprefix(UNIX))
    return FileTarget(Path(text))
