"""Fields of struct sk_buff that no header shows: smeared on the way in, read on the way out."""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from nh.fastpath import bpf
from tools.harness.namespaces import Namespace

_EGRESS, _INGRESS = 47, 46
_BEFORE = 1 << 3
_LINK_CREATE = 28
_MAX_FRAME = 2048

_R0, _R1, _R2, _R6, _R10 = 0, 1, 2, 6, 10
_MARK, _QUEUE, _PRIORITY, _TSTAMP = 8, 12, 32, 152
"""Offsets in struct __sk_buff."""


class Fields(NamedTuple):
    """What queueing disciplines, rules and cards may go by."""

    priority: int
    mark: int
    queue_mapping: int
    tstamp: int


def _code(opcode: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | target, offset, value)


_PASS = _code(0xB7, _R0, value=-1) + _code(0x95)

_SMEAR = b"".join(
    (
        _code(0xB7, _R2, value=7),
        _code(0x63, _R1, _R2, _MARK),
        _code(0x63, _R1, _R2, _QUEUE),
        _code(0x63, _R1, _R2, _PRIORITY),
        _code(0x18, _R2) + _code(0, value=1 << 30),  # 2**62 ns: a time to send at that never comes
        _code(0x7B, _R1, _R2, _TSTAMP),
        _PASS,
    )
)


def _reader(map_fd: int) -> bytes:
    """Writes the fields of each packet to the map, at its length."""
    copies = [
        _code(0x61, _R2, _R6, at) + _code(0x63, _R0, _R2, to)
        for at, to in ((_PRIORITY, 0), (_MARK, 4), (_QUEUE, 8))
    ]
    copies.append(_code(0x79, _R2, _R6, _TSTAMP) + _code(0x7B, _R0, _R2, 16))
    return b"".join(
        (
            _code(0xBF, _R6, _R1),
            _code(0x61, _R2, _R6),
            _code(0x63, _R10, _R2, -4),
            _code(0x18, _R1, 1, value=map_fd) + _code(0),
            _code(0xBF, _R2, _R10) + _code(0x07, _R2, value=-4),
            _code(0x85, value=1),
            _code(0x15, _R0, offset=2 * len(copies)),
            *copies,
            _PASS,
        )
    )


@contextlib.contextmanager
def smeared(host: Namespace, ifindex: int) -> Iterator[None]:
    """What comes in on the interface has a mark, a priority, a queue and a time stamp of its own."""
    with _attached(host, ifindex, _SMEAR, _INGRESS):
        yield


class WayOut:
    """What went out of an interface."""

    def __init__(self, map_fd: int) -> None:
        self._map_fd = map_fd

    def fields(self, frame_bytes: int) -> Fields:
        """The fields of the latest packet with a frame of that length."""
        value = bpf.lookup(self._map_fd, struct.pack("=I", frame_bytes), 24)
        assert value is not None
        return Fields(*struct.unpack("=III4xQ", value))


@contextlib.contextmanager
def way_out(host: Namespace, ifindex: int) -> Iterator[WayOut]:
    """Watch what goes out of the interface."""
    map_fd = bpf.create_map(bpf.MapKind.ARRAY, "way_out", key_bytes=4, value_bytes=24, max_entries=_MAX_FRAME)
    try:
        with _attached(host, ifindex, _reader(map_fd), _EGRESS):
            yield WayOut(map_fd)
    finally:
        os.close(map_fd)


@contextlib.contextmanager
def _attached(host: Namespace, ifindex: int, program: bytes, where: int) -> Iterator[None]:
    program_fd = bpf.load_program("skb_fields", program, "Dual MIT/GPL")
    try:
        with host.entered():
            flags = _BEFORE if where == _INGRESS else 0
            link = _create_link(program_fd, ifindex, where, flags)
        try:
            yield
        finally:
            os.close(link)
    finally:
        os.close(program_fd)


def _create_link(program_fd: int, ifindex: int, where: int, flags: int) -> int:
    request = ctypes.create_string_buffer(struct.pack("=IIII", program_fd, ifindex, where, flags), 64)
    libc = ctypes.CDLL(None, use_errno=True)
    link: int = libc.syscall(bpf.SYSCALL_NUMBERS[os.uname().machine], _LINK_CREATE, request, len(request))
    if link < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return link
