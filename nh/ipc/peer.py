"""Who is at the other end of a Unix socket, by the kernel's word: SO_PEERCRED of unix(7)."""

import socket
import struct
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """A process.

    Arguments:
        pid: as it is seen from here; 0: it cannot be seen, being in another PID namespace.
        uid: the user that it ran as when it connected or began to listen.
    """

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> Peer:
    """Who connected, or who listens where this one has connected. Raises OSError."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return Peer(pid, uid)
