"""Where a process awaits the next generation of nh: a listening Unix socket in the runtime directory.

Its file is there for as long as the process lives, so the next supervisor finds every shard that runs, one
that hangs too: connecting to it needs no answer. Only the process's own user and root are let in.
"""

import contextlib
import logging
import os
import socket
from pathlib import Path
from typing import Self

from nh.ipc.peer import peer_of

logger = logging.getLogger(__name__)


class HandoverSocket:
    """An open one.

    Arguments:
        sock: listening.
        path: where; removed by close().
    """

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self._sock = sock
        self._path = path

    @classmethod
    def open(cls, path: str) -> Self | None:
        """Listen at `path`, where nothing is yet; None if that is impossible, which is logged."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            os.fchmod(sock.fileno(), 0o600)  # the file's mode from its first moment on
            sock.bind(path)
            sock.listen(1)
            sock.setblocking(False)
        except OSError as exc:
            sock.close()
            logger.warning("the next nh cannot take over from this process: %s: %s", path, exc.strerror)
            return None
        return cls(sock, Path(path))

    def fileno(self) -> int:
        """The descriptor that is readable when somebody came."""
        return self._sock.fileno()

    def accept(self) -> socket.socket | None:
        """Who came; None if nobody did, or somebody who may not."""
        try:
            sock, _ = self._sock.accept()
        except OSError:  # gone again, or no descriptors: whoever it was comes again
            return None
        uid = peer_of(sock).uid
        if uid not in (0, os.geteuid()):
            logger.warning("user %d may not take over from this nh", uid)
            sock.close()
            return None
        return sock

    def close(self) -> None:
        """Await nobody any more."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._sock.close()
