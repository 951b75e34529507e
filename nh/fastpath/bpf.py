"""The system call bpf(2), as far as nh uses it: maps, programs, and attaching one to an interface (TCX).

Descriptors are plain integers, closed on exec, and are the caller's to close. Whatever the kernel refuses is
KernelPathUnavailable with its errno. Knows nothing of the program or of what lies in the maps.
Source: bpf(2), and union bpf_attr in linux/bpf.h.
"""

import ctypes
import enum
import errno
import os
import platform
import struct
from collections.abc import Iterator
from typing import Final

from nh.errors import KernelPathUnavailable, KernelTableFull

SYSCALL_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}
"""Number of bpf(2), by machine."""

_LOG_BYTES: Final = 1 << 22
_LOG_SHOWN: Final = 2000
_NAME_BYTES: Final = 15
_SCHED_CLS: Final = 3
_TCX_INGRESS: Final = 46
_LOOKUP_BATCH: Final = struct.Struct("=4Q2I2Q")
_BATCH: Final = 4096
"""Elements that are read at once. It has to be more than those of one bucket of a hash map."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class MapKind(enum.IntEnum):
    """enum bpf_map_type, those that nh uses."""

    HASH = 1
    ARRAY = 2


MMAPABLE: Final = 1 << 10
"""BPF_F_MMAPABLE: a flag of array maps whose values are read through mmap(2). Linux 5.5."""


class UpdateMode(enum.IntEnum):
    """Whether an element that is written may, must not, or must be there already."""

    ANY = 0
    NEW = 1
    REPLACE = 2


class _Command(enum.IntEnum):
    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    PROG_LOAD = 5
    MAP_LOOKUP_BATCH = 24
    LINK_CREATE = 28


def create_map(
    kind: MapKind, name: str, *, key_bytes: int, value_bytes: int, max_entries: int, flags: int = 0
) -> int:
    """Create an empty map; returns its descriptor.

    Args:
        kind: see MapKind.
        name: for people (bpftool); up to 15 characters of it are used.
        key_bytes: size of a key; 4 for an array, whose keys are indexes.
        value_bytes: size of a value.
        max_entries: 1 or more; an array has all of them from the start, zeroed.
        flags: MMAPABLE or 0.
    """
    attributes = struct.pack(
        "=6II16s", kind, key_bytes, value_bytes, max_entries, flags, 0, 0, name.encode()[:_NAME_BYTES]
    )
    return _bpf(_Command.MAP_CREATE, attributes, f"creating the map {name}")


def update(map_fd: int, key: bytes, value: bytes, mode: UpdateMode = UpdateMode.ANY) -> None:
    """Write an element; a program sees either the old value or the new one whole (hash maps).

    Raises:
        KernelTableFull: the map is full.
        KernelPathUnavailable: `mode` forbids it (EEXIST, ENOENT).
    """
    attributes = _element(map_fd, _address(key), _address(value), mode)
    try:
        _bpf(_Command.MAP_UPDATE_ELEM, attributes, "writing to a map")
    except KernelPathUnavailable as refusal:
        if refusal.errno == errno.E2BIG:
            raise KernelTableFull("the table of flows is full", errno=errno.E2BIG) from None
        raise


def lookup(map_fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """The value under `key`, or None if there is none. `value_bytes` must be the map's."""
    value = ctypes.create_string_buffer(value_bytes)
    attributes = _element(map_fd, _address(key), ctypes.addressof(value))
    if not _is_there(_Command.MAP_LOOKUP_ELEM, attributes, "reading a map"):
        return None
    return value.raw


def delete(map_fd: int, key: bytes) -> bool:
    """Remove an element of a hash map; returns whether it was there."""
    return _is_there(_Command.MAP_DELETE_ELEM, _element(map_fd, _address(key)), "deleting from a map")


