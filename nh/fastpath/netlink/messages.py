"""rtnetlink, as far as it takes to ask for links, addresses and routes (rtnetlink(7), linux/rtnetlink.h).

Requests and answers are bytes here; their callers know what the fields mean. A socket belongs to the network
namespace of the thread that opens it.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""

ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: length with this header, type."""

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
EXCLUSIVE, CREATE = 0x200, 0x400
DUMP_INTERRUPTED = 0x10
ERROR, DONE = 2, 3

KIND_MASK = 0x3FFF
"""The type of an attribute without NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

RECEIVE_BYTES = 65536
"""The kernel fills 32 KiB at most with one part of a dump."""

ATTEMPTS = 5
"""How often a dump is repeated that changed while it was read."""


class Message(NamedTuple):
    """One message of the kernel: its type (RTM_…), flags and sequence number, and what follows the header."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def open_socket() -> socket.socket:
    """A socket that never blocks, for requests to and events from the calling thread's namespace."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.setblocking(False)
    return sock


def attribute(kind: int, payload: bytes) -> bytes:
    """An attribute, padded to four bytes as all are."""
    length = ATTRIBUTE.size + len(payload)
    return ATTRIBUTE.pack(length, kind) + payload + bytes(-length % 4)


def request(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A whole message: `kind` is RTM_…, `body` the fixed structure of that type and its attributes."""
    return HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, sequence, 0) + body


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram from the kernel; what is cut off at its end is left out."""
    at = 0
    while at + HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, at)
        if length < HEADER.size or at + length > len(datagram):
            return
        yield Message(kind, flags, sequence, datagram[at + HEADER.size : at + length])
        at += (length + 3) & ~3


def attributes(body: bytes, skip: int = 0) -> dict[int, bytes]:
    """The attributes after the first `skip` bytes of `body`, by type; the last of a type counts."""
    found: dict[int, bytes] = {}
    at = skip
    while at + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, at)
        if length < ATTRIBUTE.size or at + length > len(body):
            break
        found[kind & KIND_MASK] = body[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


def error_number(message: Message) -> int:
    """The errno of a message of type ERROR or DONE; 0: no error."""
    return -int(struct.unpack_from("=i", message.body)[0])


def dump(kind: int, body: bytes) -> list[Message]:
    """All objects of a sort, such as links, asked for on a socket of its own.

    Args:
        kind: RTM_GET….
        body: the fixed structure of that type.

    If the table keeps changing while the kernel dumps it, the last dump is returned all the same: a caller
    that has to be exact listens for changes as well. Raises OSError if the kernel refuses.
    """
    with open_socket() as sock:
        sequence = 0
        while True:
            sequence += 1
            sock.send(request(kind, DUMP, sequence, body))
            found = list(_parts(sock, sequence))
            if sequence == ATTEMPTS or not any(message.flags & DUMP_INTERRUPTED for message in found):
                return [message for message in found if message.kind != DONE]


def command(kind: int, flags: int, body: bytes) -> None:
    """Change something, on a socket of its own; the kernel has done so when this returns.

    Args:
        kind: RTM_NEW… or RTM_DEL….
        flags: CREATE and EXCLUSIVE, or 0.
        body: the fixed structure of that type and its attributes.

    Raises:
        OSError: the kernel refuses.
    """
    with open_socket() as sock:
        sock.send(request(kind, flags | ACKNOWLEDGE, 1, body))
        # the kernel answers while the request is sent, so there is no waiting
        for message in messages(sock.recv(RECEIVE_BYTES)):
            if message.kind == ERROR and (number := error_number(message)):
                raise OSError(number, os.strerror(number))


def _parts(sock: socket.socket, sequence: int) -> Iterator[Message]:
    """The messages of one dump to its end; the kernel makes each part within recv, so there is no waiting."""
    while True:
        for message in messages(sock.recv(RECEIVE_BYTES)):
            if message.sequence != sequence:
                continue
            if message.kind in (ERROR, DONE) and (number := error_number(message)):
                raise OSError(number, f"netlink dump: {os.strerror(number)}")
            if message.kind == ERROR:
                raise OSError(errno.EPROTO, "netlink dump: acknowledged, not answered")
            yield message
            if message.kind == DONE:
                return
