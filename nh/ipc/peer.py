"""The process at the other end of a Unix socket, as the kernel knows it: SO_PEERCRED of unix(7)."""

import socket
import struct
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("=iII")  # struct ucred: pid, uid, gid


class PeerCredentials(NamedTuple):
    """Credentials of a process.

    Attributes:
        pid: in this PID namespace; 0: it is in another one.
        uid: its user when it connected or began to listen.
    """

    pid: int
    uid: int


def peer_of(sock: socket.socket) -> PeerCredentials:
    """The credentials of the process that connected, or that listens at the other end. Raises OSError."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return PeerCredentials(pid, uid)
