"""The Unix sockets that nh listens on: their files, permissions and group.

A socket has its permissions from its first moment, and replaces a socket file only if no process listens on
it. A file that another program removes is made anew; a name that another program has taken stays its own.
"""

import contextlib
import errno
import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nh.address import UnixAddress
from nh.errors import ConfigError, NotNow
from nh.paths import is_found_at, mode_of
from nh.reasons import reason

logger = logging.getLogger(__name__)

BACKLOG: Final = 1024
"""Most connections that wait in the kernel to be accepted (the kernel's own limit: net.core.somaxconn)."""

MAX_EARLIER: Final = 16
"""Files of earlier sockets that are known: each is of a directory that another program took away."""

PROBE_S: Final = 1.0
"""Seconds to wait for a connection to a socket file, to learn whether a process listens on it."""


def admit_group(directory: Path, group: int) -> None:
    """Let a group pass through a directory that belongs to nh, to the sockets in it. No effect if it may.

    Raises:
        ConfigError: this user may not give the directory to the group.
    """
    try:
        status = directory.stat()
        if status.st_mode & stat.S_IXOTH or (status.st_gid == group and status.st_mode & stat.S_IXGRP):
            return
        _give_to_group(directory, group)
        directory.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXGRP)
    except OSError as exc:
        raise ConfigError(_group_refused(directory, group, exc)) from exc


def check_group(group: int) -> None:
    """Check that this process may give its sockets to a group: tries it on a file in memory.

    Raises:
        ConfigError: it may not.
    """
    file = os.memfd_create("rpc_group", os.MFD_CLOEXEC)
    try:
        if os.fstat(file).st_gid != group:
            os.fchown(file, -1, group)
    except OSError as exc:
        raise ConfigError(_group_refused("a socket", group, exc)) from exc
    finally:
        os.close(file)


def _give_to_group(path: Path, group: int) -> None:
    if path.stat().st_gid != group:  # where nothing changes, no permission is needed
        os.chown(path, -1, group)


def _group_refused(path: Path | str, group: int, exc: OSError) -> str:
    return (
        f"rpc_group: {path} cannot be given to group {group}: {exc.strerror};"
        " add the proxy's user to the group of nh's user and set rpc_mode alone, or give nh's user that group"
        " and the right to change groups (nh.service takes it away)"
    )


def open_unix(setting: str, address: UnixAddress, mode: int, group: int | None) -> socket.socket:
    """Listen on a Unix socket.

    Args:
        setting: the setting with the address, for the messages.
        address: where.
        mode: permissions of the file, 0 to 0o777.
        group: number of its group; None: this process's.

    Raises:
        ConfigError: the address cannot be used.
        NotNow: another process listens on it.
    """
    path = Path(address.path)
    check_directory(setting, path)
    if is_stale(setting, path):
        path.unlink(missing_ok=True)
    return _listen(setting, address, mode, group)