def elements(map_fd: int, key_bytes: int, value_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """All elements of a hash map, in an order of its own; thousands are read at once (Linux 5.6).

    An element that others write or delete meanwhile may be among them or not; every other one comes once.
    """
    keys = ctypes.create_string_buffer(key_bytes * _BATCH)
    values = ctypes.create_string_buffer(value_bytes * _BATCH)
    position = ctypes.create_string_buffer(8)  # where the next batch begins
    at_end, begun = False, False
    while not at_end:
        head = (ctypes.addressof(position) if begun else 0, ctypes.addressof(position))
        fields = (*head, ctypes.addressof(keys), ctypes.addressof(values), _BATCH, map_fd, 0, 0)
        attributes = ctypes.create_string_buffer(_LOOKUP_BATCH.pack(*fields), _LOOKUP_BATCH.size)
        at_end = not _is_there(_Command.MAP_LOOKUP_BATCH, attributes, "walking a map")
        begun = True
        count = _LOOKUP_BATCH.unpack(attributes)[4]
        found_keys, found_values = keys.raw[: count * key_bytes], values.raw[: count * value_bytes]
        for index in range(count):
            yield (
                found_keys[index * key_bytes : (index + 1) * key_bytes],
                found_values[index * value_bytes : (index + 1) * value_bytes],
            )


def load_program(name: str, instructions: bytes, license_: str) -> int:
    """Load a program for TC; returns its descriptor.

    Args:
        name: for people (bpftool); up to 15 characters of it are used.
        instructions: with map descriptors in place of symbols.
        license_: decides which helpers it may call.

    Raises:
        KernelPathUnavailable: the message ends with the end of the verifier's log if that is what refused.
    """
    terms = license_.encode() + b"\0"
    head = struct.pack("=IIQQ", _SCHED_CLS, len(instructions) // 8, _address(instructions), _address(terms))
    tail = struct.pack("=II16s", 0, 0, name.encode()[:_NAME_BYTES])
    what = f"loading the program {name}"
    try:
        return _bpf(_Command.PROG_LOAD, head + struct.pack("=IIQ", 0, 0, 0) + tail, what)
    except KernelPathUnavailable as refusal:
        if refusal.errno == errno.EPERM:
            raise
    log = ctypes.create_string_buffer(_LOG_BYTES)
    logged = struct.pack("=IIQ", 1, _LOG_BYTES, ctypes.addressof(log))
    try:
        return _bpf(_Command.PROG_LOAD, head + logged + tail, what)
    except KernelPathUnavailable as refusal:
        verdict = log.value.decode(errors="replace").strip()
        if not verdict:
            raise
        raise KernelPathUnavailable(f"{refusal}\n{verdict[-_LOG_SHOWN:]}", errno=refusal.errno) from None


def attach_tcx(program_fd: int, ifindex: int) -> int:
    """Attach a TC program to the ingress of an interface (Linux 6.6); returns the link's descriptor.

    The program is detached when the link's last descriptor is closed.
    """
    attributes = struct.pack("=4I", program_fd, ifindex, _TCX_INGRESS, 0)
    return _bpf(_Command.LINK_CREATE, attributes, f"attaching to interface {ifindex}")


def _element(map_fd: int, key: int, value: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=I4xQQQ", map_fd, key, value, flags)


def _address(data: bytes) -> int:
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _is_there(command: _Command, attributes: "bytes | ctypes.Array[ctypes.c_char]", what: str) -> bool:
    try:
        _bpf(command, attributes, what)
    except KernelPathUnavailable as refusal:
        if refusal.errno == errno.ENOENT:
            return False
        raise
    return True


def _bpf(command: int, attributes: "bytes | ctypes.Array[ctypes.c_char]", what: str) -> int:
    """The system call; `attributes` may have been written to afterwards if it is an array."""
    number = SYSCALL_NUMBERS.get(platform.machine())
    if number is None:
        raise KernelPathUnavailable(f"{what}: unknown machine {platform.machine()}", errno=errno.ENOSYS)
    result: int = _libc.syscall(number, int(command), attributes, len(attributes))
    if result >= 0:
        return result
    code = ctypes.get_errno()
    raise KernelPathUnavailable(
        f"{what}: {os.strerror(code)} ({errno.errorcode.get(code, code)})", errno=code
    )
