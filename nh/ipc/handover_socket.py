"""The Unix socket in the runtime directory at which a shard or supervisor accepts the next supervisor.

Its file exists while the process lives, so the next supervisor finds every shard that runs. It finds a shard
that hangs too, because a connection needs no accept. Only the process's own user and root are accepted.
"""

import contextlib
import fnmatch
import logging
import os
import socket
from pathlib import Path
from typing import Final, Self

from nh.ipc.peer import peer_of
from nh.paths import is_found_at
from nh.reasons import reason

logger = logging.getLogger(__name__)

SHARDS: Final = "shard-*.sock"
"""The sockets of shards in the runtime directory."""


class HandoverSocket:
    """A listening socket.

    Args:
        sock: listens.
        path: its file, removed by close().

    Raises:
        OSError: the file is gone.
    """

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self._sock = sock
        self._path = path
        self._file = path.lstat()

    @classmethod
    def open(cls, path: str, level: int = logging.WARNING) -> Self | None:
        """Listen at a path that does not exist yet. Returns None if that is impossible, and logs why.

        Args:
            path: the path.
            level: of that log line.
        """
        sock = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            os.fchmod(sock.fileno(), 0o600)  # the file's mode from its first moment on
            sock.bind(path)
            sock.listen(1)
            sock.setblocking(False)
            return cls(sock, Path(path))
        except OSError as exc:
            if sock is not None:
                sock.close()
            why = reason(exc)
            logger.log(
                level, "%s: cannot listen: %s; the next nh cannot take over from this process", path, why
            )
            return None

    def fileno(self) -> int:
        """The descriptor, readable when a connection waits."""
        return self._sock.fileno()

    def accept(self) -> socket.socket | None:
        """Accept a connection; None if there is none, or if its user is not allowed."""
        try:
            sock, _ = self._sock.accept()
        except OSError:  # closed again, or no descriptors left: the client retries
            return None
        uid = peer_of(sock).uid
        if uid not in (0, os.geteuid()):
            logger.warning("takeover refused: uid %d is neither root nor the user of this nh", uid)
            sock.close()
            return None
        return sock

    def is_in_place(self) -> bool:
        """Whether the next supervisor finds the socket: no other program has removed or replaced its file."""
        return is_found_at(self._path, self._file)

    def listen_again(self) -> None:
        """Listen with a new socket, which has another descriptor, in place of one that is not found any more.

        If that is impossible, the old one stays.
        """
        with contextlib.suppress(OSError):
            self._path.unlink()
        again = type(self).open(str(self._path), logging.DEBUG)
        if again is None:
            return
        self._sock.close()
        self._sock, self._file = again._sock, again._file
        logger.warning(
            "%s: another program removed or replaced the socket; this process listens there again", self._path
        )

    def close(self) -> None:
        """Stop listening, and remove the file."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._sock.close()


def shard_sockets(directory: Path) -> list[Path]:
    """The sockets of shards in a runtime directory, also those of shards that are gone.

    Path.glob() hides errors from Python 3.13 on: then no shard would be there.

    Raises:
        OSError: the directory cannot be read, such as for want of descriptors.
    """
    with os.scandir(directory) as entries:
        return sorted(Path(each) for each in entries if fnmatch.fnmatch(each.name, SHARDS))


def shards_listen(directory: Path) -> bool:
    """Whether any shard of a relay lives, with or without its supervisor.

    Args:
        directory: the relay's runtime directory.
    """
    try:
        return any(_listens(path) for path in shard_sockets(directory))
    except FileNotFoundError:
        return False
    except OSError:  # unknown: another relay must not rely on their end
        return True


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # so many connections wait already
            return True
    return True