def _listen(setting: str, address: UnixAddress, mode: int, group: int | None) -> socket.socket:
    """Listen where nothing is; see open_unix(). A failure leaves nothing there.

    Raises:
        ConfigError: the address cannot be used.
        OSError: there is no descriptor.
    """
    path = Path(address.path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # the kernel gives the file the socket's mode without the umask's bits: never more than `mode`, not
        # even for a moment; chmod adds the umask's bits, and those of `group`, afterwards
        os.fchmod(sock.fileno(), mode if group is None else mode & stat.S_IRWXU)
        sock.bind(address.path)
    except OSError as exc:
        sock.close()
        raise ConfigError(f"{setting}: {path}: {exc.strerror}") from exc
    try:
        if group is not None:
            _give_to_group(path, group)
        path.chmod(mode)
        sock.listen(BACKLOG)
    except OSError as exc:
        path.unlink(missing_ok=True)
        sock.close()
        why = f"{setting}: {path}: {exc.strerror}" if group is None else _group_refused(path, group, exc)
        raise ConfigError(why) from exc
    return sock


def renew_access(setting: str, address: UnixAddress, mode: int, group: int | None) -> None:
    """Give the file of a socket that listens already its permissions and group, which may have changed.

    A socket whose group cannot be changed is its owner's alone, and served on; the log says so. What has
    taken the place of the socket stays as it is: who may write to the directory may have put a link there.
    One whose file is gone is made anew with them (SocketFile).

    Args:
        setting, address, mode, group: see open_unix().
    """
    path = Path(address.path)
    try:
        with _found_socket(path) as (found, status):
            group = _own_group(path.parent) if group is None else group
            if status.st_gid != group:
                found.chmod(mode & stat.S_IRWXU)  # no group may connect with the mode of the other one
                os.chown(found, -1, group)
            found.chmod(mode)
    except FileNotFoundError:
        return
    except OSError as exc:
        logger.warning(
            "%s: %s cannot be given rpc_mode and rpc_group: %s; restart nh", setting, path, reason(exc)
        )


@contextlib.contextmanager
def _found_socket(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """A path that stays that of the socket which is at `path` now, and its status. Raises OSError."""
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISSOCK(status.st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        yield Path(f"/proc/self/fd/{fd}"), status
    finally:
        os.close(fd)


def _own_group(directory: Path) -> int:
    """The group that a file has that this process makes in a directory."""
    status = directory.stat()
    return status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and one.st_mtime_ns == other.st_mtime_ns


class SocketFile:
    """The file of a Unix socket that listens, from its construction on.

    Args:
        setting, address, mode, group: see open_unix().
    """

    def __init__(self, setting: str, address: UnixAddress, mode: int, group: int | None) -> None:
        self._setting = setting
        self._address = address
        self._mode = mode
        self._group = group
        self._path = Path(address.path)
        self._has_failed = False
        self._file: os.stat_result | None = None
        self._earlier: deque[os.stat_result] = deque(maxlen=MAX_EARLIER)
        self._look()

    def _look(self) -> None:
        with contextlib.suppress(OSError):
            self._file = self._path.lstat()
            self._earlier.append(self._file)

    @property
    def is_in_place(self) -> bool:
        """Whether clients find the socket: no other program has removed or replaced its file."""
        return self._file is not None and is_found_at(self._path, self._file)

    def listen_again(self) -> socket.socket | None:
        """Listen with another socket in place of one whose file was removed.

        Returns:
            The other one; None: something is there, or it is impossible now. The log has that once.
        """
        try:
            self._remove_earlier()
            sock = _listen(self._setting, self._address, self._mode, self._group)
        except (ConfigError, NotNow, OSError) as exc:
            if not self._has_failed:
                logger.warning(
                    "%s: %s: another program removed or replaced the socket, and nh cannot listen there"
                    " again: %s; no client reaches nh there until it can, so let the directory be there, and"
                    " nothing at the path",
                    *(self._setting, self._path, reason(exc) if isinstance(exc, OSError) else exc),
                )
            self._has_failed = True
            return None
        logger.warning(
            "%s: %s: another program removed the socket; nh listens there again", self._setting, self._path
        )
        self._has_failed = False
        self._look()
        return sock

    def _remove_earlier(self) -> None:
        """Remove the file of an earlier socket, whose directory is back. Raises as is_stale()."""
        with contextlib.suppress(FileNotFoundError):
            found = self._path.lstat()
            # a later file may have the number of one that is gone
            if any(_is_same(found, each) for each in self._earlier) and is_stale(self._setting, self._path):
                self._path.unlink()

    def remove(self) -> None:
        """Remove the file, if it is still this socket's."""
        if self.is_in_place:
            self._path.unlink(missing_ok=True)
        self._file = None  # another socket's file may get the same number


def check_directory(setting: str, path: Path) -> None:
    """Check that the directory of a socket exists. Raises ConfigError."""
    try:
        mode = mode_of(path.parent)
    except OSError as exc:  # this user may not enter a directory above it
        raise ConfigError(f"{setting}: {path}: {reason(exc)}; name another path") from exc
    if not stat.S_ISDIR(mode or 0):  # it may be mistyped, so it is not made
        raise ConfigError(
            f"{setting}: {path}: there is no directory {path.parent}; make it, or name another path"
        )


def is_stale(setting: str, path: Path) -> bool:
    """Whether there is a socket file on which no process listens; False: there is no file.

    Raises:
        ConfigError: the file is no socket, or cannot be tried.
        NotNow: a process listens on it.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise ConfigError(f"{setting}: {path}: {exc.strerror}") from exc
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(
            f"{setting}: {path}: the file is not a socket, so it is not removed; choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return True
        except FileNotFoundError:
            return False
        except PermissionError as exc:
            raise ConfigError(
                f"{setting}: {path}: exists, and this user has no permission to learn whether a program"
                " listens on it; remove the file or choose another path"
            ) from exc
        except OSError:  # its backlog is full, or it is of another type: a program listens
            pass
    raise NotNow(
        f"{setting}: {path}: another nh, or another program, listens on it; end that or choose another path"
    )
