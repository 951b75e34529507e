"""What it means that the system refuses a media socket: the error for clients, with the remedy."""

import errno
import os
from typing import Final

from nh.calls.sockets.ports import PortInUse
from nh.errors import AddressUnavailable, SocketsExhausted

_NO_MEMORY: Final = "raise what memory nh may have (MemoryMax= of its service), or sockets (net.ipv4.udp_mem)"
_REMEDIES: Final = {
    errno.EMFILE: "raise the limit on descriptors (ulimit -Hn, LimitNOFILE= of the service)",
    errno.ENFILE: "raise the host's limit on descriptors (fs.file-max)",
    errno.ENOSPC: "raise fs.epoll.max_user_watches",
    errno.ENOBUFS: _NO_MEMORY,
    errno.ENOMEM: _NO_MEMORY,
}
"""The remedy for a shortage, by errno."""


def exhausted(exc: OSError, what: str) -> SocketsExhausted | None:
    """The error for a shortage of a system resource; None if `exc` reports something else.

    Args:
        exc: the error of the system call.
        what: what was not possible, for people.
    """
    remedy = _REMEDIES.get(exc.errno or 0)
    if remedy is None:
        return None
    return SocketsExhausted(f"{what}: {os.strerror(exc.errno or 0)}; {remedy}")


def refused_port(exc: OSError, address: str, port: int) -> Exception:
    """The error for a socket that cannot be opened at a port.

    Args:
        exc: the error of the system call.
        address: the IP address.
        port: the port.

    Returns:
        PortInUse, SocketsExhausted or AddressUnavailable.
    """
    if exc.errno == errno.EADDRINUSE:
        return PortInUse(address, port)
    if shortage := exhausted(exc, f"no socket for {address} port {port}"):
        return shortage
    reason = os.strerror(exc.errno or 0)
    return AddressUnavailable(f"{address} cannot be bound: {reason}; it has to be an address of this host")
